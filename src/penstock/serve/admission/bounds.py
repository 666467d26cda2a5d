"""What one request may ask for, and what is changed so that it asks for no more. Before any GPU sees it.

`shape_request` guarantees: a `Failure` in OpenAI's words (Anthropic's on its route) that names the field, or edits
after which the body holds every bound; shaped twice is shaped once; with nothing to do there are no edits, and the
bytes go on as they came. It refuses a prompt for its length only when it is counted, or when the estimate is past the
limit by more than estimates err: between the two the engine, which is exact, decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.facts.request_fields import ForeignField
from penstock.serve.admission.outputs import Output, fitted, read_output, reserved_tokens
from penstock.serve.admission.policy import UNLIMITED, WRITING_SCHEMAS, CallerLimits, RequestBounds
from penstock.serve.admission.prompt import Prompt
from penstock.serve.admission.tokens import TokenEstimator, wants_count
from penstock.serve.wire.errors import Failure

__all__ = ["Shaped", "needs_count", "shape_request"]

_NOTHING: Mapping[str, Any] = {}
_BOUNDED = frozenset(
    {"best_of", "logprobs", "n", "prompt_logprobs", "stop", "stop_sequences", "top_logprobs", "truncate_prompt_tokens"}
)
"""Fields besides those of the output's length whose values are bounded or mended here; most requests have none."""


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost time
class Shaped:
    """A request that may go on."""

    edits: Mapping[str, Any]
    """Top-level fields to set; None takes one out. Empty: the body goes on byte for byte."""
    prompt_tokens: int
    is_counted: bool
    """Whether `prompt_tokens` is exact."""
    output_tokens: int
    """To reserve: no more than this is written, except by a request that names no limit."""
    output_limit: int | None = None
    """Output tokens that one answer may have; None: what the context leaves."""
    stripped: tuple[str, ...] = ()
    """Fields that were taken out, as the engine would ignore them."""
    clamped: str = ""
    """Field whose value was lowered or given: it now says `output_limit`."""

    @property
    def headers(self) -> bytes:
        """Header lines of the answer that say what was changed; empty where nothing was."""
        lines = b""
        if self.stripped:
            lines = b"x-penstock-stripped: %b\r\n" % ", ".join(self.stripped).encode()
        if self.clamped:
            lines += f"x-penstock-clamped: {self.clamped}={self.output_limit}\r\n".encode()
        return lines


def needs_count(
    schema: str,
    fields: Mapping[str, Any],
    prompt: Prompt,
    bounds: RequestBounds,
    estimator: TokenEstimator,
    *,
    limits: CallerLimits = UNLIMITED,
) -> bool:
    """Whether an exact count would decide something; ask a `Counter` then, and hand `shape_request` its answer."""
    limit = _prompt_limit(schema, bounds, limits)
    if bounds.rejects_output and bounds.context is not None:
        asked = read_output(schema, fields, 1).asked or 0
        limit = _least(limit, max(bounds.context - max(asked, 0), 0))
    return limit is not None and not _truncates(schema, fields) and wants_count(prompt, estimator, limit)


def shape_request(
    schema: str,
    fields: Mapping[str, Any],
    prompt: Prompt,
    bounds: RequestBounds,
    estimator: TokenEstimator,
    *,
    limits: CallerLimits = UNLIMITED,
    counted: int | None = None,
) -> Shaped | Failure:
    """Checks and shapes one request. `schema` is a name of `wire.fields.SCHEMAS`; `counted` is the exact length of the
    prompt where it was counted."""
    output = read_output(schema, fields, prompt.batch)
    tokens = counted if counted is not None else estimator.estimate(prompt)
    is_exact = counted is not None or prompt.tokens >= 0
    is_plain = _BOUNDED.isdisjoint(fields)
    if not is_plain and fields.get("truncate_prompt_tokens") is not None:
        tokens = _cut(tokens, fields["truncate_prompt_tokens"], prompt.batch, bounds.context)
    if not is_plain or prompt.tools or prompt.images or prompt.audios:
        failure = _wrong_counts(schema, fields, prompt, bounds, output)
        if failure is not None:
            return failure
    longest = tokens if prompt.longest < 0 else estimator.longest(prompt, tokens)
    limit = _prompt_limit(schema, bounds, limits)
    if limit is not None and longest > limit and not _truncates(schema, fields):
        margin = 0.0 if is_exact else 1.0 if prompt.images or prompt.audios else estimator.margin
        if longest * (1.0 - margin) > limit:
            return _too_long(schema, longest, bounds, limits, is_exact=is_exact)
    edits: dict[str, Any] = {}
    clamped, most = "", None
    if output.field:
        known = longest if is_exact else 0
        failure, most, clamped = _bound_output(
            schema, fields, output, edits=edits, bounds=bounds, limits=limits, known_tokens=known
        )
        if failure is not None:
            return failure
    stripped: tuple[str, ...] = ()
    foreign = bounds.foreign.get(schema)
    if foreign and not foreign.keys().isdisjoint(fields):
        failure, stripped = _strip(fields, foreign, bounds, edits)
        if failure is not None:
            return failure
        if "best_of" in stripped:
            output = read_output(schema, {**fields, "best_of": None}, prompt.batch)
    if not is_plain:
        failure = _normalise_stops("stop_sequences" if schema == "messages" else "stop", fields, bounds, edits)
        if failure is not None:
            return failure
    room = None
    if bounds.context is not None:
        least = longest if is_exact else int(longest * (1.0 - estimator.margin))
        room = max(bounds.context - least, 1)
    reserved = reserved_tokens(most, room, output.choices, estimator.expected_output)
    return Shaped(edits or _NOTHING, tokens, is_exact, reserved, most, stripped, clamped)


