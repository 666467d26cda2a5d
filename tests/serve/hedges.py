"""Exchanges that may be sent to a second endpoint, driven by hand.

race = Race(core)            # learned: late from 1 s; a budget of five
race.wait(1.0)               # the second dispatch, if any, is race.beside
race.second(SSE_HEAD + chunk(TOKEN))
"""

from __future__ import annotations

from typing import Any

from penstock.serve.commands import Decided
from penstock.serve.config import GatewayConfig
from penstock.serve.core import Core
from penstock.serve.exchange import Dispatch, Exchange, Reply
from penstock.serve.routing.hedging import SAMPLES_MIN
from penstock.serve.wire.heads import RequestHead
from serve.exchanges import Call, core
from serve.gateways import TENANTS, config

LATE_S = 1.0
HEDGING = "    hedging: {enabled: true}\n"


def settings(gateway: str = TENANTS + HEDGING, **other: Any) -> GatewayConfig:
    return config(gateway, **other)


def hedging(endpoints: int = 2, *, budget: float = 5.0, configured: GatewayConfig | None = None) -> Core:
    """A core that hedges, with that much budget."""
    gateway = core(endpoints, settings=configured or settings())
    gateway.hedging.hedge("chat").balance = budget
    return gateway


class Race(Call):
    """One exchange, and what the edge does for it at a second endpoint."""

    def __init__(self, gateway: Core, request_head: RequestHead | None = None, **body: Any) -> None:
        super().__init__(gateway, request_head, **body)
        self.beside: list[Dispatch] = []
        self.links: set[str] = set()
        """`first` and `second`: connections that are open."""
        self.cut: list[str] = []

    @property
    def is_at_two(self) -> bool:
        return self.exchange.second is not None

    def take(self, out: bytes | Reply | Dispatch | Decided | None) -> None:
        if isinstance(out, Decided):
            assert "second" in self.links
            gone = "first" if out.is_second else "second"
            self.links.discard("second")
            if not out.is_second or "first" in self.links:
                self.cut.append(gone)
            self.links.add("first")
            out = out.out
        if isinstance(out, Dispatch):
            self.links.add("first")
        super().take(out)
        if self.is_over:
            self.cut += sorted(self.links - {"first"})
            self.links.clear()

    def go_beside(self, exchange: Exchange, dispatch: Dispatch) -> None:
        assert exchange is self.exchange
        assert "second" not in self.links
        self.beside.append(dispatch)
        self.links.add("second")

    def wait(self, seconds: float = LATE_S + 0.01) -> Race:
        """Time passes, and the gateway looks for what is late."""
        now = self.tick(seconds)
        if self.core.hedging.wakes_at <= now:
            for exchange in self.core.hedging.due(now):
                if (dispatch := exchange.hedge(now)) is not None:
                    exchange.carrier.go_beside(exchange, dispatch)
        return self

    def second(self, *reads: bytes) -> Race:
        """The second endpoint sends these reads."""
        for data in reads:
            if "second" in self.links:
                self.take(self.exchange.second_data(data, self.tick()))
            else:
                self.engine(data)  # the only one
        return self

    def lose_second(self, reason: str = "closed the connection", *, was_reused: bool = False) -> Race:
        again = self.exchange.second_lost(reason, self.tick(), was_reused=was_reused)
        self.links.discard("second")
        if again is not None:
            self.beside.append(again)
            self.links.add("second")
        return self

    def lose(self, reason: str = "closed the connection", **how: bool) -> Race:
        self.links.discard("first")
        super().lose(reason, **how)
        return self

    def leave(self) -> Race:
        """The client goes away."""
        self.exchange.client_lost(self.tick())
        self.cut += sorted(self.links)
        self.links.clear()
        return self


def learn(gateway: Core, request_head: RequestHead | None = None, *, late_s: float = LATE_S, **body: Any) -> None:
    """Requests like this one are late from then on."""
    probe = Race(gateway, request_head, **body)
    balance = gateway.hedging.hedge("chat").balance
    probe.send()
    race = probe.exchange._race
    assert race is not None
    for _ in range(SAMPLES_MIN):
        race.usual.began(late_s)
    probe.exchange.client_lost(probe.tick())
    gateway.hedging.hedge("chat").balance = balance


def raced(gateway: Core | None = None, request_head: RequestHead | None = None, **body: Any) -> Race:
    """A request that is at two endpoints."""
    gateway = gateway or hedging()
    body = {"stream": True, **body}
    learn(gateway, request_head, **body)
    race = Race(gateway, request_head, **body)
    race.send()
    race.wait()
    assert race.is_at_two
    return race
