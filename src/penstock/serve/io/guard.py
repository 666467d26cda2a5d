"""What stands before every answer of the admin port: who may ask, how, and what a browser may do with the answer.

The admin port has no login, so it is bound to loopback by default, and there a page of some other site must not read it
through DNS rebinding: the `Host` header has to name this machine. Read-only: GET and HEAD, nothing else, but for the
paths of keys and of the reload, which want a token.
"""

from __future__ import annotations

from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.serve.io.answers import error_answer
from penstock.serve.io.key_routes import KEYS_PATH
from penstock.serve.io.reload_route import RELOAD_PATH

__all__ = ["Guard", "is_loopback"]

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Guard:
    """ASGI middleware around the admin app."""

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self._app = app
        self._names = {host.lower(), "localhost", "127.0.0.1", "::1"} if is_loopback(host) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if self._names is not None and _host_name(Headers(scope=scope).get("host", "")) not in self._names:
            return error_answer(
                421,
                "This port answers only to requests whose Host header names this machine, as in "
                "http://127.0.0.1:8081 or http://localhost:8081; to serve others, bind the admin port to their network",
            )
        is_wanted = (scope["path"] + "/").startswith((f"{KEYS_PATH}/", f"{RELOAD_PATH}/"))
        is_changed_here = scope["method"] == "POST" and is_wanted
        if scope["method"] not in ("GET", "HEAD") and not is_changed_here:
            answer = error_answer(405, f"The admin port is read-only: {scope['method']} is not served, GET is")
            answer.headers["allow"] = "GET, HEAD"
            return answer
        return None


def _host_name(header: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
