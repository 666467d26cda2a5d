"""`/v1/messages`: Anthropic's API in front of the same chat.

Guarantees: the request becomes a chat; keys and events of the answer are those of vLLM 0.32. Leaves to others: the
text.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import BaseModel, Field, TypeAdapter

from penstock.simulate.engine.api.chat_answer import ToolCall
from penstock.simulate.engine.api.encoding import dump, event
from penstock.simulate.engine.api.envelope import Envelope, Usage
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.fields import CacheSalt, JsonObject
from penstock.simulate.engine.api.sequence import OutputSequence, Piece

__all__ = [
    "COUNT_TOKENS",
    "MESSAGES",
    "AnthropicCountTokensRequest",
    "AnthropicMessagesRequest",
    "MessageStream",
    "as_chat",
    "message_body",
    "token_count_body",
]

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "abort": "end_turn"}


class AnthropicContentBlock(BaseModel):
    """One part of a message."""

    type: Literal[
        "text",
        "image",
        "tool_use",
        "tool_result",
        "tool_reference",
        "thinking",
        "redacted_thinking",
        "tool_addition",
        "tool_removal",
    ]
    text: str | None = None
    source: JsonObject | None = None
    id: str | None = None
    tool_use_id: str | None = None
    name: str | None = None
    input: JsonObject | None = None
    content: str | list[JsonObject] | None = None
    is_error: bool | None = None


class AnthropicMessage(BaseModel):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[AnthropicContentBlock]


class AnthropicTool(BaseModel):
    """One tool."""

    name: str
    description: str | None = None
    input_schema: JsonObject
    strict: bool | None = None


class AnthropicToolChoice(BaseModel):
    """Whether and which tool is to be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class AnthropicMessagesRequest(BaseModel):
    """One conversation to continue."""

    model: str
    messages: list[AnthropicMessage]
    max_tokens: int
    metadata: JsonObject | None = None
    output_config: JsonObject | None = None
    stop_sequences: list[str] | None = Field(default=None, max_length=4)
    stream: bool | None = False
    system: str | list[AnthropicContentBlock] | None = None
    temperature: float | None = None
    tool_choice: AnthropicToolChoice | None = None
    tools: list[AnthropicTool] | None = None
    top_k: int | None = None
    top_p: float | None = None
    cache_salt: CacheSalt = None


class AnthropicCountTokensRequest(BaseModel):
    """One conversation to count."""

    model: str
    messages: list[AnthropicMessage]
    system: str | list[AnthropicContentBlock] | None = None
    tool_choice: AnthropicToolChoice | None = None
    tools: list[AnthropicTool] | None = None


MESSAGES = TypeAdapter(AnthropicMessagesRequest)
COUNT_TOKENS = TypeAdapter(AnthropicCountTokensRequest)


def as_chat(request: AnthropicMessagesRequest | AnthropicCountTokensRequest) -> dict[str, Any]:
    """The body of the chat that the request stands for."""
    chat: dict[str, Any] = {"model": request.model, "messages": _turns(request)}
    if request.tools:
        chat["tools"] = [
            {"function": {"name": t.name, "description": t.description, "parameters": t.input_schema}}
            for t in request.tools
        ]
        chat["tool_choice"] = _choice(request.tool_choice)
    if isinstance(request, AnthropicMessagesRequest):
        chat["max_completion_tokens"] = request.max_tokens
        form = (request.output_config or {}).get("format")
        if isinstance(form, dict) and form.get("schema"):
            schema = {"name": "json_schema", "schema": form["schema"]}
            chat["response_format"] = {"type": form.get("type"), "json_schema": schema}
        if request.stop_sequences:
            chat["stop"] = request.stop_sequences
        for name in ("temperature", "top_p", "top_k", "cache_salt"):
            value = getattr(request, name)
            if value is not None:
                chat[name] = value
    return chat


def _choice(choice: AnthropicToolChoice | None) -> Any:
    if choice is None:
        return "auto"
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    return {"auto": "auto", "any": "required", "none": "none"}[choice.type]


def _turns(request: AnthropicMessagesRequest | AnthropicCountTokensRequest) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    if request.system:
        turns.append({"role": "system", "content": _text(request.system)})
    for message in request.messages:
        if isinstance(message.content, str):
            turns.append({"role": message.role, "content": message.content})
        else:
            turns += _blocks(message.role, message.content)
    return turns


