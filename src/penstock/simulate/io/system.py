"""The real gateway in a virtual world: `Gateway`, `ClientConnection` and `Upstreams` as they are, on another clock.

What asyncio does for them (the loop's turns, timers, sockets, the listener) is done by `penstock.simulate.system`; no
event loop runs, nothing sleeps, and no socket is opened. What is not the real code here: `_connect` (no sockets),
`stop` (which awaits), and the readings of metrics, which come as samples and not as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, cast

from penstock.serve import client_side
from penstock.serve.commands import Dispatch
from penstock.serve.config import GatewayConfig
from penstock.serve.exchange import Exchange
from penstock.serve.flow.balance import Balance
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.io import client as client_module
from penstock.serve.io import gateway as gateway_module
from penstock.serve.io import second as second_module
from penstock.serve.io.client import ClientConnection
from penstock.serve.io.gateway import FLUSH_S, SWEEP_S, Gateway
from penstock.serve.io.inbox import Inbox, Reader
from penstock.serve.io.outbox import Outbox
from penstock.serve.io.upstream import Address, UpstreamConnection, Upstreams, UpstreamUser
from penstock.serve.record import RequestRecord
from penstock.serve.routing import EndpointAddress, hedging
from penstock.simulate.system.checks import Watch
from penstock.simulate.system.clock import Clock, Planned
from penstock.simulate.system.engine import Foul
from penstock.simulate.system.host import Host
from penstock.simulate.system.person import Line, Person
from penstock.simulate.system.wire import Wire
from penstock.simulate.system.world import Verdict, World, run_seed

__all__ = ["VirtualGateway", "simulate_seed"]

UNIX_OFFSET_S = 1_767_225_600.0
"""2026-01-01T00:00:00Z less the monotonic zero."""
SCRAPE_S = 0.25
HEALTH_S = 1.0
CONNECT_S = 0.001
KEEP_ALIVE_S = 1.0
"""In place of ten seconds, as faults last for ten."""
HEDGED_FROM = 2
"""Answers from which it is known what is late, in place of fifty: a seed has some forty requests, of several kinds."""
CLOSE_DELAY_S = 0.5
"""As `closeDelayS` of a gateway behind a proxy."""


def simulate_seed(seed: int) -> Verdict:
    """Lets one seed's world happen, with real gateways in it."""
    worlds: list[World] = []

    def make(world: World, config: GatewayConfig, place: int) -> VirtualGateway:
        worlds.append(world)
        return VirtualGateway(world, config, place)

    with _virtual_time(lambda: worlds[-1].clock if worlds else Clock()):
        return run_seed(seed, make)


@contextmanager
def _virtual_time(clock: Callable[[], Clock]) -> Iterator[None]:
    """The modules of the edge read another clock, and what takes long comes sooner."""
    modules = (client_module, gateway_module, second_module)
    keep_alive_s, client_side.KEEP_ALIVE_S = client_side.KEEP_ALIVE_S, KEEP_ALIVE_S
    samples_min, hedging.SAMPLES_MIN = hedging.SAMPLES_MIN, HEDGED_FROM
    before = [module.monotonic for module in modules]
    for module in modules:
        module.monotonic = lambda: clock().now  # type: ignore[attr-defined]
    try:
        yield
    finally:
        client_side.KEEP_ALIVE_S, hedging.SAMPLES_MIN = keep_alive_s, samples_min
        for module, real in zip(modules, before, strict=True):
            module.monotonic = real  # type: ignore[attr-defined]


