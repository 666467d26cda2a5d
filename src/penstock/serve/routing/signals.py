"""What can be heard of an endpoint, and what each signal says of it: the table of passive and active health, as data.

`docs/health.md` is drawn from `SIGNALS`, and each row has its test. Guarantees: the set is closed, and whatever is the
client's doing or the gateway's own says nothing of an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["SIGNALS", "Effect", "Fault", "Meaning", "Signal"]

Signal = Literal[
    "ok",
    "began",
    "progress",
    "healthy",
    "lives",
    "connect_failed",
    "reset",
    "bad_http",
    "engine_died",
    "unhealthy",
    "stalled",
    "no_progress",
    "unheard",
    "answered_5xx",
    "aborted",
    "first_byte_late",
    "read_late",
    "busy",
    "fell_silent",
    "client_error",
    "cancelled",
    "too_long",
    "queue_timeout",
    "deadline",
]
Effect = Literal["good", "alive", "out", "counts", "share", "nothing"]
"""`good`: an answer; `alive`: the process is there; `out`: out at once; `counts`: out after several, or as an outlier;
`share`: counts only in the share of errors; `nothing`: says nothing of the endpoint."""
Fault = Literal["", "bad", "hung", "gone"]
"""What an endpoint that is out suffers from. `bad`: it answers some and fails others, and in need is used all the same;
`hung`: it takes requests and makes no step; `gone`: it can't answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One row of the table."""

    effect: Effect
    fault: Fault = ""
    what: str
    why: str
    until: tuple[Signal, ...] = ()
    """What brings it back before its next try, besides an answer to the one request that tries it."""


SIGNALS: Mapping[Signal, Meaning] = {
    "ok": Meaning(effect="good", what="an answer that is whole", why="the only full proof"),
    "began": Meaning(
        effect="good", what="the first event or byte of an answer's body", why="the engine makes steps; it ends a trial"
    ),
    "progress": Meaning(
        effect="alive", what="its metrics show a step of the engine", why="a hung engine shows none, whatever answers"
    ),
    "healthy": Meaning(
        effect="alive", what="`/health` answers 200", why="the process is there; it says so of a hung engine too"
    ),
    "lives": Meaning(
        effect="alive", what="`/metrics` answers", why="the process is there; it answers with a dead engine core too"
    ),
    "connect_failed": Meaning(
        effect="out",
        fault="gone",
        what="no connection: refused, no route, not in time",
        why="nothing else will go through either",
        until=("lives", "healthy"),
    ),
    "engine_died": Meaning(
        effect="out",
        fault="gone",
        what="an error that says that the engine core died or shuts down",
        why="vLLM's API server goes some 6 s later; until then it answers `/metrics`, and `/health` while it drains",
    ),
    "unhealthy": Meaning(
        effect="out",
        fault="gone",
        what="`/health` answers 503",
        why="vLLM says so of a dead engine core",
        until=("healthy",),
    ),
    "stalled": Meaning(
        effect="out",
        fault="hung",
        what="all its streams are silent beyond their deadline",
        why="what waits there waits in vain",
        until=("progress",),
    ),
    "no_progress": Meaning(
        effect="out",
        fault="hung",
        what="its metrics show work and no step beyond the deadline",
        why="`/health` and `/metrics` come from another process than the one that hangs",
        until=("progress",),
    ),
    "unheard": Meaning(
        effect="out",
        fault="hung",
        what="requests are in flight, and neither its metrics nor any stream are heard beyond the deadline",
        why="its API server hangs: connections open, nothing answers",
        until=("progress", "lives", "healthy"),
    ),
    "reset": Meaning(
        effect="out",
        fault="bad",
        what="the connection broke before the answer's end",
        why="mostly a crash",
    ),
    "bad_http": Meaning(
        effect="out", fault="bad", what="what it sent is no HTTP, or a redirect", why="something else listens there"
    ),
    "answered_5xx": Meaning(
        effect="counts",
        fault="bad",
        what="any other 5xx but 503",
        why="may be the request's own doing",
    ),
    "aborted": Meaning(
        effect="counts", fault="bad", what="`finish_reason` `abort`", why="the engine dropped it, or an operator did"
    ),
    "first_byte_late": Meaning(
        effect="counts", fault="bad", what="nothing within `timeouts.firstByteS`", why="a long queue or a hang"
    ),
    "read_late": Meaning(
        effect="counts",
        fault="bad",
        what="silence of `timeouts.readS`",
        why="a hang that nothing else shows",
    ),
    "busy": Meaning(
        effect="share",
        fault="bad",
        what="it answered 503 or 429",
        why="it has no room; one that says so while the others don't would draw all requests by failing fast",
    ),
    "fell_silent": Meaning(
        effect="share",
        fault="bad",
        what="one stream is silent beyond its deadline, and was not preempted, while the engine makes steps",
        why="its connection passes nothing any more; only who loses many while the others don't is on a bad path",
    ),
    "client_error": Meaning(effect="nothing", what="it answered any other 4xx", why="the client's mistake"),
    "cancelled": Meaning(effect="nothing", what="the client went away", why="the client's choice"),
    "too_long": Meaning(effect="nothing", what="the prompt is over the model's context", why="the client's mistake"),
    "queue_timeout": Meaning(
        effect="nothing", what="it waited too long in our queue, or was shed", why="it never went to an endpoint"
    ),
    "deadline": Meaning(
        effect="nothing",
        what="the request's own deadline passed",
        why="the client set it, or the class",
    ),
}
