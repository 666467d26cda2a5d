"""How an endpoint is, for people: what `/api/v1/state`, explanations and `status` show. Pure."""

from __future__ import annotations

from typing import Any, Literal, assert_never

from penstock.serve.routing.endpoint import Endpoint, is_half_open
from penstock.serve.routing.signals import SIGNALS

__all__ = ["CONDITIONS", "Condition", "condition_of", "health_shown"]

Condition = Literal["well", "unproven", "slow", "recovering", "out", "trial", "draining"]
CONDITIONS: tuple[Condition, ...] = ("well", "unproven", "slow", "recovering", "out", "trial", "draining")


def condition_of(endpoint: Endpoint, now: float) -> Condition:
    """In a word. `trial`: it is out, and one request tries it or may; `recovering`: it gets its share back."""
    guard = endpoint.guard
    match endpoint.health:
        case "draining":
            return "draining"
        case "unproven":
            return "unproven"
        case "down":
            is_tried = bool(guard.trial) and now < guard.trial_until
            return "trial" if is_tried or is_half_open(endpoint, now) else "out"
        case "ready":
            if guard.is_slow:
                return "slow"
            return "recovering" if endpoint.share(now) < 1.0 else "well"
        case _ as never:
            assert_never(never)


def health_shown(endpoint: Endpoint, now: float) -> dict[str, Any]:
    """Its condition and why, since when, when it is tried next, and what was counted. Seconds, to a hundredth."""
    guard = endpoint.guard
    is_out = endpoint.health == "down"
    next_try_at = max(endpoint.retry_at, guard.trial_until if guard.trial else 0.0)
    good, bad = guard.counts(now)
    return {
        "condition": condition_of(endpoint, now),
        "signal": guard.signal if is_out else None,
        "why": _why(endpoint) if is_out else "",
        "since_s": round(max(0.0, now - guard.since), 2) if guard.since else None,
        "next_try_s": round(max(0.0, next_try_at - now), 2) if is_out else None,
        "share": round(endpoint.share(now), 2),
        "answers": good,
        "errors": bad,
        "ejections_total": guard.ejections_total,
        "trials_total": guard.trials_total,
        "engine_restarts": guard.progress.restarts,
        "ttft_ms": round(guard.ttft_s * 1e3, 2) if guard.ttft_count else None,
        "itl_ms": round(endpoint.itl_s * 1e3, 2) if endpoint.itl_s else None,
    }


def _why(endpoint: Endpoint) -> str:
    signal = endpoint.guard.signal
    what = SIGNALS[signal].what if signal is not None else "it failed"
    return what if endpoint.last_error in ("", what) else f"{what} ({endpoint.last_error})"
