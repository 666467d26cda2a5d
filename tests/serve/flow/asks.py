"""Short ways to ask a limiter, for tests of limits."""

from __future__ import annotations

from typing import Any

from penstock.serve.flow import Ask, Quota, Scope, Verdict


def scope(name: str = "a", **limits: int) -> Scope:
    return Scope(id=f"t:{name}", words=f"tenant '{name}'", quota=Quota(**limits))


def ask(*scopes: Scope, given: int = 0, made: int = 0, cost: int = 0) -> Ask:
    return Ask(request_id="r", scopes=scopes, input_tokens=given, output_tokens=made, cost_micros=cost)


def never(verdict: Verdict, now: float) -> None:
    raise AssertionError("a limiter in memory decides at once")


def decide(limiter: Any, now: float, *scopes: Scope, given: int = 0, made: int = 0, cost: int = 0) -> Verdict:
    verdict = limiter.reserve(ask(*scopes, given=given, made=made, cost=cost), now, never)
    assert isinstance(verdict, Verdict)
    return verdict
