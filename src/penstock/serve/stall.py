"""When a silence is a stall, and whose: in mid-stream by the endpoint's own pace, before the first text by its metrics.

Pure arithmetic; asked by the sweep a few times a second, never per token. Guarantees: the deadline of a stream is never
under `FLOOR_S`, never over `CEILING_S`; a long prefill is no stall. A stream that is silent among others that go on may
have been preempted, and waits until `CEILING_S`, but for one of which the engine's readings say that it was not: that
one has lost its connection. Leaves to others what to do about it.
"""

from __future__ import annotations

from typing import Literal

from penstock.serve.answer import Answer
from penstock.serve.routing import Endpoint
from penstock.serve.routing.pace import CEILING_S, FACTOR, FLOOR_S, LOOKS_FACTOR, deadline_s, learned_itl_s

__all__ = ["CEILING_S", "FACTOR", "FLOOR_S", "PROBE_S", "Stall", "deadline_s", "learned_itl_s", "stall_of"]

Stall = Literal["", "hung", "lost", "late"]
"""`hung`: the endpoint makes no progress; `lost`: it does, and has not preempted this stream, whose connection passes
nothing any more; `late`: it does, and nobody knows."""
PROBE_S = 10.0
"""Seconds that a request waits for the first byte of an endpoint that had stalled and is tried again."""
_EVENTS_MIN = 3
"""Events of a stream from which its own pace is known."""
_TOOLS = b'"tools"'
"""In a request whose engine may be silent for long while it works: parsers hold a call of a tool back until it is
whole, and some servers run tools themselves. Not where each token is told: then each has its event."""


def stall_of(
    endpoint: Endpoint,
    answer: Answer | None,
    first_at: float,
    last_progress_at: float,
    now: float,
    *,
    body: bytes = b"",
) -> Stall:
    """Whether what waits for `endpoint` waits in vain, and why. `answer` is None before its first event, which came at
    `first_at`; a silence before the first text may be a prefill, however long, unless the engine shows no work. `body`:
    the request."""
    quiet_s = now - last_progress_at
    if endpoint.is_stalled:
        return "hung" if last_progress_at <= endpoint.stalled_at or quiet_s > PROBE_S else ""
    if quiet_s <= FLOOR_S:
        return ""
    delivered = answer.settle() if answer is not None else None
    if delivered is None or not delivered.has_text:
        return _before_text(endpoint, last_progress_at, now)
    own_s = (last_progress_at - first_at) / (delivered.events - 1) if delivered.events > _EVENTS_MIN else 0.0
    if quiet_s <= deadline_s(max(endpoint.itl_s, own_s), others_go_on=False):
        return ""
    if not _goes_on(endpoint, last_progress_at, now):
        return "hung"
    is_told_each = delivered.keeps_ids and bool(delivered.ids)
    if _holds_no_other(endpoint, last_progress_at, now) and (is_told_each or _TOOLS not in body):
        return "lost"
    return "late" if quiet_s > CEILING_S else ""


def _goes_on(endpoint: Endpoint, since: float, now: float) -> bool:
    """Whether the engine works, while a stream of it was last heard at `since`: others go on, its own counters moved
    after that, or it says that it has nothing left to do."""
    if now - endpoint.progress_at < FLOOR_S:
        return True
    progress, is_idle = endpoint.guard.progress, _is_idle(endpoint)
    if progress.is_doubted or not _is_fresh(endpoint, now):
        return False
    if progress.stepped_from > since:
        return is_idle or now - progress.stepped_from < FLOOR_S
    return is_idle and progress.stepped_at > since


def _holds_no_other(endpoint: Endpoint, since: float, now: float) -> bool:
    """Whether the engine's readings say that it has not put back a stream that was last heard at `since`: two at least
    were taken after that, all of them and one before show no queue and a cache with room, and they show steps."""
    before, progress = endpoint.previous_sample, endpoint.guard.progress
    if before is None or progress.is_doubted or not _is_fresh(endpoint, now):
        return False
    shows_steps = progress.stepped_from > since or (_is_idle(endpoint) and progress.stepped_at > since)
    return before.at > since >= progress.roomy_from and shows_steps


def _is_fresh(endpoint: Endpoint, now: float) -> bool:
    sample = endpoint.sample
    return sample is not None and not endpoint.guard.progress.is_missing(now - sample.at)


def _is_idle(endpoint: Endpoint) -> bool:
    sample = endpoint.sample
    return sample is not None and not (sample.running or sample.waiting)


def _before_text(endpoint: Endpoint, sent_at: float, now: float) -> Stall:
    """Of what was sent and has no text yet. Since then nobody can connect there any more: an engine that was told to
    stop leaves open what it has, and says nothing. Or the engine says that it has nothing to do. If it made no step
    since then, it hung while it was idle: its gauges, which move with its steps, will never show the request. If it
    made some and has had nothing to do for a while, it has answered, and nobody heard."""
    quiet_s, guard = now - sent_at, endpoint.guard
    progress = guard.progress
    if endpoint.health == "down" and guard.fault == "gone" and guard.since > sent_at:
        usual_s = deadline_s(max(endpoint.itl_s, progress.step_s), others_go_on=False)
        return "hung" if now - guard.since > usual_s else ""
    if not _is_idle(endpoint) or not _is_fresh(endpoint, now) or progress.is_doubted:
        return ""
    if quiet_s <= LOOKS_FACTOR * deadline_s(max(endpoint.itl_s, progress.step_s), others_go_on=False):
        return ""
    if max(progress.moved_at, endpoint.progress_at) <= sent_at:
        return "hung"
    return "lost" if sent_at < progress.stepped_at < now - FLOOR_S else ""
