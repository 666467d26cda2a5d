"""`/tokenize` and `/detokenize`.

Guarantees: keys and order of vLLM 0.32. Leaves to others: the tokenizer, which is the simulated model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, TypeAdapter

from penstock.simulate.engine.api.encoding import dump
from penstock.simulate.engine.api.fields import ChatCompletionToolsParam, ChatMessage, JsonObject, Request
from penstock.simulate.engine.text import tokenizer

__all__ = [
    "DETOKENIZE",
    "TOKENIZE",
    "DetokenizeRequest",
    "TokenizeChatRequest",
    "TokenizeCompletionRequest",
    "detokenize_body",
    "tokenize_body",
]


class TokenizeCompletionRequest(Request):
    """Text to tokenize."""

    model: str | None = None
    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool | None = False


class TokenizeChatRequest(Request):
    """A conversation to render and tokenize."""

    model: str | None = None
    messages: list[ChatMessage]
    add_generation_prompt: bool = True
    return_token_strs: bool | None = False
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template: str | None = None
    chat_template_kwargs: JsonObject | None = None
    tools: list[ChatCompletionToolsParam] | None = None


class DetokenizeRequest(Request):
    """Token ids to turn into text."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, le=2**63 - 1)]]


TOKENIZE: TypeAdapter[TokenizeCompletionRequest | TokenizeChatRequest] = TypeAdapter(
    TokenizeCompletionRequest | TokenizeChatRequest
)
DETOKENIZE = TypeAdapter(DetokenizeRequest)


def tokenize_body(ids: Sequence[int], max_model_len: int, *, with_strings: bool) -> bytes:
    """The answer of `/tokenize`."""
    known = tokenizer()
    strings = [known.token_text(token_id) for token_id in ids] if with_strings else None
    return dump({"count": len(ids), "max_model_len": max_model_len, "tokens": list(ids), "token_strs": strings})


def detokenize_body(text: str) -> bytes:
    """The answer of `/detokenize`."""
    return dump({"prompt": text})
