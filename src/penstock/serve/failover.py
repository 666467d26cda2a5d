"""What is done with an answer whose endpoint is lost: the tables of cases, as data.

`choose` takes the first row of `CASES` that holds, `choose_after` the first of `CONTINUATIONS` once a replay has said
something else. `docs/failover.md` is drawn from both, and each row has its test. Four courses exist: *close* (the
gateway tells the end itself, as nothing else is missing: `closing`), *replay* (the same request again at another
endpoint, less what the client has), *continue* (a request for what follows the text that the client has) and *error*
(an SSE error event, or a cut connection where the answer was not a stream; the last event where nothing else is
missing, see `is_all_but_done`). See decisions 0007, 0009 and 0010.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from penstock.serve.wire.requests import ApiRequest
from penstock.serve.wire.routes import Route

__all__ = [
    "CASES",
    "CONTINUATIONS",
    "ENGINE_DIED",
    "READ_PATHS",
    "RESUMES_MAX",
    "STUCK_MAX",
    "Case",
    "Course",
    "Loss",
    "choose",
    "choose_after",
    "is_all_but_done",
    "is_greedy",
    "may_count",
    "needs_seed",
    "wants_ids",
]

Course = Literal["close", "replay", "continue", "error"]

RESUMES_MAX = 8
"""Times that one stream is resumed. Under one killed engine of four every two seconds a ten-second stream meets more
than eight with a chance of 1 in 10,000; without a bound a failing fleet would be given its work again for ever."""
STUCK_MAX = 2
"""Resumes in a row that may end without a new word for the client: as many as a request is retried before its answer.
A request that kills whatever engine it meets (always at the same token) so kills three and no more."""

READ_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"})
"""Paths whose streams are read by `walk` and `walk_responses`."""
ENGINE_DIED = re.compile(rb"EngineCore encountered an issue|EngineDeadError|cannot schedule new futures after shutdown")
"""In a 500 of vLLM 0.32 whose engine died or is shutting down (seen on a real one): the request was not at fault and
is worth another endpoint, while any other 500 may be the request's own doing."""
_TOKEN_PATHS = frozenset({"/v1/chat/completions", "/v1/completions"})
"""Paths whose requests may begin with tokens."""
_SEEDED = frozenset({"responses"})
"""Schemas besides chat and completions whose requests vLLM 0.32 reads `seed` in: Responses' own API has none."""
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
    is_plain_text: bool = True
    """What the client has is text of one channel (`continued.text_key`)."""
    is_spoken: bool = True
    """It is text of that channel, or the model's thoughts and perhaps such text after them (`continued.last_key`)."""
    has_finish: bool = False
    """The client has the finish reason of the first choice."""
    wants_usage: bool = True
    """The client asked for the usage chunk that comes after it."""
    has_message_end: bool = False
    """The client has the stop reason and the usage of a message."""
    is_continued: bool = False
    """Some of it was a continuation already."""
    is_outside: bool = False
    """A provider answers."""
    chat: Mapping[str, Any] | None = None
    """The body as a chat completion, where the request is one of another API that can be asked for as one."""
    has_ids: bool = False
    """The engine told the tokens of what the client has, and where in its text they end can be found."""
    is_all_said: bool = False
    """It has the finish reason, or all the tokens that it may have, and the engine told them (`closing.known_end`)."""
    has_own_seed: bool = False
    """The gateway chose the seed, and not the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table."""

    name: str
    when: str
    course: Course
    why: str
    holds: Callable[[Loss], bool]


def is_greedy(request: Mapping[str, Any]) -> bool:
    """Whether the engine takes the likeliest token each time."""
    temperature = request.get("temperature")
    return isinstance(temperature, int | float) and temperature < _GREEDY_BELOW


def _grammar_binds(request: Mapping[str, Any]) -> bool:
    """Whether a grammar says what may come next."""
    wanted = request.get("response_format")
    if type(wanted) is dict and wanted.get("type") not in (None, "text"):
        return True
    if request.get("tool_choice") not in (None, "auto", "none"):
        return True
    return any(request.get(name) is not None for name in _GRAMMARS)


