"""An answer of chat completions as one of the Messages API."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["from_chat", "message_id", "objects", "stop_of", "tool_input", "usage_of"]

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def from_chat(answer: dict[str, Any], *, model: str = "") -> dict[str, Any]:
    """The message that means the same as a chat completion. `model`: what the client calls the model."""
    choices = answer.get("choices")
    choice = choices[0] if type(choices) is list and choices and type(choices[0]) is dict else {}
    message = choice.get("message")
    message = message if type(message) is dict else {}
    content: list[dict[str, Any]] = []
    thoughts = message.get("reasoning") or message.get("reasoning_content")
    if type(thoughts) is str and thoughts:
        content.append({"type": "thinking", "thinking": thoughts, "signature": ""})
    if type(message.get("content")) is str and message["content"]:
        content.append({"type": "text", "text": message["content"]})
    calls = objects(message.get("tool_calls"))
    content += [_tool_use(call, index) for index, call in enumerate(calls)]
    reason, sequence = stop_of(choice.get("finish_reason"), choice.get("stop_reason"), has_tools=bool(calls))
    return {
        "id": message_id(answer.get("id")),
        "type": "message",
        "role": "assistant",
        "model": model or str(answer.get("model") or ""),
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage_of(answer.get("usage")),
    }


def message_id(chat_id: object) -> str:
    """The message's id: the completion's under the prefix that clients know."""
    return "msg_" + str(chat_id or "0").removeprefix("chatcmpl-")


def stop_of(finish: object, matched: object, *, has_tools: bool) -> tuple[str | None, str | None]:
    """Why the model stopped, and the stop sequence where one did it, which vLLM tells as `stop_reason`."""
    if finish == "stop" and type(matched) is str:
        return "stop_sequence", matched
    if finish == "stop" and has_tools:  # a call that the client asked for by name ends so
        return "tool_use", None
    return _STOPS.get(str(finish)), None


def usage_of(usage: object) -> dict[str, int]:
    """Tokens as the Messages API counts them: those read from a cache are not in `input_tokens`."""
    counts = usage if type(usage) is dict else {}
    details = counts.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if type(details) is dict else 0
    return {
        "input_tokens": max(0, _count(counts.get("prompt_tokens")) - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": _count(counts.get("completion_tokens")),
    }


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list that should hold nothing else; none where it is no list."""
    return [v for v in value if type(v) is dict] if type(value) is list else []


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _tool_use(call: dict[str, Any], index: int) -> dict[str, Any]:
    function = call.get("function")
    function = function if type(function) is dict else {}
    return {
        "type": "tool_use",
        "id": str(call.get("id") or f"call_{index}"),
        "name": str(function.get("name") or ""),
        "input": tool_input(function.get("arguments")),
    }


def tool_input(arguments: object) -> dict[str, Any]:
    """The arguments of a call as an object. What a model wrote that is none is kept under one name, so that the client
    sees it and nothing is made up."""
    if type(arguments) is dict:
        return arguments
    text = arguments if type(arguments) is str else ""
    if not text.strip():
        return {}
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"_unparsed": text}
    return parsed if type(parsed) is dict else {"_unparsed": text}
