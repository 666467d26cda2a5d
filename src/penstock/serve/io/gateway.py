"""The gateway: listener, connections, and the timers that drive what is pure.

    client ──▶ ClientConnection ──▶ Exchange (pure) ──▶ UpstreamConnection ──▶ engine

One gateway runs in one event loop and owns everything below it. `start`, then `stop`; `reload` in between.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import resource
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from random import Random
from time import monotonic

from penstock import __version__
from penstock.errors import StartError
from penstock.serve.config import GatewayConfig
from penstock.serve.core import Core
from penstock.serve.io.access_log import AccessLog
from penstock.serve.io.client import ClientConnection
from penstock.serve.io.inbox import Inbox
from penstock.serve.io.ledger import Ledger
from penstock.serve.io.listening import HANDSHAKE_GRACE_S, Listener, PortUse
from penstock.serve.io.outbox import Outbox
from penstock.serve.io.shadow import Shadows
from penstock.serve.io.tasks import Tasks
from penstock.serve.io.upstream import Upstreams
from penstock.serve.record import RequestRecord
from penstock.serve.routing import EndpointAddress, EndpointTable
from penstock.serve.telemetry import ModelProfile, Telemetry

__all__ = ["Gateway", "tune_process"]

SWEEP_S = 0.25
"""Seconds between looks at deadlines: their resolution."""
FLUSH_S = 1.0
"""Seconds that a stopping gateway waits for its last bytes to leave, before it cuts clients that do not read."""


class Gateway:
    """The data plane of one fleet."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        profiles: dict[str, ModelProfile] | None = None,
        port_use: PortUse = "alone",
    ) -> None:
        """`port_use`: whether another gateway may listen beside this one, or this one beside another."""
        self.core = Core(config, random=Random(), unix_offset_s=time.time() - time.monotonic())
        self.telemetry = Telemetry(
            profiles if profiles is not None else _profiles(config),
            config.fleet,
            __version__,
            time.time(),
            outside=_outside(config),
        )
        self.tasks = Tasks()
        self.outbox = Outbox(_call_soon)
        self.inbox = Inbox(self.outbox, _call_soon)
        self.upstreams = Upstreams(self.tasks, self.inbox, self.outbox)
        self.shadows = Shadows(self.core, self.upstreams)
        self.ledger: Ledger | None = None
        """Who writes down what was used; None while nobody does."""
        self._access_log: AccessLog | None = None
        self._is_pump_due = False
        self._clients: set[ClientConnection] = set()
        self._port_use: PortUse = port_use
        self._listener: Listener | None = None
        self._quiet = asyncio.Event()
        self._deserted = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._late_timer: asyncio.TimerHandle | None = None
        self.listen_host = config.host
        self.listen_port = config.port
        self._set_static_pools(config)
        self.endpoints.changed = self.endpoints_changed
        self.core.hedging.wake = self._hedge_at

    @property
    def config(self) -> GatewayConfig:
        """The configuration that new requests get."""
        return self.core.config

    @property
    def endpoints(self) -> EndpointTable:
        """The endpoints of every model; discovery writes its pools."""
        return self.core.endpoints

    @property
    def connections(self) -> int:
        """Client connections open now."""
        return len(self._clients)

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Opens the access log and the listener.

        Raises:
            StartError: the address can't be listened on, or the certificate or the access log can't be opened.
        """
        config, loop = self.config, asyncio.get_running_loop()
        tls = _tls(config)
        self._access_log = AccessLog("stdout" if config.access_log == "auto" else config.access_log)
        try:
            self._listener = await Listener.open(
                lambda: ClientConnection(self, loop),
                config.host,
                config.port,
                use=self._port_use,
                tls=tls,
                handshake_s=config.timeouts.header_s,
            )
        except OSError as error:
            self._access_log.close()
            raise _listen_error(config, error) from error
        self.listen_host, self.listen_port = self._listener.host, self._listener.port
        self._every(SWEEP_S, self._sweep)
        self._every(1.0, self._each_second)
        self._each_second()

    async def stop(self, drain_s: float | None = None) -> None:
        """Leaves without losing a request: not ready any more at once; new connections for as long as proxies need to
        hear of it (`closeDelayS`), then those whose handshake is under way, then none; what is in flight or comes on
        open connections for `drain_s` seconds (default: the file's); the rest is ended with an honest error. With
        `drain_s` 0 all of it at once."""
        timeouts = self.config.timeouts
        drain_s = timeouts.drain_s if drain_s is None else drain_s
        self.inbox.run()
        self.core.is_leaving = True
        for client in list(self._clients):
            client.leave(monotonic())
        if self._listener is not None:
            if drain_s and timeouts.close_delay_s:
                await asyncio.sleep(timeouts.close_delay_s)
            await self._listener.close(min(drain_s, HANDSHAKE_GRACE_S))
        if self._clients:
            self._quiet.clear()  # nobody may have been here for a moment, and then somebody came
            self._deserted.clear()
            await _within(drain_s, self._quiet)
        self.inbox.run()
        self.core.is_draining = True
        for client in list(self._clients):
            client.shut_down()
        for _ in range(2):  # what was written last leaves before the sockets close; then who did not read is cut
            if self._clients:
                await _within(FLUSH_S, self._deserted)
            for client in list(self._clients):
                client.abort()
        self.shadows.close()
        self.upstreams.close()
        await self.tasks.close()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._late_timer is not None:
            self._late_timer.cancel()
        self._listener = None
        if self._access_log is not None:
            self._access_log.close()

    def reload(self, config: GatewayConfig, *, profiles: dict[str, ModelProfile] | None = None) -> list[str]:
        """Takes a new configuration for new requests; those under way keep theirs. Listeners can't change: returns a
        sentence for each thing that needs a restart."""
        old = self.config
        self.core.configure(config)
        for client in self._clients:
            client.take_config(config)
        self.telemetry.set_models(profiles if profiles is not None else _profiles(config), _outside(config))
        for gone in old.targets.keys() - config.targets.keys():
            self.endpoints.remove_pool(gone)
        self._set_static_pools(config)
        notes = []
        for what, before, after in (
            ("listen", (old.host, old.port), (config.host, config.port)),
            ("admin", (old.admin_host, old.admin_port), (config.admin_host, config.admin_port)),
            ("tls", old.tls, config.tls),
            ("accessLog", old.access_log, config.access_log),
        ):
            if before != after:
                notes.append(f"spec.gateway.{what} has changed: it takes effect when the gateway is restarted.")
        return notes

    def _set_static_pools(self, config: GatewayConfig) -> None:
        for model in config.targets.values():
            provider = model.provider
            addresses = [
                EndpointAddress(
                    id=f"{model.name}-{index}" if provider is None else model.name,
                    host=host,
                    port=port,
                    is_external=provider is not None,
                    authority=provider.authority if provider is not None else "",
                )
                for index, (host, port) in enumerate(model.static_endpoints)
            ]
            if addresses:
                self.endpoints.set_pool(model.name, addresses)

    # ------------------------------------------------------------------ called by connections

    def client_connected(self, client: ClientConnection) -> bool:
        """A client connected; False when there is no room for it."""
        if self.core.is_draining or len(self._clients) >= self.config.limits.connections_max:
            return False
        self._clients.add(client)
        return True

    def client_disconnected(self, client: ClientConnection) -> None:
        """A client connection has ended."""
        self._clients.discard(client)
        if not self._clients and self.core.is_leaving:
            self._quiet.set()
            self._deserted.set()

    def exchange_begun(self, record: RequestRecord, now: float) -> None:
        """A request was admitted: it waits, or goes to an endpoint."""
        record.counted_as = record.model
        self.telemetry.begin(record.model, now)
        if self.ledger is not None:
            self.ledger.begin(
                record, record.reserved_tokens, key_id=record.key_id, reserved_micros=record.reserved_micros
            )

    def exchange_moved(self, record: RequestRecord) -> None:
        """Another model is to answer than the one that it was counted under."""
        if record.counted_as is not None:
            self.telemetry.moved(record.counted_as, record.model)
        record.counted_as = record.model

    def exchange_over(self, record: RequestRecord, *, has_begun: bool) -> None:
        """A request is over: it is counted and logged."""
        now = monotonic()
        if not has_begun:
            self.telemetry.begin(record.model, now)
        elif self.ledger is not None:
            self.ledger.end(record, record.cost_micros)
        self.telemetry.end(record, now)
        if self.core.flow.is_dirty:
            self._pump_soon()
        if self._access_log is not None:
            self._access_log.add(record)

    # ------------------------------------------------------------------ the queue

    def _pump_soon(self) -> None:
        """Something changed that may let a request go: looks once, when this turn of the loop is done."""
        if not self._is_pump_due:
            self._is_pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._is_pump_due = False
        now = monotonic()
        for ticket in self.core.flow.pump(now):
            exchange = ticket.owner
            if exchange is None:
                continue
            try:
                exchange.woken(ticket, now)
            except Exception:
                exchange.carrier.broke(exchange)  # logs it; the others' turns go on

    def endpoints_changed(self) -> None:
        """Endpoints came, went, or were heard of."""
        flow = self.core.flow
        flow.endpoints_changed()
        if flow.is_dirty and self._listener is not None:
            self._pump_soon()

    # ------------------------------------------------------------------ requests that are late to be answered

    def _hedge_at(self, at: float) -> None:
        """Some request will be late then."""
        if self._late_timer is not None:
            self._late_timer.cancel()
        self._late_timer = asyncio.get_running_loop().call_later(max(0.0, at - monotonic()), self._hedge)

    def _hedge(self) -> None:
        """Sends what is late to a second endpoint too."""
        now = monotonic()
        for exchange in self.core.hedging.due(now):
            try:
                dispatch = exchange.hedge(now)
                if dispatch is not None:
                    exchange.carrier.go_beside(exchange, dispatch)
            except Exception:
                exchange.carrier.broke(exchange)  # logs it; the others go on

    # ------------------------------------------------------------------ timers

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        index = len(self._timers)

        def fire() -> None:
            self._timers[index] = loop.call_later(seconds, fire)
            action()

        self._timers.append(loop.call_later(seconds, fire))

    def _sweep(self) -> None:
        self.inbox.run()  # what came before its time was over
        now = monotonic()
        self.endpoints.watch(now)
        for client in list(self._clients):
            client.sweep(now)
        if self.core.is_leaving and not self.core.in_flight and all(client.is_ending for client in self._clients):
            self._quiet.set()
        due = self.core.flow.next_due
        if self.core.flow.is_dirty or (due is not None and now >= due):
            self._pump()
        if self._access_log is not None:
            self._access_log.flush()

    def _each_second(self) -> None:
        now = monotonic()
        self.core.date = formatdate(time.time(), usegmt=True).encode()
        self.core.unix_offset_s = time.time() - now
        self.upstreams.sweep(now)
        self.shadows.sweep(now)
        if self._access_log is not None:
            self.telemetry.log_lines_dropped = self._access_log.lines_dropped
        self.telemetry.sample_endpoints(self.endpoints, now)


def _call_soon(act: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(act)


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Waits for `event`, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def tune_process() -> None:
    """Settings of a process that is a gateway: as many files as allowed, and a collector that rarely looks.

    Exchanges free themselves by reference count, so that the cycle collector finds nothing on the hot path.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _profiles(config: GatewayConfig) -> dict[str, ModelProfile]:
    named = {m.name: m for m in config.models.values()}
    return {name: ModelProfile(aliases=m.aliases, fallbacks=config.spares_of(name)) for name, m in named.items()}


def _outside(config: GatewayConfig) -> list[str]:
    """Models of providers."""
    return [model.name for model in config.targets.values() if model.provider is not None]


def _tls(config: GatewayConfig) -> ssl.SSLContext | None:
    if config.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls.cert_file, config.tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise StartError(
            f"The certificate {config.tls.cert_file} with key {config.tls.key_file} can't be used: {error}.",
            hint="both are PEM files; the certificate file holds the chain, server certificate first",
        ) from error
    return context


def _listen_error(config: GatewayConfig, error: OSError) -> StartError:
    where = f"{config.host}:{config.port}"
    if error.errno == errno.EADDRINUSE:
        return StartError(
            f"The gateway can't listen on {where}: another program has that port.",
            hint="stop it, or choose another with --listen HOST:PORT (port 0 takes any free one); to take the place of "
            "a running `penstock gateway` and lose no request: --takeover",
        )
    return StartError(
        f"The gateway can't listen on {where}: {error.strerror or error}.",
        hint="check spec.gateway.listen or --listen HOST:PORT",
    )
