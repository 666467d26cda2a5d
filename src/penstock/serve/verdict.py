"""What is wrong with the fleet right now, in words: the few lines a person on call reads first.

A pure reading of the model states of `/api/v1/state`; the dashboard, `up` and users see the same list.
`broken`: requests fail or a replica is gone. `warning`: a promise is missed or soon will be. `notice`: not there yet.
Guarantees: nothing is said of what is scaled to zero or quiet; each line names its model or endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

__all__ = ["Severity", "problems", "with_leanings"]

Severity = Literal["broken", "warning", "notice"]

_RANK: Mapping[str, int] = {"broken": 0, "warning": 1, "notice": 2}

BROKEN_ERROR_SHARE = 0.1
"""Share of a minute's requests that fail, from which the model counts as broken."""
WARNING_ERROR_SHARE = 0.01
"""The same for a warning: the usual error budget of a 99 % objective."""
KV_FULL_SHARE = 0.95
"""KV usage from which engines preempt and every stream slows."""
LOOP_LATE_MS = 100.0
"""Lateness of the gateway's own timer from which it is short of CPU; all its answers wait as long."""
BEHIND_S = 60.0
"""Seconds for which the store of use may be away before a person is told: a restart of it is over by then."""
RESTARTS_IN_VAIN = 3
"""Restarts from which a replica that starts once more is no news of recovery."""

_OBJECTIVES = (("ttft_ms", "ttft_ms", "TTFT"), ("tpot_ms", "itl_ms", "time per token"), ("total_ms", "e2e_ms", "E2E"))


