"""What `up` and `gateway` share: the fleet file compiled, and the gateway, its admin port, its scraper and the watch on
its store of keys in one loop.

Guarantees that either everything listens or nothing does, and that `close` releases all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.authorities import authorities_of, beside
from penstock.cli.backing import Backing, BackingState
from penstock.cli.calibrations import calibrations_of
from penstock.cli.files import read_text
from penstock.cli.key_store import (
    SECRETS_VARIABLE,
    StorePlace,
    admin_token,
    open_desk,
    open_watch,
    secret_reader,
    store_password,
    store_place,
)
from penstock.cli.output import warn
from penstock.dashboard import dashboard_routes
from penstock.errors import PenstockError, StartError
from penstock.serve.callers import LiveCallers
from penstock.serve.config import GatewayConfig, compile_gateway
from penstock.serve.io.admin import AdminServer, TelemetrySource, admin_app, is_in_use
from penstock.serve.io.gateway import Gateway
from penstock.serve.io.key_routes import Desk, key_routes
from penstock.serve.io.listening import PortUse
from penstock.serve.io.metrics_flow import Leanings
from penstock.serve.io.reload_route import Reloaded, reload_route
from penstock.serve.io.scrape import Scraper
from penstock.serve.io.usage_routes import usage_routes
from penstock.serve.platform import DiscoveryState, ModelProfile, PlatformModel, StoreState
from penstock.spec import Fleet, ValueSource
from penstock.spec.loader import load_fleet

if TYPE_CHECKING:  # the performance model is imported where a calibration is given, databases where there is a store
    from penstock.perf import Calibration
    from penstock.serve.io.stores import KeyWatch
    from penstock.serve.io.stores.snapshot import KnownKeys

__all__ = ["SECRETS_VARIABLE", "FrontDoor", "Listeners", "LoadedFleet", "load"]


_LOOK_S = 0.5
"""Seconds between looks for a store that nobody has made yet, or a port that somebody still has: neither wakes us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """What the command line says over the file; None leaves it to the file."""

    listen: str | None
    admin: str | None
    drain_s: float | None = None
    """How long requests in flight may finish at the end."""
    calibrations: tuple[str, ...] = ()
    """`GPU=FILE`: times that were measured, for routing."""
    state_dir: Path | None = None
    """Where logs, keys and the ledger are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFleet:
    """A fleet file as far as the gateway needs it."""

    path: str
    text: str
    fleet: Fleet
    config: GatewayConfig
    """With the keys of the file alone."""
    store: StorePlace
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """By GPU: times that were measured."""
    admin_token: bytes | None
    """SHA-256 of the token that the admin port wants of who changes keys."""

    @property
    def watched_files(self) -> list[str]:
        """The file, and those that hold keys or CAs it refers to."""
        folder = os.environ.get(SECRETS_VARIABLE)
        gateway = self.fleet.spec.gateway
        sources: list[ValueSource | None] = [k.value_from for tenant in gateway.tenants for k in tenant.keys]
        refs = [s.secret_key_ref for s in (*sources, gateway.admin_token_from) if folder and s is not None]
        cas = [str(beside(self.path, p.ca_file)) for p in gateway.providers if p.ca_file is not None]
        return [self.path, *(str(Path(folder or "", ref.name, ref.key)) for ref in refs if ref is not None), *cas]

    @property
    def profiles(self) -> dict[str, ModelProfile]:
        """What the state record shows of each model."""
        return {
            model.name: ModelProfile(
                aliases=tuple(model.aliases),
                ttft_ms=model.objectives.ttft_ms,
                itl_ms=model.objectives.itl_ms,
                e2e_ms=model.objectives.e2e_ms,
                fallbacks=self.config.spares_of(model.name),
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
    store = store_place(path, fleet, listeners.state_dir)
    config = compile_gateway(
        fleet,
        os.environ,
        listen=listeners.listen,
        admin=listeners.admin,
        drain_s=listeners.drain_s,
        secret=secret_reader(),
        has_store=store.is_there,
        authorities=authorities_of(fleet, path, text),
    )
    if (tls := config.tls) is not None:
        files = {"cert_file": str(beside(path, tls.cert_file)), "key_file": str(beside(path, tls.key_file))}
        config = replace(config, tls=tls.model_copy(update=files))
    store_password(fleet.spec.gateway)  # one that can't be read is told now
    return LoadedFleet(
        path=path,
        text=text,
        fleet=fleet,
        config=config,
        store=store,
        calibrations=calibrations_of(
            listeners.calibrations, fleet=fleet, folder=Path() if path == "-" else Path(path).parent
        ),
        admin_token=admin_token(fleet.spec.gateway),
    )


class FrontDoor:
    """The gateway with its admin port and scraper. `start`, then `close`; belongs to one event loop."""

    def __init__(
        self,
        loaded: LoadedFleet,
        *,
        discovery: Callable[[], DiscoveryState | None] | None = None,
        is_platform: bool = False,
        port_use: PortUse = "alone",
        reload: Callable[[], Reloaded] | None = None,
    ) -> None:
        """`discovery`: what is known of who tells the endpoints, where a cluster does. `is_platform`: this process
        starts engines itself. `port_use`: whether another gateway may have the client port too. `reload`: reads the
        file again when somebody asks for it on the admin port."""
        self.loaded = loaded
        self.gateway = Gateway(loaded.config, profiles=loaded.profiles, port_use=port_use)
        self._waits_for_admin = port_use == "takes_over"
        self.is_admin_open = False
        """Whether the admin port listens."""
        spec = loaded.fleet.spec.gateway
        gateways = spec.scale.min_replicas if discovery is not None else 1
        folder = Path.cwd() if loaded.path == "-" else Path(loaded.path).absolute().parent
        self._backing = Backing(
            self.gateway,
            loaded.fleet,
            loaded.store,
            folder,
            gateways=gateways,
            calibrations=loaded.calibrations,
        )
        self.gateway.core.brings_endpoints = discovery is not None or is_platform
        self._is_open = False
        self._callers: LiveCallers | None = None
        self._watch: KeyWatch | None = self._open_watch() if loaded.store.is_there else None
        self._source = TelemetrySource(
            self.gateway.telemetry,
            self.gateway.endpoints,
            listen=lambda: self.listen,
            connections=lambda: self.gateway.connections,
            is_accepting=lambda: self._is_open and not self.gateway.core.is_leaving,
            discovery=discovery,
            store=lambda: self.store,
            core=self.gateway.core,
            leanings=Leanings(limits=lambda: self.backing.limits, ledger=lambda: self.backing.ledger),
        )
        keys = key_routes(
            self._desk,
            lambda: self.loaded.admin_token,
            lambda: self.loaded.fleet.spec.gateway.tenants,
            self._backing.ledger.month_to_date,
        )
        usage = usage_routes(self._backing.ledger.usage, lambda: self.loaded.admin_token)
        again = [] if reload is None else [reload_route(reload, lambda: self.loaded.admin_token)]
        app = admin_app(self._source, dashboard_routes(), [*keys, *usage, *again])
        self._admin = AdminServer(app, loaded.config.admin_host, loaded.config.admin_port)

    async def start(self) -> None:
        """Listens on both ports; for clients once the store's keys are known. Beside another gateway the admin port may
        be taken still: then `open_admin` waits for it.

        Raises:
            StartError: a port is in use, or neither the store nor a snapshot of it can be read; then no port is taken.
        """
        try:
            await self._admin.start()
            self.is_admin_open = True
        except StartError as error:
            if not (self._waits_for_admin and is_in_use(error)):
                raise
        try:
            if self._watch is not None:
                await self._watch.begin()
            await self._backing.begin(self.loaded.fleet, has_store=self._watch is not None)
            await self.gateway.start()
        except BaseException:
            await self._admin.stop()
            raise
        self._is_open = True

    async def open_admin(self) -> None:
        """Waits until the gateway before this one has left the admin port, and listens there.

        Raises:
            StartError: the address is not of this machine.
        """
        while not self.is_admin_open:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._admin.start()
                self.is_admin_open = True
            except StartError as error:
                if not is_in_use(error):
                    raise

    async def scrape(self) -> None:
        """Reads the engines' metrics until cancelled."""
        await Scraper(self.gateway.endpoints, self.loaded.config.routing.scrape_ms / 1e3).run()

    async def lean(self) -> None:
        """Keeps shared limits, the ledger and token counts going until cancelled."""
        await self._backing.run()

    @property
    def backing(self) -> BackingState:
        """How well shared limits and the ledger are there."""
        return self._backing.state

    async def watch_keys(self) -> None:
        """Takes changes of the store's keys until cancelled; a store that is made meanwhile is taken too."""
        while self._watch is None:
            if await asyncio.to_thread(lambda: self.loaded.store.is_there):
                try:
                    self._watch = self._open_watch()
                except PenstockError as error:
                    warn(f"the keys of {self.loaded.store.url} are not known here: {error}")
                    return
            else:
                await asyncio.sleep(_LOOK_S)
        await self._watch.run()

    def reload(self, loaded: LoadedFleet) -> list[str]:
        """Takes a changed fleet file; returns a sentence for each thing that needs a restart."""
        before, self.loaded = self.loaded, loaded
        self._backing.follow(loaded.fleet, loaded.calibrations)
        notes = self.gateway.reload(self._with_keys(loaded.config), profiles=loaded.profiles)
        if before.store.url != loaded.store.url:
            self.loaded = replace(loaded, store=before.store)
            notes.append("spec.gateway.store has changed: it takes effect when the gateway is restarted.")
        return notes

    def _open_watch(self) -> KeyWatch:
        name = self.loaded.fleet.metadata.name
        return open_watch(self.loaded.store, name, self._store_password, self._take_keys)

    def _desk(self) -> Desk:
        return open_desk(self.loaded.store, self.loaded.fleet, self._store_password)

    def _store_password(self) -> str | None:
        return store_password(self.loaded.fleet.spec.gateway)

    def _take_keys(self, known: KnownKeys) -> None:
        """New requests get a configuration with the keys that are valid now; a change costs what it changes."""
        if known.changed is None or self._callers is None:
            self.gateway.core.config = self._with_keys(self.loaded.config)
        else:
            changed = known.changed
            self.gateway.core.config = self._callers.apply(changed, has_keys=known.has_keys, now=time.time())

    def _with_keys(self, config: GatewayConfig) -> GatewayConfig:
        if self._watch is None:
            return config
        known, tenants = self._watch.known, self.loaded.fleet.spec.gateway.tenants
        live = LiveCallers(config, tenants, known.records, has_keys=known.has_keys, now=time.time())
        self._callers, self.gateway.core.ended_keys = live, live.ended
        return live.config

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
        await self._backing.close()
        await self._admin.stop()

    @property
    def store(self) -> StoreState | None:
        """How well the keys of the store are known; None where there is no store."""
        return self._watch.state if self._watch is not None else None

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