def _least(one: int | None, two: int | None) -> int | None:
    if one is None:
        return two
    return one if two is None or one < two else two


def _cut(tokens: int, keep: Any, batch: int, context: int | None) -> int:
    """What is left of prompts that the engine was asked to cut to `keep` tokens each; -1 is as much as fits."""
    if keep == -1:
        keep = context
    return min(tokens, keep * batch) if type(keep) is int and keep > 0 else tokens


def _truncates(schema: str, fields: Mapping[str, Any]) -> bool:
    """Whether the engine was asked to cut the prompt to fit; Cohere's API asks for it unless it says `NONE`."""
    if schema == "embed":
        return fields.get("truncate") != "NONE"
    return fields.get("truncate_prompt_tokens") is not None or fields.get("truncation") == "auto"


def _prompt_limit(schema: str, bounds: RequestBounds, limits: CallerLimits) -> int | None:
    """Tokens of the longest prompt; a request that writes needs room for one token more."""
    context = bounds.context
    if context is not None and schema in WRITING_SCHEMAS:
        context -= 1
    if bounds.prompt_tokens_max is None and limits.prompt_tokens_max is None:
        return context
    return _least(context, _least(bounds.prompt_tokens_max, limits.prompt_tokens_max))


# ---------------------------------------------------------------------- lengths


def _too_long(schema: str, longest: int, bounds: RequestBounds, limits: CallerLimits, *, is_exact: bool) -> Failure:
    limit = _least(bounds.prompt_tokens_max, limits.prompt_tokens_max)
    context = bounds.context
    if context is not None and longest > context - (schema in WRITING_SCHEMAS):
        whose, limit = "This model's maximum context length is {} tokens.", context
    elif limits.prompt_tokens_max is not None and limit == limits.prompt_tokens_max:
        whose = "Your key's longest prompt is {} tokens."
    else:
        whose = "The longest prompt that this model takes here is {} tokens."
    shown = f"{longest} tokens" if is_exact else f"{longest} tokens (estimated)"
    name, what = _prompt_words(schema)
    if schema == "messages":
        message = f"prompt is too long: {shown} > {limit} maximum"
    else:
        message = (
            f"{whose.format(limit)} However, your {what} resulted in {shown}. Please reduce the length of the {what}."
        )
    return Failure(status=400, code="context_length_exceeded", message=message, param=name)


def _prompt_words(schema: str) -> tuple[str, str]:
    """(field, what people call it) of an API's prompt."""
    match schema:
        case "chat" | "chats" | "messages":
            return "messages", "messages"
        case "completion" | "tokenize":
            return "prompt", "prompt"
        case "rerank" | "score":
            return "documents", "query and document"
        case "embed":
            return "texts", "texts"
        case _:
            return "input", "input"


def _bound_output(
    schema: str,
    fields: Mapping[str, Any],
    output: Output,
    *,
    edits: dict[str, Any],
    bounds: RequestBounds,
    limits: CallerLimits,
    known_tokens: int,
) -> tuple[Failure | None, int | None, str]:
    """(why not, tokens that one answer may have, the field that was changed). `known_tokens` is the longest prompt's
    length where it is exact; else 0."""
    most = bounds.output_tokens_max
    if limits.output_tokens_max is not None:
        most = _least(most, limits.output_tokens_max)
    asked, context = output.asked, bounds.context
    if most is None and asked is not None and not bounds.rejects_output and (context is None or asked <= context):
        return None, asked, ""
    if most is not None and most <= 0:
        message = "Your key may have no output tokens (`outputTokensMax: 0`)."
        return Failure(status=403, code="output_not_allowed", message=message, param=output.field), None, ""
    limit, how = fitted(output, most=most, default=bounds.output_tokens_default, context=context)
    if bounds.rejects_output and asked is not None and output.field in fields:
        failure = _rejected_output(schema, output, limit, context=context, known_tokens=known_tokens)
        if failure is not None:
            return failure, None, ""
    if how == "kept":
        return None, limit, ""
    edits[output.field] = limit
    least = fields.get("min_tokens")
    if limit is not None and type(least) is int and least > limit:
        edits["min_tokens"] = limit  # or the engine would refuse what was lowered here
    return None, limit, output.field