def _has_several(request: Mapping[str, Any]) -> bool:
    prompt = request.get("prompt")
    is_batch = type(prompt) is list and not (prompt and all(type(token) is int for token in prompt))
    return is_batch or any((request.get(name) or 1) != 1 for name in ("n", "best_of")) or _asks(request, _BEAMS)


def _asks(request: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Whether a field of those is set. 0 counts: `prompt_logprobs` 0 asks for some."""
    return any(
        (value := request.get(name)) is not None and value is not False and value not in ([], {}) for name in names
    )


def _has_media(request: Mapping[str, Any]) -> bool:
    messages = request.get("messages")
    if type(messages) is not list:
        return False
    for message in messages:
        content = message.get("content") if type(message) is dict else None
        if type(content) is list and any(type(part) is not dict or part.get("type") != "text" for part in content):
            return True
    return False


_GRAMMARS = ("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar")
_BEAMS = ("use_beam_search",)
_EACH_TOKEN = ("logprobs", "prompt_logprobs", "return_token_ids", "return_tokens_as_token_ids", "echo")
_HIDDEN = "include_reasoning"
_COUNTED = ("bad_words", "thinking_token_budget", "vllm_xargs", "prompt_embeds", "suffix")

_BINDING = frozenset(
    {*_GRAMMARS, *_BEAMS, *_EACH_TOKEN, *_COUNTED, _HIDDEN, "response_format", "tool_choice", "n", "best_of", "prompt"}
)
"""Fields without which only media keep a stream of chat from going on."""

CONTINUATIONS: tuple[Case, ...] = (
    Case(
        name="other_api",
        when="responses, and all that is no stream of chat, completions or messages; a provider",
        course="error",
        why="a request there can't begin with tokens; one of messages can, asked for as a chat completion",
        holds=lambda loss: loss.path not in _TOKEN_PATHS or loss.is_outside,
    ),
    Case(
        name="several_choices",
        when="`n` or `best_of` over 1, several prompts, beam search",
        course="error",
        why="the choices end at different tokens, and one request has one beginning",
        holds=lambda loss: _has_several(loss.request),
    ),
    Case(
        name="grammar",
        when="a JSON schema or another grammar, `tool_choice` `required` or a tool's name",
        course="error",
        why="the grammar would begin anew in the middle",
        holds=lambda loss: _grammar_binds(loss.request),
    ),
    Case(
        name="not_plain_text",
        when="the client has a tool call, reasoning or the finish reason",
        course="error",
        why="the engine's parsers would begin anew in the middle",
        holds=lambda loss: loss.has_finish or not loss.is_plain_text,
    ),
    Case(
        name="each_token",
        when="`logprobs`, `prompt_logprobs`, `echo`, `return_token_ids`",
        course="error",
        why="the client has something for each token, and the tokens of its text may be cut otherwise",
        holds=lambda loss: _asks(loss.request, _EACH_TOKEN),
    ),
    Case(
        name="hidden",
        when="`include_reasoning` false",
        course="error",
        why="the model may have thought before its text, and nobody but the engine knows what",
        holds=lambda loss: loss.request.get(_HIDDEN) is False,
    ),
    Case(
        name="media",
        when="messages with images, audio or video",
        course="error",
        why="vLLM 0.32 takes tokens for a prompt only where messages are text",
        holds=lambda loss: _has_media(loss.request),
    ),
    Case(
        name="counted",
        when="`bad_words`, `thinking_token_budget`, `vllm_xargs`, `prompt_embeds`, `suffix`",
        course="error",
        why="the engine counts or compares these from its own first token",
        holds=lambda loss: _asks(loss.request, _COUNTED),
    ),
    Case(
        name="text",
        when="whatever else",
        course="continue",
        why="what the model says after a text is an answer as good as the first, whoever said the text",
        holds=lambda _: True,
    ),
)
"""The first row that holds is taken, once a replay said something else than the client has."""


def choose_after(loss: Loss) -> Case:
    """The row for a stream whose replay diverged."""
    if loss.chat is not None:
        loss = replace(loss, path="/v1/chat/completions", request=loss.chat, chat=None)
    return next(case for case in CONTINUATIONS if case.holds(loss))


def is_all_but_done(loss: Loss) -> bool:
    """Whether the client lacks nothing but the last event: its one choice has a finish reason, and it asked for no
    usage; or its message has a stop reason."""
    if loss.path == "/v1/messages":
        return loss.has_message_end
    return loss.path in _TOKEN_PATHS and loss.has_finish and not loss.wants_usage and not _has_several(loss.request)


def may_count(loss: Loss) -> bool:
    """Whether the tokens of the client's text may be counted by an endpoint whose replay says something else: nothing
    is missing but the usage, which is that of one plain text."""
    if loss.path not in _TOKEN_PATHS or loss.is_outside or not (loss.has_finish and loss.wants_usage):
        return False
    return loss.is_plain_text and not (_has_several(loss.request) or _asks(loss.request, _EACH_TOKEN))


def _may_continue(loss: Loss) -> bool:
    return choose_after(loss).course == "continue"


def _may_go_on(loss: Loss) -> bool:
    """Whether its tokens may be gone on from. They tell the engine's parser of thoughts where it is; no text does."""
    return loss.is_spoken and _may_continue(replace(loss, is_plain_text=True))


def _client_draws(loss: Loss) -> bool:
    """Whether the client chose the draw, and still has it."""
    has_seed = type(loss.request.get("seed")) is int and not loss.has_own_seed
    return has_seed and not is_greedy(loss.request) and not loss.is_continued


CASES: tuple[Case, ...] = (
    Case(
        name="answer_begun",
        when="the answer is no stream of events, and part of it has gone",
        course="error",
        why="HTTP has no way to say it: the connection is cut. Only answers over the held size come here.",
        holds=lambda loss: not loss.is_stream,
    ),
    Case(
        name="all_said",
        when="the client has the finish reason, or all the tokens that it may have, and the engine told these tokens",
        course="close",
        why="nothing is missing but the end and the usage, which the gateway can tell: no engine need say it all again",
        holds=lambda loss: loss.is_all_said,
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
        when="speech and other streams than chat, completions, messages and responses",
        course="error",
        why="what they are made of is not known to come twice alike",
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
        name="tokens_known",
        when="the engine told the tokens of the client's text or of the model's thoughts, the client set no seed, and "
        "the table below has nothing else against it",
        course="continue",
        why="one prompt to read in place of every token again; the same text where the engine repeats itself exactly, "
        "and another draw of the same model where it does not or samples",
        holds=lambda loss: loss.has_ids and not _client_draws(loss) and _may_go_on(loss),
    ),
    Case(
        name="continued",
        when="part of it was continued before, and the table below allows it again",
        course="continue",
        why="no attempt from the first token will say that text",
        holds=lambda loss: loss.is_continued and _may_continue(loss),
    ),
    Case(
        name="not_again",
        when="part of it was continued before, the table below does not allow it now, and it is not at temperature 0",
        course="error",
        why="as there; greedy ones may yet be said again alike, which is seen as it comes",
        holds=lambda loss: loss.is_continued and not is_greedy(loss.request),
    ),
    Case(
        name="greedy",
        when="temperature 0",
        course="replay",
        why="the model gives the same tokens again",
        holds=lambda loss: is_greedy(loss.request),
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
        when="sampled without a seed, as with one endpoint the gateway adds none, and the table below allows it",
        course="continue",
        why="another attempt draws something else, and any draw that follows the text is right",
        holds=_may_continue,
    ),
    Case(
        name="unrepeatable",
        when="sampled without a seed, which Anthropic's API does not have, and the table below does not allow it",
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
    if fields is None or not (request.is_stream and (route.has_stream_options or route.schema in _SEEDED)):
        return False
    return fields.get("seed") is None and not is_greedy(fields)


def wants_ids(route: Route, request: ApiRequest) -> bool:
    """Whether a stream should tell its tokens, so that it can go on from them should its endpoint be lost."""
    fields = request.fields
    if fields is None or not (request.is_stream and route.has_stream_options):
        return False
    if type(fields.get("seed")) is int and not is_greedy(fields):
        return False
    if _BINDING.isdisjoint(fields):  # so are most requests, and this is asked of each
        return not _has_media(fields)
    loss = Loss(
        path=route.upstream_path, request=fields, is_stream=True, has_text=True, is_readable=True, resumes=0, stuck=0
    )
    return _may_continue(loss)
