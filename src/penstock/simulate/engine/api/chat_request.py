"""The body of `/v1/chat/completions` and of its batch form.

Guarantees: fields, types and defaults as in the OpenAPI document of vLLM 0.32, in its order. Leaves to others: sampling
values (`sampling.py`), the prompt (`prompt.py`), the answer (`chat_answer.py`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, TypeAdapter

from penstock.simulate.engine.api.fields import (
    CacheSalt,
    ChatCompletionNamedToolChoiceParam,
    ChatCompletionToolsParam,
    ChatMessage,
    JsonObject,
    Long,
    Request,
    ResponseFormat,
    Seed,
    Stop,
    StreamOptions,
    StructuredOutputsParams,
    TruncateTokens,
)

__all__ = ["BATCH_CHAT", "CHAT", "BatchChatCompletionRequest", "ChatCompletionRequest"]

ToolChoice = Literal["none", "auto", "required"] | ChatCompletionNamedToolChoiceParam | None


class ChatCompletionRequest(Request):
    """One conversation to continue."""

    messages: list[ChatMessage]
    model: str | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = 0
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    presence_penalty: float | None = None
    response_format: ResponseFormat | None = None
    seed: Seed = None
    stop: Stop = Field(default_factory=list)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[ChatCompletionToolsParam] | None = None
    tool_choice: ToolChoice = "none"
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    include_reasoning: bool = True
    parallel_tool_calls: bool | None = True
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
    echo: bool = False
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template: str | None = None
    chat_template_kwargs: JsonObject | None = None
    structured_outputs: StructuredOutputsParams | None = None
    priority: Long = 0
    request_id: str | None = None
    return_token_ids: bool | None = None
    cache_salt: CacheSalt = None
    kv_transfer_params: JsonObject | None = None


class BatchChatCompletionRequest(Request):
    """Several conversations that share their parameters; one choice each, never a stream."""

    messages: list[list[ChatMessage]]
    model: str | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = 0
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    presence_penalty: float | None = None
    response_format: Any = None
    seed: Seed = None
    stop: Stop = Field(default_factory=list)
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    tool_choice: Literal["none"] | None = "none"
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    structured_outputs: StructuredOutputsParams | None = None
    request_id: str | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    priority: Long = 0
    cache_salt: str | None = None
    include_stop_str_in_output: bool = False
    return_token_ids: bool = False


CHAT = TypeAdapter(ChatCompletionRequest)
BATCH_CHAT = TypeAdapter(BatchChatCompletionRequest)