def problems(gateway: Mapping[str, Any], models: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Findings as `{severity, subject, message}`, broken ones first, then in the fleet file's order."""
    found = [*_of_gateway(gateway), *_of_discovery(gateway.get("discovery")), *_of_store(gateway.get("store"))]
    found += [problem for model in models for problem in _of_model(model)]
    if not found and not gateway["is_ready"]:
        found.append(_problem("notice", "gateway", "it does not accept requests: it is starting or draining"))
    return sorted(found, key=lambda p: _RANK[p["severity"]])


def with_leanings(found: list[dict[str, str]], gateway: Mapping[str, Any]) -> list[dict[str, str]]:
    """`found`, and what is wrong with the state's `gateway.limits` and `gateway.ledger`."""
    more = [*_of_limits(gateway.get("limits")), *_of_ledger(gateway.get("ledger"))]
    return sorted([*found, *more], key=lambda p: _RANK[p["severity"]])


def _of_limits(limits: Mapping[str, Any] | None) -> Iterator[dict[str, str]]:
    """Limits that are away cost a tenant some of its own, and nobody else anything."""
    if limits is not None and limits["where"] and not limits["is_connected"] and limits["error"]:
        yield _warning("gateway", f"it allows its own share of the limits: {limits['error']}")


def _of_ledger(ledger: Mapping[str, Any] | None) -> Iterator[dict[str, str]]:
    """Use that waits is safe in the journal while that is on disk; what was dropped is gone."""
    if ledger is None:
        return
    if ledger["dropped_total"]:
        yield _broken("gateway", f"{ledger['dropped_total']:,} entries of use found no room and are lost")
    if ledger["journal_error"]:
        yield _warning("gateway", f"use is kept in memory, where a kill takes it: {ledger['journal_error']}")
    if not ledger["is_connected"] and ledger["silent_s"] >= BEHIND_S:
        waits = f"{ledger['waiting']:,} finished requests wait in the journal"
        yield _warning("gateway", f"use is not entered in the store, {waits}: {ledger['error']}")


def _of_gateway(gateway: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    late_ms = gateway["loop_lag_ms"]
    if late_ms >= LOOP_LATE_MS:
        yield _warning(
            "gateway", f"its event loop is {late_ms:.0f} ms late: it is short of CPU, and every answer waits"
        )


def _of_discovery(discovery: Mapping[str, Any] | None) -> Iterator[dict[str, str]]:
    """An API server that is away costs nothing until engines come and go."""
    if discovery is None or discovery["is_connected"]:
        return
    source = discovery["source"]
    why = f": {discovery['error']}" if discovery["error"] else ""
    if discovery["is_synced"]:
        yield _warning("gateway", f"{source} is not heard, the last known endpoints hold{why}")
    elif discovery["error"]:
        yield _broken("gateway", f"{source} has not told yet which endpoints there are{why}")


def _of_store(store: Mapping[str, Any] | None) -> Iterator[dict[str, str]]:
    """A store that is away costs nothing until keys change."""
    if store is None:
        return
    if not store["is_connected"] and store["error"]:
        held = "the last known keys hold" if store["source"] else "no key of it is known"
        yield (_warning if store["source"] else _broken)("gateway", f"{held}: {store['error']}")
    if store["snapshot_error"]:
        yield _warning("gateway", f"it can't start again without its store: {store['snapshot_error']}")


def _of_model(model: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    name = model["name"]
    endpoints = model["endpoints"]
    if model["replicas_desired"] and not model["replicas_ready"]:
        if any(e["health"] == "unproven" and not _is_failing(e) for e in endpoints):
            yield _problem("notice", name, "starting: no replica has answered yet")
        else:
            yield _broken(name, f"no replica answers, {_what_instead(model['fallbacks'])}")
    for endpoint in endpoints:
        yield from _of_endpoint(endpoint)
    minute = model["last_minute"]
    if minute["errors"]:
        share = minute["errors"] / minute["requests"]
        words = f"{share:.0%} of requests failed in the last minute ({minute['errors']} of {minute['requests']})"
        if share >= BROKEN_ERROR_SHARE:
            yield _broken(name, words)
        elif share >= WARNING_ERROR_SHARE:
            yield _warning(name, words)
    for measure, objective, label in _OBJECTIVES:
        measured, promised = model[measure]["p95"], model["objectives"][objective]
        if measured is not None and promised is not None and measured > promised:
            yield _warning(name, f"{label} p95 is {_ms(measured)}, the objective is {_ms(promised)}")


def _what_instead(fallbacks: Sequence[Mapping[str, Any]]) -> str:
    """What becomes of the requests for a model that has no replica."""
    able = next((spare["model"] for spare in fallbacks if spare["is_able"]), None)
    if able is not None:
        return f"so its requests go to its fallback {able}"
    if fallbacks:
        return f"nor does its fallback ({', '.join(spare['model'] for spare in fallbacks)}), so its requests fail"
    return "so its requests get 503"


def _of_endpoint(endpoint: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    because = f": {endpoint['last_error']}" if endpoint["last_error"] else ""
    if endpoint["health"] == "down":
        yield _broken(endpoint["id"], f"down{because}")
    elif _is_failing(endpoint):
        times = f" after {endpoint['restarts']} restarts" if endpoint["restarts"] else ""
        yield _broken(endpoint["id"], f"does not stay up{times}{because}")
    usage = endpoint["kv_usage"]
    if usage is not None and usage >= KV_FULL_SHARE:
        yield _warning(endpoint["id"], f"KV cache is {usage:.0%} full: it preempts, and its streams slow down")


def _is_failing(endpoint: Mapping[str, Any]) -> bool:
    """Whether its process died and waits to be started again, or has been restarted in vain."""
    phase = endpoint["phase"]
    return phase in ("backoff", "recycling") or (phase == "starting" and endpoint["restarts"] >= RESTARTS_IN_VAIN)


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _problem(severity: Severity, subject: str, message: str) -> dict[str, str]:
    return {"severity": severity, "subject": subject, "message": message}


def _broken(subject: str, message: str) -> dict[str, str]:
    return _problem("broken", subject, message)


def _warning(subject: str, message: str) -> dict[str, str]:
    return _problem("warning", subject, message)
