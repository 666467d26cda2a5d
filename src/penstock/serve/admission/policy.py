"""What one request may ask of a model: the fleet file's `requests`, compiled. `bounds` holds requests to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.facts import find_model
from penstock.facts.request_fields import ForeignField, foreign_fields
from penstock.spec import ModelSpec, RequestsSpec

__all__ = ["UNLIMITED", "WRITING_SCHEMAS", "CallerLimits", "RequestBounds", "compile_bounds", "context_of"]

CHOICES_MAX, LOGPROBS_MAX, STOPS_MAX, IMAGES_MAX, AUDIO_MAX, TOOLS_MAX = 16, 20, 16, 16, 4, 256
"""Defaults of `RequestsSpec`: vLLM's own for logprobs; the rest is far past what clients send, far below what hurts."""
WRITING_SCHEMAS = frozenset({"chat", "chats", "completion", "responses", "messages"})
"""Those whose answers are written token by token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBounds:
    """Bounds of one model, compiled: `compile_bounds`."""

    context: int | None = None
    """Longest prompt plus answer, tokens; None where nobody knows it."""
    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None
    output_tokens_default: int | None = None
    rejects_output: bool = False
    unsupported: Literal["strip", "reject", "pass"] = "strip"
    choices_max: int = CHOICES_MAX
    logprobs_max: int = LOGPROBS_MAX
    stops_max: int = STOPS_MAX
    images_max: int = IMAGES_MAX
    audio_max: int = AUDIO_MAX
    tools_max: int = TOOLS_MAX
    version: str = ""
    """Of the engine, for messages."""
    foreign: Mapping[str, Mapping[str, ForeignField]] = field(default_factory=dict)
    """By schema: fields that the engine ignores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLimits:
    """What the caller's tenant and key allow one request: the smaller of the two. None does not limit."""

    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None


UNLIMITED = CallerLimits()


def compile_bounds(gateway: RequestsSpec, model: RequestsSpec, *, context: int | None, version: str) -> RequestBounds:
    """The bounds of a model: its own, then the gateway's, then the defaults. `context` in tokens, None for unknown."""

    def said(name: str, default: Any) -> Any:
        for spec in (model, gateway):
            value = getattr(spec, name)
            if value is not None:
                return value
        return default

    return RequestBounds(
        context=context,
        prompt_tokens_max=said("prompt_tokens_max", None),
        output_tokens_max=said("output_tokens_max", None),
        output_tokens_default=said("output_tokens_default", None),
        rejects_output=said("over_output", "clamp") == "reject",
        unsupported=said("unsupported", "strip"),
        choices_max=said("choices_max", CHOICES_MAX),
        logprobs_max=said("logprobs_max", LOGPROBS_MAX),
        stops_max=said("stops_max", STOPS_MAX),
        images_max=said("images_max", IMAGES_MAX),
        audio_max=said("audio_max", AUDIO_MAX),
        tools_max=said("tools_max", TOOLS_MAX),
        version=version,
        foreign={schema: foreign_fields(schema, version) for schema in sorted(WRITING_SCHEMAS)},
    )


def context_of(model: ModelSpec) -> int | None:
    """The longest prompt plus answer of a model as its file says it, tokens; None where only its engines know:
    `/v1/models` of each tells `max_model_len`."""
    if model.context_length is not None:
        return model.context_length
    flags = {name.replace("_", "-"): value for name, value in model.engine.args.items()}
    said = flags.get("max-model-len")
    if said is not None:
        return int(str(said)) or None if str(said).isdecimal() else None
    if model.endpoints is not None:
        return None
    architecture = find_model(model.source_or_name)
    return None if architecture.is_guess else architecture.context