def _text(content: str | list[AnthropicContentBlock]) -> str:
    return content if isinstance(content, str) else "".join(block.text or "" for block in content)


def _blocks(role: str, blocks: list[AnthropicContentBlock]) -> list[dict[str, Any]]:
    """One turn of blocks: what tools returned stands in messages of its own, before the rest."""
    turns: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "text":
            parts.append({"type": "text", "text": block.text or ""})
        elif block.type == "image":
            parts.append({"type": "image_url", "image_url": block.source or {}})
        elif block.type == "tool_use":
            function = {"name": block.name, "arguments": dump(block.input or {}).decode()}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif block.type == "tool_result":
            turns.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": block.content or ""})
    if parts or calls:
        called = {"tool_calls": calls} if calls else {}
        turns.append({"role": role, "content": parts or None, **called})
    return turns


def message_body(envelope: Envelope, sequence: OutputSequence, usage: Usage, call: ToolCall | None) -> bytes:
    """The whole answer."""
    content: dict[str, Any]
    if call is None:
        content = {"type": "text", "text": sequence.text}
    else:
        content = {"type": "tool_use", "id": call.id, "name": call.name, "input": _arguments(sequence.text)}
    return dump(
        {
            "id": envelope.id,
            "type": "message",
            "role": "assistant",
            "content": [content],
            "model": envelope.model,
            "stop_reason": _stop_reason(sequence.finish_reason, call),
            "usage": _usage(usage),
        }
    )


def token_count_body(count: int) -> bytes:
    """The answer of `count_tokens`."""
    return dump({"input_tokens": count, "context_management": {"original_input_tokens": count}})


def _arguments(text: str) -> Any:
    """The arguments of a call; empty where the answer was cut inside them."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}


def _stop_reason(reason: str | None, call: ToolCall | None) -> str:
    if call is not None and reason == "stop":
        return "tool_use"
    return _STOP_REASONS[reason or "stop"]


def _usage(usage: Usage) -> dict[str, int]:
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}


class MessageStream:
    """Events of one streamed message. Owned by its request."""

    def __init__(self, envelope: Envelope, usage: Usage, call: ToolCall | None) -> None:
        self._envelope = envelope
        self._usage = usage
        self._call = call
        self._reason: str | None = None
        self._has_begun = False
        self._is_open = False

    def push(self, piece: Piece) -> list[bytes]:
        """Events of one piece."""
        events: list[bytes] = []
        if not self._has_begun:
            self._has_begun = True
            events.append(self._start())
        self._usage.completion_tokens += len(piece.token_ids)
        if piece.finish_reason is not None:
            self._reason = piece.finish_reason
        if piece.text:
            events += self._open_block()
            kind = ("text_delta", "text") if self._call is None else ("input_json_delta", "partial_json")
            delta = {"type": kind[0], kind[1]: piece.text}
            events.append(_event("content_block_delta", {"delta": delta, "index": 0}))
        return events

    def close(self) -> list[bytes]:
        """The last events."""
        events = [_event("content_block_stop", {"index": 0})] if self._is_open else []
        delta = {"stop_reason": _stop_reason(self._reason, self._call), "stop_sequence": None}
        events.append(_event("message_delta", {"delta": delta, "usage": _usage(self._usage)}))
        events.append(_event("message_stop", {}))
        return events

    def fail(self, error: ApiError) -> list[bytes]:
        """The last event of a stream whose engine died."""
        return [_event("error", {"error": {"type": error.kind, "message": error.message}})]

    def _start(self) -> bytes:
        message: dict[str, Any] = {
            "id": self._envelope.id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._envelope.model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._usage.prompt_tokens, "output_tokens": 0},
        }
        return _event("message_start", {"message": message})

    def _open_block(self) -> list[bytes]:
        if self._is_open:
            return []
        self._is_open = True
        block: dict[str, Any] = {"type": "text", "text": ""}
        if self._call is not None:
            block = {"type": "tool_use", "id": self._call.id, "name": self._call.name, "input": {}}
        return [_event("content_block_start", {"content_block": block, "index": 0})]


def _event(name: str, value: dict[str, Any]) -> bytes:
    return event(name, {"type": name, **value})
