"""When a silence in mid-stream is a stall: the deadline between two tokens, learned from the endpoint's own pace.

Pure arithmetic; asked by the sweep a few times a second, never per token. Guarantees: never under `FLOOR_S`, never over
`CEILING_S`. Leaves to others: that a stream has text at all (a long prefill is no stall), and what to do about it.
"""

from __future__ import annotations

from penstock.serve.answer import Answer
from penstock.serve.routing import Endpoint

__all__ = ["CEILING_S", "FACTOR", "FLOOR_S", "PROBE_S", "deadline_s", "has_stalled", "learned_itl_s"]

FACTOR = 50.0
"""Times the usual time between two tokens that is still waited. A step that carries another request's prefill takes
some 10 to 20 times a plain decode step (2,048 tokens more in the batch); twice that is out of the ordinary."""
FLOOR_S = 2.0
"""Seconds below which no silence counts: a prefill step of 16,384 tokens of a large model takes about a second, and a
replay that was not needed costs more than a second's wait."""
CEILING_S = 30.0
"""Seconds from which any silence counts, and the deadline of an endpoint whose pace is not known, or whose other
streams go on: then this one was preempted, which lasts until the engine has room for it again."""
PROBE_S = 10.0
"""Seconds that a request waits for the first byte of an endpoint that had stalled and is tried again."""
_EVENTS_MIN = 3
"""Events of a stream from which its own pace is known."""
_WEIGHT = 0.1
"""Weight of the latest stream in an endpoint's pace: the last ten or so count."""


def deadline_s(itl_s: float, *, others_go_on: bool) -> float:
    """Seconds of silence after which a stream has stalled. `itl_s`: usual seconds between tokens, 0 if not known."""
    if itl_s <= 0 or others_go_on:
        return CEILING_S
    return min(CEILING_S, max(FLOOR_S, FACTOR * itl_s))


def learned_itl_s(known_s: float, latest_s: float) -> float:
    """An endpoint's pace after one more finished stream."""
    return latest_s if known_s <= 0 else known_s + _WEIGHT * (latest_s - known_s)


def has_stalled(
    endpoint: Endpoint, answer: Answer | None, first_at: float, last_progress_at: float, now: float
) -> bool:
    """Whether what waits for `endpoint` waits in vain. `answer` is None before its first event, which came at
    `first_at`; a silence before the first text may be a prefill, however long, unless others know that it is none."""
    quiet_s = now - last_progress_at
    if endpoint.is_stalled:
        return last_progress_at <= endpoint.stalled_at or quiet_s > PROBE_S
    if answer is None or quiet_s <= FLOOR_S:
        return False
    delivered = answer.settle()
    if not delivered.has_text:
        return False
    own_s = (last_progress_at - first_at) / (delivered.events - 1) if delivered.events > _EVENTS_MIN else 0.0
    others_go_on = now - endpoint.progress_at < FLOOR_S
    return quiet_s > deadline_s(max(endpoint.itl_s, own_s), others_go_on=others_go_on)
