"""The body of `/v1/completions`.

Guarantees: fields, types and defaults as in the OpenAPI document of vLLM 0.32, in its order. Leaves to others: sampling
values (`sampling.py`), the answer (`completion_answer.py`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, TypeAdapter

from penstock.simulate.engine.api.fields import (
    CacheSalt,
    JsonObject,
    Long,
    Prompt,
    Request,
    ResponseFormat,
    Seed,
    Stop,
    StreamOptions,
    StructuredOutputsParams,
    TruncateTokens,
)

__all__ = ["COMPLETION", "CompletionRequest"]


class CompletionRequest(Request):
    """One prompt or several to continue."""

    model: str | None = None
    prompt: Prompt = None
    echo: bool | None = False
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: int | None = 16
    n: int = 1
    presence_penalty: float | None = None
    seed: Seed = None
    stop: Stop = Field(default_factory=list)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    stop_token_ids: list[int] | None = Field(default_factory=list)
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    min_tokens: int = 0
    skip_special_tokens: bool = True
    truncate_prompt_tokens: TruncateTokens = None
    truncation_side: Literal["left", "right"] | None = None
    prompt_logprobs: int | None = None
    prompt_embeds: str | list[str] | None = None
    add_special_tokens: bool = True
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputsParams | None = None
    priority: Long = 0
    request_id: str | None = None
    return_token_ids: bool | None = None
    cache_salt: CacheSalt = None
    kv_transfer_params: JsonObject | None = None


COMPLETION = TypeAdapter(CompletionRequest)
