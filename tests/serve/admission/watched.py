"""Fleets, and a limiter that counts what it lent, for tests of admission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.serve.core import Core
from penstock.serve.flow import Ask, Reservation, Usage, Verdict
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.routing import EndpointAddress
from serve.exchanges import (
    core,
)
from serve.gateways import KEY

ELSEWHERE = "elsewhere/big-1"


def tenants(limits: str = "", key_limits: str = "", more: str = "") -> str:
    """One tenant with these limits, whose key has those."""
    return f"""\
    tenants:
      - name: acme
        limits: {{{limits}}}
        keys: [{{name: laptop, value: {KEY}, limits: {{{key_limits}}}}}]
{more}"""


def models(chat: str = "", small: str = "") -> str:
    return f"""\
    - name: chat
      endpoints: ["http://127.0.0.1:1"]
{chat}    - name: small
      endpoints: ["http://127.0.0.1:2"]
{small}"""


TO_SMALL = "      fallbacks: [{model: small, when: [error, saturation]}]\n"
TO_PROVIDER = "      fallbacks: [{provider: elsewhere, providerModel: big-1}]\n"
PROVIDERS = """\
    providers:
      - {name: elsewhere, url: "https://api.example.com/openai/v1", keyFrom: {env: ELSEWHERE_KEY}}
"""
ONE_AT_ONCE = "      concurrency: 1\n"


class Watched:
    """A limiter that counts what it lent. With `is_late` its verdicts wait until `tell` is called."""

    def __init__(self, *, is_late: bool = False) -> None:
        self._limiter = LocalLimiter(unix_offset_s=1_767_225_600.0)
        self._is_late = is_late
        self._pending: list[tuple[Verdict, Callable[[Verdict, float], None]]] = []
        self.lent: list[Reservation] = []
        self.settled: list[Usage] = []

    def reserve(self, ask: Ask, now: float, then: Callable[[Verdict, float], None]) -> Verdict | None:
        verdict = self._limiter.reserve(ask, now, then)
        assert verdict is not None
        if verdict.reservation is not None:
            self.lent.append(verdict.reservation)
        if self._is_late:
            self._pending.append((verdict, then))
            return None
        return verdict

    def settle(self, reservation: Reservation, usage: Usage, now: float) -> None:
        self.lent.remove(reservation)  # raises where it was settled before, or never lent
        self.settled.append(usage)
        self._limiter.settle(reservation, usage, now)

    def tell(self, now: float) -> None:
        pending, self._pending = self._pending, []
        for verdict, then in pending:
            then(verdict, now)


def watched(settings: Any, endpoints: int = 1, *, is_late: bool = False) -> tuple[Core, Watched]:
    gateway, limiter = core(endpoints, settings=settings), Watched(is_late=is_late)
    gateway.limiter = limiter
    add(gateway, "small")
    return gateway, limiter


def add(gateway: Core, model: str) -> None:
    """One ready endpoint for that model."""
    gateway.endpoints.set_pool(model, [EndpointAddress(id=f"{model}-0", host="127.0.0.1", port=9)])
    gateway.endpoints.pools[model].endpoints[0].health = "ready"
