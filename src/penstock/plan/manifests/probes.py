"""When an engine is started, ready, alive and gone: its probes, and the contract of its end. Pure.

Guarantees: the startup probe waits at least twice the planned cold start, so that a slow start never loops; a pod's
grace covers its pause before the signal and the time that running requests get.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from penstock.facts import flag_trouble
from penstock.plan.manifests.manifest import Because
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.site import Site

__all__ = ["Ending", "ending_of", "probes", "pull_s", "startup_budget_s"]

_PERIOD_S = 10
_SIMULATED_START_S = 60
_LEAVE_S = 15
"""From the decision to end a pod until gateways, proxies and nodes have all heard that it takes no more requests."""
_MARGIN_S = 30
"""To free GPUs and end processes; and vLLM goes a little after its time, never before it."""
_STOP_MIN_S, _STOP_MAX_S = 30, 600
"""Beyond ten minutes a rollout or a node's drain would wait for one answer longer than for a new engine."""
_STOP_STEP_S = 30
"""Coarse on purpose: what is predicted a little differently must not restart every engine."""
_DEAD_GRACE_S = 30
PULL_BYTES_PER_S = 100_000_000
"""From the hub or an object store onto a node's disk: 100 MB/s, a tenth of what a good line does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an engine's pod ends."""

    sleep_s: int
    """Before the signal: the endpoint goes, requests still arrive."""
    stop_s: int
    """After the signal: running requests finish. 0: the engine knows no such time, and `sleep_s` covers them."""
    grace_s: int
    """From the decision to the kill."""
    sleep_reason: str
    stop_reason: str
    grace_reason: str


def ending_of(site: Site, needs: ModelNeeds) -> Ending:
    """The contract of the end: leave, finish, go."""
    stop_s, why = _stop(site, needs)
    leave = f"{_LEAVE_S} s in which nobody is left who still sends requests here"
    trouble = None if needs.is_simulated else flag_trouble("--shutdown-timeout", needs.spec.engine.version)
    if trouble is not None:
        return Ending(
            sleep_s=_LEAVE_S + stop_s,
            stop_s=0,
            grace_s=_LEAVE_S + stop_s + _MARGIN_S,
            sleep_reason=f"{trouble}: it cuts off what runs as soon as it is told to stop. So it is told late: "
            f"{leave}, and {stop_s} s for what runs. {why}",
            stop_reason="",
            grace_reason=f"The pause of {_LEAVE_S + stop_s} s, and {_MARGIN_S} s to end the processes.",
        )
    return Ending(
        sleep_s=_LEAVE_S,
        stop_s=stop_s,
        grace_s=_LEAVE_S + stop_s + _MARGIN_S,
        sleep_reason=f"{leave[0].upper()}{leave[1:]}: after the signal the engine answers new ones with an error.",
        stop_reason=f"After the signal, what runs gets {stop_s} s to finish: by itself the engine gives it none. {why}",
        grace_reason=f"{_LEAVE_S} s of pause, {stop_s} s for running requests, {_MARGIN_S} s to end the processes.",
    )


def _stop(site: Site, needs: ModelNeeds) -> tuple[int, str]:
    """Seconds that running requests get, and why."""
    if "stop_timeout_s" in needs.spec.engine.model_fields_set:
        return math.ceil(needs.spec.engine.stop_timeout_s), "As `engine.stopTimeoutS` says."
    timeouts = site.fleet.spec.gateway.timeouts
    longest = min(_STOP_MAX_S, math.ceil(timeouts.first_byte_s + timeouts.read_s))
    wanted = math.ceil(needs.answer_s / _STOP_STEP_S) * _STOP_STEP_S
    seconds = max(min(_STOP_MIN_S, longest), min(wanted, longest))
    if not needs.answer_tokens:
        return seconds, f"Its longest request takes about {needs.answer_s:.0f} s."
    return seconds, (
        f"An answer of {needs.answer_tokens:,} tokens takes {needs.answer_s:.0f} s at the planned load"
        + ("." if wanted <= longest else f"; {longest} s is the most that is waited.")
        + " `engine.stopTimeoutS` changes it."
    )


def pull_s(needs: ModelNeeds) -> int:
    """Seconds that the model's files take from where they come from, on a slow line."""
    return math.ceil(needs.source_bytes / PULL_BYTES_PER_S)


def startup_budget_s(site: Site, needs: ModelNeeds) -> int:
    """Seconds from the start of the container until it must answer."""
    return _startup(site, needs)[0]


def _startup(site: Site, needs: ModelNeeds) -> tuple[int, str]:
    """The budget, a whole number of periods, and why."""
    if needs.is_simulated:
        delay = float(str(needs.spec.engine.args.get("startup-delay-s", 0) or 0))
        return _whole(max(_SIMULATED_START_S, 2 * delay)), "A simulated engine starts in seconds."
    cold = needs.host.cold
    planned = needs.host.probe_failures * needs.host.probe_period_s
    parts = [f"{cold.load_s:.0f} s to load {needs.source_bytes / 1e9:.0f} GB at 1 GB/s"]
    parts += [f"{cold.compile_s + cold.capture_s:.0f} s to compile and capture", f"{cold.other_s:.0f} s for the rest"]
    reason = (
        f"A cold start takes {cold.total_s:.0f} s ({', '.join(parts)}): twice that, as a start that is cut off for "
    )
    reason += "being slow only begins again."
    if site.storage(needs).mode == "none":
        planned += 2 * pull_s(needs)
        reason += f" Twice {pull_s(needs)} s more, as it downloads first."
    said = needs.spec.engine.start_timeout_s
    if "start_timeout_s" in needs.spec.engine.model_fields_set and said > planned:
        return _whole(said), f"{reason} `engine.startTimeoutS` gives it more."
    return _whole(planned), reason


def _whole(seconds: float) -> int:
    return math.ceil(seconds / _PERIOD_S) * _PERIOD_S


def probes(site: Site, needs: ModelNeeds) -> dict[str, Any]:
    """The three probes of the engine's container."""
    budget, reason = _startup(site, needs)
    health = {"path": "/health", "port": "http"}
    return {
        "startupProbe": {
            "httpGet": health,
            "periodSeconds": _PERIOD_S,
            "timeoutSeconds": 5,
            "failureThreshold": Because(budget // _PERIOD_S, f"{budget} s to start. {reason}"),
            "terminationGracePeriodSeconds": Because(_DEAD_GRACE_S, "Nothing runs yet that could finish."),
        },
        "readinessProbe": {
            "httpGet": health,
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": Because(
                health, "Fails when the engine is dead, not when it is busy; a full queue is no reason to restart."
            ),
            "periodSeconds": 15,
            "timeoutSeconds": 10,
            "failureThreshold": Because(8, "Two minutes: a long step, or a host under load, may answer late."),
            "terminationGracePeriodSeconds": Because(
                _DEAD_GRACE_S, "A dead engine finishes nothing: it need not be waited for."
            ),
        },
    }
