"""When a silence is a stall: in mid-stream by the endpoint's own pace, before the first text by its metrics.

Pure arithmetic; asked by the sweep a few times a second, never per token. Guarantees: the deadline of a stream is never
under `FLOOR_S`, never over `CEILING_S`; a long prefill is no stall. Leaves to others what to do about it.
"""

from __future__ import annotations

from penstock.serve.answer import Answer
from penstock.serve.routing import Endpoint
from penstock.serve.routing.pace import CEILING_S, FACTOR, FLOOR_S, LOOKS_FACTOR, deadline_s, learned_itl_s

__all__ = ["CEILING_S", "FACTOR", "FLOOR_S", "PROBE_S", "deadline_s", "has_stalled", "learned_itl_s"]

PROBE_S = 10.0
"""Seconds that a request waits for the first byte of an endpoint that had stalled and is tried again."""
_EVENTS_MIN = 3
"""Events of a stream from which its own pace is known."""


def has_stalled(
    endpoint: Endpoint, answer: Answer | None, first_at: float, last_progress_at: float, now: float
) -> bool:
    """Whether what waits for `endpoint` waits in vain. `answer` is None before its first event, which came at
    `first_at`; a silence before the first text may be a prefill, however long, unless the engine shows no work."""
    quiet_s = now - last_progress_at
    if endpoint.is_stalled:
        return last_progress_at <= endpoint.stalled_at or quiet_s > PROBE_S
    if quiet_s <= FLOOR_S:
        return False
    if answer is None:
        return _was_ignored(endpoint, last_progress_at, quiet_s)
    delivered = answer.settle()
    if not delivered.has_text:
        return False
    own_s = (last_progress_at - first_at) / (delivered.events - 1) if delivered.events > _EVENTS_MIN else 0.0
    others_go_on = now - endpoint.progress_at < FLOOR_S
    return quiet_s > deadline_s(max(endpoint.itl_s, own_s), others_go_on=others_go_on)


def _was_ignored(endpoint: Endpoint, sent_at: float, quiet_s: float) -> bool:
    """Whether an engine that says that it has nothing to do has made no step since a request was sent: it hung while
    it was idle, and its gauges, which move with its steps, will never show the request."""
    sample, progress = endpoint.sample, endpoint.guard.progress
    if sample is None or sample.running or sample.waiting or progress.is_missing(sent_at + quiet_s - sample.at):
        return False
    if max(progress.moved_at, endpoint.progress_at) > sent_at or progress.is_doubted:
        return False
    return quiet_s > LOOKS_FACTOR * deadline_s(max(endpoint.itl_s, progress.step_s), others_go_on=False)