def _rejected_output(
    schema: str, output: Output, limit: int | None, *, context: int | None, known_tokens: int
) -> Failure | None:
    asked = output.asked or 0
    if limit is not None and asked > limit:
        message = (
            f"{output.field} is too large: {asked}. This model supports at most {limit} completion tokens, whereas you "
            f"provided {asked}."
        )
        return Failure(status=400, code="invalid_value", message=message, param=output.field)
    total = known_tokens + asked
    if context is None or not known_tokens or total <= context:
        return None
    name, what = _prompt_words(schema)
    message = (
        f"This model's maximum context length is {context} tokens. However, you requested {total} tokens "
        f"({known_tokens} in the {what}, {asked} in the completion). Please reduce the length of the {what} or "
        "completion."
    )
    return Failure(status=400, code="context_length_exceeded", message=message, param=name)


# ---------------------------------------------------------------------- counts


def _wrong_counts(
    schema: str, fields: Mapping[str, Any], prompt: Prompt, bounds: RequestBounds, output: Output
) -> Failure | None:
    if output.choices > 1:
        for name in ("n", "best_of"):
            value = fields.get(name)
            if type(value) is int and value > bounds.choices_max:
                return _above(name, value, bounds.choices_max)
    for name in ("top_logprobs", "prompt_logprobs", "logprobs"):
        value = fields.get(name)
        if type(value) is int and (value > bounds.logprobs_max or value == -1):  # -1 is the whole vocabulary
            return _above(name, value, bounds.logprobs_max)
    where = _prompt_words(schema)[0]
    if prompt.images > bounds.images_max:
        return _too_many(where, "images", prompt.images, bounds.images_max)
    if prompt.audios > bounds.audio_max:
        return _too_many(where, "pieces of audio", prompt.audios, bounds.audio_max)
    if prompt.tools > bounds.tools_max:
        return _too_many("tools", "tools", prompt.tools, bounds.tools_max)
    return None


def _above(name: str, value: int, most: int) -> Failure:
    got = f"{value} instead" if value != -1 else "-1, which is the whole vocabulary"
    message = f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got {got}."
    return Failure(status=400, code="integer_above_max_value", message=message, param=name)


def _too_many(name: str, what: str, count: int, most: int) -> Failure:
    message = f"Invalid '{name}': too many {what}. Expected at most {most}, but got {count} instead."
    return Failure(status=400, code="array_above_max_length", message=message, param=name)


# ---------------------------------------------------------------------- stops, foreign fields


def _normalise_stops(
    name: str, fields: Mapping[str, Any], bounds: RequestBounds, edits: dict[str, Any]
) -> Failure | None:
    """Takes out what stops nothing: empty texts, which engines refuse, and repeats. One text is as good as a list of
    one, and stays."""
    stops = fields.get(name)
    if stops is None:
        return None
    if type(stops) is not list:
        if stops == "":
            edits[name] = None
        return None
    kept = list(dict.fromkeys(text for text in stops if type(text) is str and text))
    if len(kept) > bounds.stops_max:
        return _too_many(name, "stop sequences", len(kept), bounds.stops_max)
    if len(kept) != len(stops):
        edits[name] = kept or None
    return None


def _strip(
    fields: Mapping[str, Any], foreign: Mapping[str, ForeignField], bounds: RequestBounds, edits: dict[str, Any]
) -> tuple[Failure | None, tuple[str, ...]]:
    if bounds.unsupported == "pass":
        return None, ()
    found = [foreign[name] for name in fields if name in foreign and fields[name] is not None]
    for one in found:
        if one.changes_answer or bounds.unsupported == "reject":
            instead = f" Send {one.instead} in its place." if one.instead else ""
            message = (
                f"Unsupported parameter: '{one.name}' is not supported by this model's engine (vLLM {bounds.version}), "
                f"which would answer as if it was not there.{instead}"
            )
            return Failure(status=400, code="unsupported_parameter", message=message, param=one.name), ()
        edits[one.name] = None
    return None, tuple(one.name for one in found)
