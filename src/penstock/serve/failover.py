"""What is done with an answer whose endpoint is lost: the table of cases, as data.

`choose` takes the first row that holds. `docs/failover.md` is drawn from `CASES`, and each row has its test. Two
courses exist: *replay* (the same request again at another endpoint, less what the client has) and *error* (an SSE
error event, or a cut connection where the answer was not a stream). Why there is no third is decision 0007.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstock.serve.wire.requests import ApiRequest
from penstock.serve.wire.routes import Route

__all__ = [
    "CASES",
    "ENGINE_DIED",
    "READ_PATHS",
    "RESUMES_MAX",
    "STUCK_MAX",
    "Case",
    "Course",
    "Loss",
    "choose",
    "needs_seed",
]

Course = Literal["replay", "error"]

RESUMES_MAX = 8
"""Times that one stream is resumed. Under one killed engine of four every two seconds a ten-second stream meets more
than eight with a chance of 1 in 10,000; without a bound a failing fleet would be given its work again for ever."""
STUCK_MAX = 2
"""Resumes in a row that may end without a new word for the client: as many as a request is retried before its answer.
A request that kills whatever engine it meets (always at the same token) so kills three and no more."""

READ_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/messages"})
"""Paths whose streams are read by `walk`."""
ENGINE_DIED = re.compile(rb"EngineCore encountered an issue|EngineDeadError|cannot schedule new futures after shutdown")
"""In a 500 of vLLM 0.32 whose engine died or is shutting down (seen on a real one): the request was not at fault and
is worth another endpoint, while any other 500 may be the request's own doing."""
_GREEDY_BELOW = 1e-5
"""Temperature under which vLLM samples greedily (`_SAMPLING_EPS` in its sampling parameters, 0.32)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What is known of a stream at the moment when its endpoint is lost."""

    path: str
    request: Mapping[str, Any]
    """The body that the engine got."""
    is_stream: bool
    """The answer is a stream of events."""
    has_text: bool
    """The client has some text of it."""
    is_readable: bool
    """What the client has was understood and is within the bounds."""
    resumes: int
    stuck: int
    """Resumes just before that ended without a new word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table."""

    name: str
    when: str
    course: Course
    why: str
    holds: Callable[[Loss], bool]


def _is_greedy(request: Mapping[str, Any]) -> bool:
    temperature = request.get("temperature")
    return isinstance(temperature, int | float) and temperature < _GREEDY_BELOW


CASES: tuple[Case, ...] = (
    Case(
        name="answer_begun",
        when="the answer is no stream of events, and part of it has gone",
        course="error",
        why="HTTP has no way to say it: the connection is cut. Only answers over the held size come here.",
        holds=lambda loss: not loss.is_stream,
    ),
    Case(
        name="too_often",
        when=f"the stream was resumed {RESUMES_MAX} times",
        course="error",
        why="a fleet that fails this often is not helped by more work",
        holds=lambda loss: loss.resumes >= RESUMES_MAX,
    ),
    Case(
        name="stuck",
        when=f"the last {STUCK_MAX} resumes brought the client nothing new",
        course="error",
        why="a request that kills the engine at the same token must not kill them all",
        holds=lambda loss: loss.stuck >= STUCK_MAX,
    ),
    Case(
        name="unreadable",
        when="what the client has is not understood, or is more than is kept",
        course="error",
        why="without knowing what the client has nothing can be added to it",
        holds=lambda loss: not loss.is_readable,
    ),
    Case(
        name="no_text_yet",
        when="the client has no text yet: headers, comments or the role at most",
        course="replay",
        why="any answer is as good as the first; whatever the request asks for",
        holds=lambda loss: not loss.has_text,
    ),
    Case(
        name="other_stream",
        when="responses, speech and other streams than chat, completions and messages",
        course="error",
        why="their events carry numbers and names that an attempt draws anew and later events refer to",
        holds=lambda loss: loss.path not in READ_PATHS,
    ),
    Case(
        name="bound_to_engine",
        when="`kv_transfer_params` names what one engine holds",
        course="error",
        why="another engine does not have it",
        holds=lambda loss: bool((loss.request.get("kv_transfer_params") or {}).keys() - {"prompt_token_ids"}),
    ),
    Case(
        name="greedy",
        when="temperature 0",
        course="replay",
        why="the model gives the same tokens again",
        holds=lambda loss: _is_greedy(loss.request),
    ),
    Case(
        name="seeded",
        when="sampled with a seed, the client's or the gateway's own",
        course="replay",
        why="the same seed draws the same tokens; a continuation would begin a new draw",
        holds=lambda loss: type(loss.request.get("seed")) is int,
    ),
    Case(
        name="unseeded",
        when="sampled without a seed: Anthropic's API has none, and with one endpoint the gateway adds none",
        course="error",
        why="another attempt says something else",
        holds=lambda _: True,
    ),
)
"""The first row that holds is taken."""


def choose(loss: Loss) -> Case:
    """The row for a loss."""
    return next(case for case in CASES if case.holds(loss))


def needs_seed(route: Route, request: ApiRequest) -> bool:
    """Whether another attempt at this stream could say something else for want of a seed."""
    fields = request.fields
    if fields is None or not (request.is_stream and route.has_stream_options):
        return False
    return fields.get("seed") is None and not _is_greedy(fields)
