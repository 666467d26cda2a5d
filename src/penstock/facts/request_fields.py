"""Fields of request bodies that an engine does not take: what it would ignore without a word.

Source: the request classes of vLLM 0.32 (`vllm/entrypoints/*/protocol.py` and the OpenAPI document that it serves; each
takes unknown fields and ignores them), against the parameters of OpenAI's and Anthropic's public API references. The
`guided_*` fields went with vLLM 0.12.0 (its pull request 29326); 0.32 answers a request that has one with 200 and
unconstrained text. `best_of` is not taken by engines of the V1 kind (its issue 13361), which is what every version from
0.11.0 on is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from penstock.facts.flags import version_key

__all__ = ["OPENAI_FIELDS", "ForeignField", "foreign_fields"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignField:
    """A field that an engine ignores."""

    name: str
    gone_in: str = "0"
    """Version that no longer takes it; "0": none ever did."""
    changes_answer: bool = False
    """Whether an answer without it breaks what the client relies on, so that going on without a word is wrong."""
    instead: str = ""
    """What to send in its place."""


_OPENAI_ONLY = ("metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store")
_GUIDED = tuple(
    ForeignField(
        name=f"guided_{kind}",
        gone_in="0.12.0",
        changes_answer=True,
        instead=f"'structured_outputs' with '{kind}'",
    )
    for kind in ("json", "regex", "choice", "grammar")
) + tuple(
    ForeignField(name=name, gone_in="0.12.0")
    for name in ("guided_decoding_backend", "guided_whitespace_pattern", "structural_tag")
)


def _plain(*names: str) -> tuple[ForeignField, ...]:
    return tuple(ForeignField(name=name) for name in names)


_FOREIGN: dict[str, tuple[ForeignField, ...]] = {
    "chat": _plain(*_OPENAI_ONLY, "audio", "modalities", "moderation", "prediction", "verbosity", "web_search_options")
    + _GUIDED,
    "completion": (ForeignField(name="best_of", gone_in="0.11.0", instead="'n' with 'logprobs'"), *_GUIDED),
    "responses": _plain("context_management", "conversation", "prompt_cache_retention", "safety_identifier")
    + _plain("stream_options"),
    "messages": _plain("container", "context_management", "inference_geo", "mcp_servers", "service_tier"),
}


@cache
def foreign_fields(schema: str, version: str) -> Mapping[str, ForeignField]:
    """Fields of an API that vLLM of this version ignores, by name. A field in none of the references is not here: the
    engine ignores it too, and nobody relies on it."""
    key = version_key(version)
    return {f.name: f for f in _FOREIGN.get(schema, ()) if key >= version_key(f.gone_in)}


_SAMPLING = """
    model n stream stream_options max_tokens temperature top_p presence_penalty frequency_penalty seed stop logit_bias
    logprobs user
"""
_CHAT = """
    messages max_completion_tokens top_logprobs tools tool_choice parallel_tool_calls functions function_call
    response_format reasoning_effort metadata modalities audio prediction prompt_cache_key prompt_cache_retention
    safety_identifier service_tier store verbosity web_search_options
"""
_RESPONSES = """
    model input instructions stream stream_options max_output_tokens max_tool_calls temperature top_p top_logprobs tools
    tool_choice parallel_tool_calls previous_response_id conversation store background include metadata prompt
    prompt_cache_key prompt_cache_retention reasoning safety_identifier service_tier text truncation user
"""
OPENAI_FIELDS: dict[str, frozenset[str]] = {
    "chat": frozenset((_SAMPLING + _CHAT).split()),
    "completion": frozenset((_SAMPLING + "prompt suffix echo best_of").split()),
    "responses": frozenset(_RESPONSES.split()),
    "embeddings": frozenset({"model", "input", "dimensions", "encoding_format", "user"}),
}
"""Fields that OpenAI's own service takes: what may go to a service that is strict about unknown ones."""