class _Loop:
    """What a client connection needs of an event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def call_soon(self, act: Callable[..., Any], *args: Any) -> None:
        self._host.soon.append(partial(act, *args))

    def call_later(self, seconds: float, act: Callable[..., Any], *args: Any) -> Planned:
        return self._host.clock.after(seconds, lambda: self._host.enter(partial(act, *args)))


class _Connecting:
    """A connection that is being made."""

    def __init__(self, upstreams: _Upstreams, dispatch: Dispatch, user: UpstreamUser, address: Address) -> None:
        self._upstreams, self._dispatch, self._user, self._address = upstreams, dispatch, user, address
        self._is_cancelled = False

    def begin(self, connect_s: float) -> None:
        world, host = self._upstreams.world, self._upstreams.host
        self._engine = world.engines[self._address[1]]
        is_silent = self._engine.has("black_hole")
        act = partial(self._fail, f"did not accept a connection within {connect_s:g} s") if is_silent else self._made
        world.clock.after(connect_s if is_silent else CONNECT_S, lambda: host.enter(act))

    def cancel(self) -> None:
        self._is_cancelled = True

    def _fail(self, words: str) -> None:
        if not self._is_cancelled:
            self._user.upstream_lost(words, signal="connect_failed")

    def _made(self) -> None:
        upstreams, world, engine = self._upstreams, self._upstreams.world, self._engine
        if self._is_cancelled:
            return
        if engine.is_refusing:
            self._fail("refused the connection")
            return
        connection = UpstreamConnection(upstreams, self._address)
        wire = Wire(world.clock, engine.random, upstreams.host.enter, engine)
        wire.gateway_side = connection
        upstreams.wires.append(wire)
        engine.accept(wire)
        connection.connection_made(cast("Any", wire))
        connection.send(self._user, self._dispatch.data)
        self._user.upstream_ready(connection)


class _Tasks:
    """Nothing runs by itself here."""

    @staticmethod
    def spawn(work: Any) -> Any:
        return work


class _Inbox(Inbox):
    """Here, what should never be raised ends the world."""

    def _broke(self, reader: Reader, error: Exception) -> None:
        raise error


class _Upstreams(Upstreams):
    """The real pool of connections, over virtual wires."""

    def __init__(self, world: World, host: Host, inbox: Inbox, outbox: Outbox) -> None:
        super().__init__(cast("Any", _Tasks()), inbox, outbox)
        self.world = world
        self.host = host
        self.wires: list[Wire] = []

    def _connect(self, dispatch: Dispatch, user: UpstreamUser, address: Address, connect_s: float) -> Any:
        connecting = _Connecting(self, dispatch, user, address)
        connecting.begin(connect_s)
        return connecting


class VirtualGateway(Gateway):
    """One gateway process."""

    def __init__(self, world: World, config: GatewayConfig, place: int) -> None:
        super().__init__(config)
        self.world = world
        self.place = place
        self.host = Host(world.clock, self._turned)
        core = self.core
        core._random = Random(f"gateway {world.scenario.seed} {place} {world.clock.events}")
        core.unix_offset_s = UNIX_OFFSET_S
        core.limiter = LocalLimiter(unix_offset_s=UNIX_OFFSET_S)
        core.brings_endpoints = world.scenario.brings_endpoints
        self._balance = Balance(core.flow)
        self._name = f"{place} since {world.clock.now}"
        self.outbox = Outbox(self.host.soon.append)
        self.inbox = _Inbox(self.outbox, self.host.soon.append)
        self.virtual_upstreams = self.upstreams = _Upstreams(world, self.host, self.inbox, self.outbox)
        self.is_listening = True
        self.is_dead = False
        self._listener = cast("Any", object())
        self._lines: list[Line] = []
        self._loop = _Loop(self.host)
        self._over: set[int] = set()
        self._records: list[RequestRecord] = []
        self._watch = Watch(core)
        self._turns = 0
        self.host.every(SWEEP_S, self._sweep)
        self.host.every(1.0, self._second)
        self.host.every(SCRAPE_S, self._scrape)
        self.host.every(HEALTH_S, self._ask_health)

    @property
    def exchanges(self) -> list[Exchange]:
        """Those that are not over."""
        return [client._exchange for client in self._clients if client._exchange is not None]

    # ------------------------------------------------------------------ the loop

    def _pump_soon(self) -> None:
        if not self._is_pump_due:
            self._is_pump_due = True
            self.host.soon.append(self._pump)

    def _hedge_at(self, at: float) -> None:
        if self._late_timer is not None:
            self._late_timer.cancel()
        self._late_timer = cast("Any", self._loop.call_later(max(0.0, at - self.world.clock.now), self._hedge))

    def _turned(self) -> None:
        self._turns += 1
        if self._turns % 4 == 0 or self.core.in_flight < 0:
            self._watch.look(self.exchanges)

    def _second(self) -> None:
        self.upstreams.sweep(self.world.clock.now)
        self.telemetry.sample_endpoints(self.endpoints, self.world.clock.now)
        self._watch.look(self.exchanges)

    def _talk(self) -> None:
        """As through Redis: rounds are of the world's clock, and are longer here."""
        now = self.world.clock.now
        number = int(now / SCRAPE_S)
        self._balance.heed(number - 1, self.world.words_of(number - 1), self._name, now)
        if word := self._balance.word(now):
            self.world.words_of(number).setdefault(self._name, word)

    def _scrape(self) -> None:
        """As the scraper does, but for the text."""
        self._talk()
        for endpoint in self.endpoints.all():
            seen = self.world.engines[endpoint.port].read_metrics()
            if isinstance(seen, str):
                self.endpoints.failed(endpoint, f"metrics: {seen}", self.world.clock.now)
            elif seen is not None:
                self.endpoints.observe(endpoint.id, seen)

    def _ask_health(self) -> None:
        for endpoint in self.endpoints.all():
            status = self.world.engines[endpoint.port].read_health()
            if status is not None:
                self.endpoints.health_answered(endpoint, status, self.world.clock.now)

    # ------------------------------------------------------------------ clients

    def connect(self, person: Person) -> Line:
        """A client connects."""
        line = Line(self.world.clock, self.host.enter, person)
        self._lines.append(line)
        self.host.enter(lambda: line.open(cast("Any", ClientConnection(self, cast("Any", self._loop)))))
        return line

    def exchange_over(self, record: RequestRecord, *, has_begun: bool) -> None:
        if id(record) in self._over:
            raise Foul(f"{record.request_id} is over a second time")
        self._over.add(id(record))
        self._records.append(record)  # kept, so that no other gets its id
        self.world.records.append(record)
        if not self.world.is_healed or record.outcome != "ok":
            what = f"{record.request_id} {record.outcome} {record.reason} at {record.endpoint or 'none'}"
            tries = f"{record.total_ms / 1e3:.2f} s, {record.retries} retries, {record.resumes} resumes"
            tries += f", hedged: {record.hedged}" if record.hedged else ""
            self.world.tell(f"gateway {self.place}: {what} after {tries}")
        super().exchange_over(record, has_begun=has_begun)

    # ------------------------------------------------------------------ what happens to it

    def freeze(self, seconds: float) -> None:
        self.host.freeze(seconds)

    def kill(self) -> None:
        """As `kill -9`: the kernel closes its sockets."""
        self.is_listening, self.is_dead = False, True
        self.host.kill()
        for line in self._lines:
            line.die()
        for wire in self.virtual_upstreams.wires:
            wire.abort()

    def drain(self, seconds: float) -> None:
        """As `stop`, which awaits."""
        self.host.enter(self._leave)
        self.world.clock.after(CLOSE_DELAY_S, lambda: self._close_listener(seconds))

    def _leave(self) -> None:
        self.core.is_leaving = True
        for client in list(self._clients):
            client.leave(self.world.clock.now)

    def _close_listener(self, seconds: float) -> None:
        self.is_listening = False
        self._wait_quiet(self.world.clock.now + seconds)

    def _wait_quiet(self, until: float) -> None:
        if self.is_dead:
            return
        is_waiting = self.world.clock.now < until and self._clients and not self._quiet.is_set()
        if is_waiting or self.host.is_frozen:
            self.world.clock.after(0.05, lambda: self._wait_quiet(until))
            return
        self.host.enter(self._shut_down)
        self.world.clock.after(FLUSH_S, lambda: self.host.enter(self._cut_all))
        self.world.clock.after(FLUSH_S + 0.1, self._end)

    def _shut_down(self) -> None:
        self.core.is_draining = True
        for client in list(self._clients):
            client.shut_down()

    def _cut_all(self) -> None:
        for client in list(self._clients):
            client.abort()

    def _end(self) -> None:
        if not self.is_dead:
            self._watch.look(self.exchanges)
            if self.core.in_flight:
                raise Foul(f"{self.core.in_flight} requests in flight in a gateway that has stopped")
            self.kill()
            self.world.start_again(self.place)

    def take(self, config: GatewayConfig) -> None:
        """A reload."""
        self.host.enter(lambda: self._reload(config))

    def _reload(self, config: GatewayConfig) -> None:
        self._watch.look(self.exchanges)  # what waits and runs now may pass the new bounds
        self.reload(config)

    def change_pool(self, model: str, ports: Sequence[int], draining: Sequence[int] = ()) -> None:
        """The platform says which engines there are."""
        first = self.world.scenario.engines[model][0]
        addresses = [
            EndpointAddress(id=f"{model}-{port - first}", host="10.0.0.1", port=port, is_draining=port in draining)
            for port in ports
        ]
        if model in self.config.targets:
            self.host.enter(lambda: self.endpoints.set_pool(model, addresses))
