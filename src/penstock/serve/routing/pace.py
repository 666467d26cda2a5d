"""How long an engine may be silent before that means something: deadlines from its own pace.

Pure arithmetic; asked by sweeps and readings a few times a second, never per token. Guarantees: never under `FLOOR_S`,
never over `CEILING_S` (streams) or `PREFILL_CEILING_S` (metrics in a prefill).
"""

from __future__ import annotations

__all__ = [
    "CEILING_S",
    "FACTOR",
    "FLOOR_S",
    "LOOKS_FACTOR",
    "PREFILL_CEILING_S",
    "deadline_s",
    "learned_itl_s",
    "looks_deadline_s",
]

FACTOR = 50.0
"""Times the usual time between two tokens that is still waited. A step that carries another request's prefill takes
some 10 to 20 times a plain decode step (2,048 tokens more in the batch); twice that is out of the ordinary."""
FLOOR_S = 2.0
"""Seconds below which no silence counts: a prefill step of 16,384 tokens of a large model takes about a second, and a
replay that was not needed costs more than a second's wait."""
CEILING_S = 30.0
"""Seconds from which any silence counts, and the deadline of an endpoint whose pace is not known, or whose other
streams go on: then this one was preempted, which lasts until the engine has room for it again."""
LOOKS_FACTOR = 2.5
"""Times the deadline of a stream that the engine's own counters may stand still at most. A lying `/health` is to be
found within three; the rest is for the time between two looks."""
PREFILL_CEILING_S = 60.0
"""The same at most, in seconds, while nothing but a prefill runs whose steps take long: some 16,384 tokens against a
context of a million."""
_PREFILL_MARGIN = 4.0
_USUAL_MARGIN = 2.0
"""Times the longest silence lately that ended by itself. The steps of one long prefill grow, each by less than this."""
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


def looks_deadline_s(itl_s: float, *, longest_s: float, is_prefill: bool) -> float:
    """Seconds for which an engine that has work may show no step in its metrics.

    `longest_s`: its longest such silence lately that ended by itself. `is_prefill`: its last steps filled KV blocks and
    made no token, so that a step may take as long as the largest chunk against the longest context.
    """
    stream_s = deadline_s(itl_s, others_go_on=False)
    at_most_s = LOOKS_FACTOR * stream_s
    if is_prefill:
        return max(at_most_s, min(PREFILL_CEILING_S, _PREFILL_MARGIN * longest_s))
    return min(at_most_s, max(stream_s, _USUAL_MARGIN * longest_s))
