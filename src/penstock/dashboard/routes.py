"""Pages for people on the admin port, and the files they need.

Guarantees: everything comes from this package, so that the page works offline and under a policy of `self` alone; files
are read once, at start; their addresses carry a hash of their content, so a browser never mixes two versions.
The page itself shows nothing that `/api/v1` does not answer: it is a view of its JSON twin.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from penstock import __version__

__all__ = ["dashboard_routes"]

_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_YEAR_S = 31_536_000


def dashboard_routes() -> list[Route]:
    """`/`, its files under `/assets/`, and `/favicon.ico`."""
    assets = _assets()
    folder = f"/assets/{_digest(assets)}"
    environment = Environment(loader=PackageLoader("penstock.dashboard"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("fleet.html").render(assets=folder, version=__version__)

    async def fleet(_: Request) -> Response:
        return HTMLResponse(page)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            raise HTTPException(404)
        media_type = _MEDIA_TYPES[name[name.rindex(".") :]]
        return Response(
            assets[name], media_type=media_type, headers={"cache-control": f"public, max-age={_YEAR_S}, immutable"}
        )

    async def favicon(_: Request) -> Response:
        return RedirectResponse(f"{folder}/penstock.svg", 308)

    return [
        Route("/", fleet),
        Route(f"{folder}/{{name}}", asset),
        Route("/favicon.ico", favicon),
    ]


def _assets() -> dict[str, bytes]:
    """The files of the page by name."""
    folder = files("penstock.dashboard") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.endswith(tuple(_MEDIA_TYPES))}


def _digest(assets: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(assets.items()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]
