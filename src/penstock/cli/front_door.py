"""What `up` and `gateway` share: the fleet file compiled, and the gateway, its admin port and its scraper in one loop.

Guarantees that either everything listens or nothing does, and that `close` releases all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from penstock.cli.files import read_text
from penstock.dashboard import dashboard_routes
from penstock.serve.config import GatewayConfig, SecretReader, compile_gateway
from penstock.serve.io.admin import AdminServer, TelemetrySource, admin_app
from penstock.serve.io.gateway import Gateway
from penstock.serve.io.scrape import Scraper
from penstock.serve.platform import DiscoveryState, ModelProfile, PlatformModel
from penstock.spec import Fleet
from penstock.spec.loader import load_fleet

__all__ = ["SECRETS_VARIABLE", "FrontDoor", "Listeners", "LoadedFleet", "load"]

SECRETS_VARIABLE = "PENSTOCK_SECRETS_DIR"
"""Environment variable with the folder whose files SECRET/KEY hold what `secretKeyRef` means; rendered pods set it."""
_SECRET_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """What the command line says over the file; None leaves it to the file."""

    listen: str | None
    admin: str | None
    drain_s: float | None = None
    """How long requests in flight may finish at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFleet:
    """A fleet file as far as the gateway needs it."""

    path: str
    text: str
    fleet: Fleet
    config: GatewayConfig

    @property
    def watched_files(self) -> list[str]:
        """The file, and those that hold keys it refers to."""
        folder = os.environ.get(SECRETS_VARIABLE)
        refs = [
            key.value_from.secret_key_ref
            for tenant in self.fleet.spec.gateway.tenants
            for key in tenant.keys
            if folder and key.value_from is not None and key.value_from.secret_key_ref is not None
        ]
        return [self.path, *(str(Path(folder or "", ref.name, ref.key)) for ref in refs if ref is not None)]

    @property
    def profiles(self) -> dict[str, ModelProfile]:
        """What the state record shows of each model."""
        return {
            model.name: ModelProfile(
                aliases=tuple(model.aliases),
                ttft_ms=model.objectives.ttft_ms,
                itl_ms=model.objectives.itl_ms,
                e2e_ms=model.objectives.e2e_ms,
            )
            for model in self.fleet.spec.models
        }

    def with_access_log(self, automatic: str) -> LoadedFleet:
        """The same, where the access log goes to `automatic` unless the file says otherwise."""
        if self.config.access_log != "auto":
            return self
        return replace(self, config=replace(self.config, access_log=automatic))


def load(path: str, listeners: Listeners) -> LoadedFleet:
    """Reads and compiles a fleet file.

    Raises:
        UsageError: the file, a listener or a key is wrong.
    """
    text = read_text(path)
    fleet = load_fleet(text, "<stdin>" if path == "-" else path)
    secret = _secret_reader(os.environ.get(SECRETS_VARIABLE))
    config = compile_gateway(
        fleet,
        os.environ,
        listen=listeners.listen,
        admin=listeners.admin,
        drain_s=listeners.drain_s,
        secret=secret,
    )
    return LoadedFleet(path=path, text=text, fleet=fleet, config=config)


def _secret_reader(folder: str | None) -> SecretReader | None:
    """Reads Secrets from files of a folder, as they are mounted into a pod; None without a folder."""
    if not folder:
        return None

    def read(name: str, key: str) -> str | None:
        if any(not part or part in (".", "..") or "/" in part or "\0" in part for part in (name, key)):
            return None
        try:
            with Path(folder, name, key).open("rb") as file:
                return file.read(_SECRET_BYTES_MAX).decode("utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    return read


class FrontDoor:
    """The gateway with its admin port and scraper. `start`, then `close`; belongs to one event loop."""

    def __init__(self, loaded: LoadedFleet, *, discovery: Callable[[], DiscoveryState | None] | None = None) -> None:
        """`discovery`: what is known of who tells the endpoints, where a cluster does."""
        self.loaded = loaded
        self.gateway = Gateway(loaded.config, profiles=loaded.profiles)
        self._source = TelemetrySource(
            self.gateway.telemetry,
            self.gateway.endpoints,
            listen=lambda: self.listen,
            connections=lambda: self.gateway.connections,
            is_accepting=lambda: not self.gateway.core.is_draining,
            discovery=discovery,
        )
        app = admin_app(self._source, dashboard_routes())
        self._admin = AdminServer(app, loaded.config.admin_host, loaded.config.admin_port)

    async def start(self) -> None:
        """Listens on both ports.

        Raises:
            StartError: a port is in use; then neither is taken.
        """
        await self._admin.start()
        try:
            await self.gateway.start()
        except BaseException:
            await self._admin.stop()
            raise

    async def scrape(self) -> None:
        """Reads the engines' metrics until cancelled."""
        await Scraper(self.gateway.endpoints).run()

    def reload(self, loaded: LoadedFleet) -> list[str]:
        """Takes a changed fleet file; returns a sentence for each thing that needs a restart."""
        notes = self.gateway.reload(loaded.config, profiles=loaded.profiles)
        self.loaded = loaded
        return notes

    def tell_platform(self, models: Mapping[str, PlatformModel]) -> None:
        """Takes what the platform knows of the models, for the state record."""
        self.gateway.telemetry.platform = models

    async def drain(self, hurry: asyncio.Event) -> None:
        """Stops accepting and lets requests in flight finish, as long as the file allows or until `hurry` is set."""
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(self.gateway.stop())
            impatience = tasks.create_task(hurry.wait())
            await asyncio.wait({ending, impatience}, return_when=asyncio.FIRST_COMPLETED)
            impatience.cancel()
            if not ending.done():
                ending.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await ending
                await self.gateway.stop(0.0)

    async def close(self) -> None:
        """Closes both ports at once; what `drain` has ended already stays ended."""
        await self.gateway.stop(0.0)
        await self._admin.stop()

    def state(self) -> dict[str, Any]:
        """The state record, as `/api/v1/state` answers it."""
        return self._source.state()

    @property
    def listen(self) -> str:
        """Where clients connect, `HOST:PORT`, as bound."""
        return _joined(self.gateway.listen_host, self.gateway.listen_port)

    @property
    def admin(self) -> str:
        """Where the admin port is, `HOST:PORT`, as bound."""
        return _joined(self._admin.host, self._admin.port)

    @property
    def url(self) -> str:
        """Base URL for clients on this machine, with `/v1`."""
        scheme = "https" if self.loaded.config.tls is not None else "http"
        return f"{scheme}://{_joined(_reachable(self.gateway.listen_host), self.gateway.listen_port)}/v1"

    @property
    def dashboard(self) -> str:
        """URL of the dashboard on this machine."""
        return f"http://{_joined(_reachable(self._admin.host), self._admin.port)}/"

    def announcement(self) -> dict[str, Any]:
        """The first line of `--output json`."""
        return {
            "listen": self.listen,
            "admin": self.admin,
            "url": self.url,
            "dashboard": self.dashboard,
            "fleet": self.loaded.fleet.metadata.name,
            "models": list(self.loaded.config.models),
        }


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reachable(host: str) -> str:
    """A host that this machine can connect to: nobody connects to `0.0.0.0`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
