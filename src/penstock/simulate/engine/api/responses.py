"""`/v1/responses`: the request and its answer, as one JSON object or as named events.

Guarantees: keys, order and event sequence of vLLM 0.32 without a response store: nothing is kept, so background mode
and `previous_response_id` are refused in its words. Leaves to others: the text. Built-in tools are not simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from penstock.simulate.engine.api.chat_answer import ToolCall
from penstock.simulate.engine.api.encoding import dump, event
from penstock.simulate.engine.api.envelope import Envelope, Usage
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.fields import CacheSalt, JsonObject, Long, Request, Seed, Stop
from penstock.simulate.engine.api.sequence import OutputSequence, Piece

__all__ = [
    "RESPONSES",
    "ResponseStream",
    "ResponsesRequest",
    "check_store",
    "format_of",
    "messages_of",
    "response_body",
    "response_not_found",
    "tools_of",
]


class ResponsesRequest(Request):
    """One input to answer."""

    background: bool | None = False
    input: str | list[JsonObject]
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] | None = None
    model: str | None = None
    parallel_tool_calls: bool | None = True
    previous_response_id: str | None = None
    reasoning: JsonObject | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] = "auto"
    store: bool | None = True
    stream: bool | None = False
    temperature: float | None = None
    text: JsonObject | None = None
    tool_choice: str | JsonObject | None = None
    tools: list[JsonObject] = Field(default_factory=list)
    top_logprobs: int | None = 0
    top_p: float | None = None
    top_k: int | None = None
    truncation: Literal["auto", "disabled"] | None = "disabled"
    user: str | None = None
    presence_penalty: float | None = Field(default=None, ge=-2.0, le=2.0)
    frequency_penalty: float | None = Field(default=None, ge=-2.0, le=2.0)
    request_id: str | None = None
    priority: Long = 0
    cache_salt: CacheSalt = None
    seed: Seed = None
    stop: Stop = Field(default_factory=list)
    stop_token_ids: list[int] | None = Field(default_factory=list)
    ignore_eos: bool = False


RESPONSES = TypeAdapter(ResponsesRequest)


def check_store(request: ResponsesRequest) -> None:
    """Refuses what would need a store of responses."""
    if request.background:
        raise ApiError(
            400,
            "This vLLM engine does not support `store=True` and therefore does not support the background mode. To "
            "enable these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching "
            "the vLLM server.",
            "invalid_request_error",
            "background",
        )
    if request.previous_response_id is not None:
        raise response_not_found(request.previous_response_id)


def response_not_found(response_id: str) -> ApiError:
    """The 404 for a response that is not kept: none is."""
    return ApiError(404, f"Response with id '{response_id}' not found.", "invalid_request_error", "response_id")


def messages_of(request: ResponsesRequest) -> list[dict[str, Any]]:
    """The conversation that the input stands for."""
    messages: list[dict[str, Any]] = []
    if request.instructions:
        messages.append({"role": "system", "content": request.instructions})
    if isinstance(request.input, str):
        messages.append({"role": "user", "content": request.input})
        return messages
    messages.extend(turn for item in request.input if (turn := _turn(item)) is not None)
    return messages


def _turn(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """One item as a message of a chat; None for what a model had thought."""
    match item.get("type"):
        case "reasoning":
            return None
        case "function_call":
            function = {"name": item.get("name", ""), "arguments": item.get("arguments", "")}
            call = {"id": item.get("call_id", ""), "type": "function", "function": function}
            return {"role": "assistant", "tool_calls": [call]}
        case "function_call_output":
            return {"role": "tool", "tool_call_id": item.get("call_id", ""), "content": item.get("output", "")}
        case _:
            return {"role": item.get("role", "user"), "content": item.get("content", item.get("output", ""))}


def tools_of(request: ResponsesRequest) -> dict[str, Any]:
    """The functions that may be called, and whether one must be, as a chat says it; built-in tools are passed over."""
    names = ("name", "description", "parameters")
    tools = [
        {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}
        for tool in request.tools
        if tool.get("type") == "function"
    ]
    if not tools:
        return {}
    choice: Any = request.tool_choice or "auto"
    if isinstance(choice, dict):
        choice = {"type": "function", "function": {"name": choice.get("name", "")}}
    return {"tools": tools, "tool_choice": choice}


def format_of(request: ResponsesRequest) -> dict[str, Any] | None:
    """What the text is bound to, as a chat says it; None where it is free."""
    form = (request.text or {}).get("format")
    if not isinstance(form, dict) or form.get("type") in (None, "text"):
        return None
    if form["type"] != "json_schema":
        return {"type": form["type"]}
    return {"type": "json_schema", "json_schema": {"name": form.get("name", ""), "schema": form.get("schema")}}


def _record(
    request: ResponsesRequest,
    envelope: Envelope,
    *,
    status: str,
    output: list[dict[str, Any]],
    max_output_tokens: int,
    usage: Usage | None,
) -> dict[str, Any]:
    """The response object, at any time of its life."""
    return {
        "id": envelope.id,
        "created_at": envelope.created,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": request.instructions,
        "metadata": request.metadata,
        "model": envelope.model,
        "object": "response",
        "output": output,
        "parallel_tool_calls": request.parallel_tool_calls,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "tool_choice": request.tool_choice if request.tools and request.tool_choice else "none",
        "tools": request.tools,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "background": request.background,
        "max_output_tokens": max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "previous_response_id": request.previous_response_id,
        "prompt": None,
        "reasoning": request.reasoning,
        "service_tier": request.service_tier,
        "status": status,
        "text": request.text,
        "top_logprobs": request.top_logprobs or None,
        "truncation": request.truncation,
        "usage": None if usage is None else _usage(usage),
        "user": request.user,
        "presence_penalty": request.presence_penalty or 0.0,
        "frequency_penalty": request.frequency_penalty or 0.0,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "input_messages": None,
        "output_messages": None,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {
            "reasoning_tokens": 0,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": usage.total,
    }


def _part(text: str, logprobs: list[Any] | None) -> dict[str, Any]:
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": logprobs}


def _item(item_id: str, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {
        "id": item_id,
        "content": content,
        "role": "assistant",
        "status": status,
        "type": "message",
        "phase": None,
    }


def _call_item(item_id: str, call: ToolCall, arguments: str, status: str) -> dict[str, Any]:
    return {
        "arguments": arguments,
        "call_id": call.id,
        "name": call.name,
        "type": "function_call",
        "id": item_id,
        "namespace": None,
        "status": status,
    }


def response_body(
    request: ResponsesRequest,
    envelope: Envelope,
    sequence: OutputSequence,
    *,
    item_id: str,
    max_output_tokens: int,
    usage: Usage,
    call: ToolCall | None = None,
) -> bytes:
    """The whole answer; `call` is whose arguments the text is, if it is any."""
    if call is None:
        item = _item(item_id, [_part(sequence.text, None)], "completed")
    else:
        item = _call_item(item_id, call, sequence.text, "completed")
    status = "incomplete" if sequence.finish_reason == "length" else "completed"
    record = _record(request, envelope, status=status, output=[item], max_output_tokens=max_output_tokens, usage=usage)
    return dump(record)


class ResponseStream:
    """Events of one streamed response. Owned by its request."""

    def __init__(
        self,
        request: ResponsesRequest,
        envelope: Envelope,
        *,
        item_id: str,
        max_output_tokens: int,
        usage: Usage,
        call: ToolCall | None = None,
    ) -> None:
        """`call` is whose arguments the text is, if it is any."""
        self._call = call
        self._request = request
        self._envelope = envelope
        self._item_id = item_id
        self._max_output_tokens = max_output_tokens
        self._usage = usage
        self._number = 0
        self._text: list[str] = []
        self._status = "completed"
        self._is_open = False

    def open(self) -> list[bytes]:
        """Events that come before any token."""
        record = self._state("in_progress", [], None)
        return [
            self._event("response.created", {"response": record}),
            self._event("response.in_progress", {"response": record}),
        ]

    def push(self, piece: Piece) -> list[bytes]:
        """Events of one piece; none where it has no text."""
        self._usage.completion_tokens += len(piece.token_ids)
        if piece.finish_reason == "length":
            self._status = "incomplete"
        if not piece.text:
            return []
        events = self._open_item()
        self._text.append(piece.text)
        if self._call is not None:
            place = {"delta": piece.text, "item_id": self._item_id, "output_index": 0}
            return [*events, self._event("response.function_call_arguments.delta", place)]
        delta = {"delta": piece.text, "item_id": self._item_id, "logprobs": [], "output_index": 0}
        events.append(self._event("response.output_text.delta", {"content_index": 0} | delta))
        return events

    def close(self) -> list[bytes]:
        """The last events."""
        text, events = "".join(self._text), self._open_item()
        item = self._close_call(events, text) if self._call is not None else self._close_text(events, text)
        events.append(self._event("response.output_item.done", {"item": item, "output_index": 0}))
        record = self._state(self._status, [item], self._usage)
        events.append(self._event("response.completed", {"response": record}))
        return events

    def _close_text(self, events: list[bytes], text: str) -> dict[str, Any]:
        place = {"content_index": 0, "item_id": self._item_id}
        part = _part(text, None)
        done = place | {"logprobs": [], "output_index": 0}
        events.append(self._event("response.output_text.done", done, text=text))
        events.append(self._event("response.content_part.done", place | {"output_index": 0, "part": part}))
        return _item(self._item_id, [part], "completed")

    def _close_call(self, events: list[bytes], text: str) -> dict[str, Any]:
        assert self._call is not None
        done = {"arguments": text, "item_id": self._item_id, "name": self._call.name, "output_index": 0}
        events.append(self._event("response.function_call_arguments.done", done))
        return _call_item(self._item_id, self._call, text, "completed")

    def fail(self, error: ApiError) -> list[bytes]:
        """The last event of a stream whose engine died."""
        return [error.event()]

    def _open_item(self) -> list[bytes]:
        if self._is_open:
            return []
        self._is_open = True
        if self._call is not None:
            called = _call_item(self._item_id, self._call, "", "in_progress")
            return [self._event("response.output_item.added", {"item": called, "output_index": 0})]
        item = _item(self._item_id, [], "in_progress")
        part = {"content_index": 0, "item_id": self._item_id, "output_index": 0, "part": _part("", [])}
        return [
            self._event("response.output_item.added", {"item": item, "output_index": 0}),
            self._event("response.content_part.added", part),
        ]

    def _state(self, status: str, output: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
        return _record(
            self._request,
            self._envelope,
            status=status,
            output=output,
            max_output_tokens=self._max_output_tokens,
            usage=usage,
        )

    def _event(self, name: str, value: dict[str, Any], **after: Any) -> bytes:
        number = self._number
        self._number += 1
        return event(name, {**value, "sequence_number": number, **after, "type": name})
