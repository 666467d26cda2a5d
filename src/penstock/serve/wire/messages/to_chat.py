"""A request of the Messages API as one of chat completions, for an engine or a provider that knows only those.

The order of turns is kept, with one rule of chat completions: what tools returned comes in messages of its own, before
the rest of the turn that brought it.
"""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["count_answer", "count_request", "to_chat"]

_SAME = ("model", "temperature", "top_p", "stream", "seed")
"""Fields that both APIs have under one name."""
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""Chat completions know three steps of effort everywhere; https://platform.openai.com/docs/guides/reasoning"""
_BILLING = "x-anthropic-billing-header"
"""How a block of Claude Code begins that differs in each request: it is for Anthropic, and would spoil every cache."""


def to_chat(fields: dict[str, Any], *, is_vllm: bool = True) -> dict[str, Any]:
    """The chat completion that means the same as `fields`, which passed `wire.fields` and `mend`.

    Args:
        fields: the request; never changed.
        is_vllm: whether what only vLLM knows is told too: `top_k`, reasoning of earlier turns, and that an answer goes
            on from a last turn that the client has begun for the model.
    """
    chat: dict[str, Any] = {name: fields[name] for name in _SAME if fields.get(name) is not None}
    chat["messages"] = messages = _messages(fields, keeps_reasoning=is_vllm)
    if fields.get("max_tokens") is not None:
        chat["max_tokens"] = fields["max_tokens"]
    if fields.get("stop_sequences"):
        chat["stop"] = fields["stop_sequences"]
    if fields.get("stream") is True:
        chat["stream_options"] = {"include_usage": True}
    if is_vllm and fields.get("top_k") is not None:
        chat["top_k"] = fields["top_k"]
    if is_vllm and messages and messages[-1]["role"] == "assistant" and "tool_calls" not in messages[-1]:
        chat |= {"add_generation_prompt": False, "continue_final_message": True}
    _add_tools(chat, fields)
    _add_format(chat, fields)
    return chat


def count_request(fields: dict[str, Any]) -> dict[str, Any]:
    """The body for vLLM's `/tokenize` that counts the prompt of a request to `count_tokens`."""
    chat = to_chat(fields)
    names = ("model", "messages", "tools", "add_generation_prompt", "continue_final_message")
    return {name: chat[name] for name in names if name in chat}


def count_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """What `count_tokens` answers, from the answer of `/tokenize`."""
    count = answer.get("count")
    return {"input_tokens": count if type(count) is int else len(answer.get("tokens") or ())}


def _add_tools(chat: dict[str, Any], fields: dict[str, Any]) -> None:
    tools = fields.get("tools")
    if not tools:
        return
    chat["tools"] = [{"type": "function", "function": _function(tool)} for tool in tools if type(tool) is dict]
    choice = fields.get("tool_choice")
    if type(choice) is not dict:
        return
    match choice.get("type"):
        case "any":
            chat["tool_choice"] = "required"
        case "tool":
            chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
        case "none" | "auto" as same:
            chat["tool_choice"] = same
        case _:
            pass
    if choice.get("disable_parallel_tool_use") is True:
        chat["parallel_tool_calls"] = False


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.get("name"), "parameters": {"type": "object"} | _schema(tool)}
    if tool.get("description"):
        function["description"] = tool["description"]
    if type(tool.get("strict")) is bool:
        function["strict"] = tool["strict"]
    return function


def _schema(tool: dict[str, Any]) -> dict[str, Any]:
    schema = tool.get("input_schema")
    return schema if type(schema) is dict else {}


def _add_format(chat: dict[str, Any], fields: dict[str, Any]) -> None:
    config = fields.get("output_config")
    config = config if type(config) is dict else {}
    wanted = config.get("format")
    if type(wanted) is dict and type(wanted.get("schema")) is dict:
        schema = {"name": "answer", "schema": wanted["schema"]}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    if (effort := _EFFORTS.get(str(config.get("effort")))) is not None:
        chat["reasoning_effort"] = effort


# ------------------------------------------------------------------ turns


def _messages(fields: dict[str, Any], *, keeps_reasoning: bool) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    if system := _system(fields.get("system")):
        out.append({"role": "system", "content": system})
    for message in fields["messages"]:
        role, content = message["role"], message.get("content")
        if type(content) is str:
            out.append({"role": role, "content": content})
        elif role == "assistant":
            out.append(_assistant(_dicts(content), keeps_reasoning=keeps_reasoning))
        elif role == "system":
            out.append({"role": "system", "content": _system(content)})
        else:
            out += _user(_dicts(content))
    return out


def _dicts(content: Any) -> list[dict[str, Any]]:
    return [b for b in content if type(b) is dict] if type(content) is list else []


def _system(system: Any) -> str:
    if type(system) is str:
        return "" if system.startswith(_BILLING) else system
    texts = [str(b.get("text") or "") for b in _dicts(system) if b.get("type") == "text"]
    return "".join(t for t in texts if not t.startswith(_BILLING))


def _assistant(blocks: list[dict[str, Any]], *, keeps_reasoning: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    text = "".join(str(b.get("text") or "") for b in blocks if b.get("type") == "text")
    calls = [_call(b) for b in blocks if b.get("type") == "tool_use"]
    thoughts = "".join(str(b.get("thinking") or "") for b in blocks if b.get("type") == "thinking")
    message["content"] = text if text or not calls else None
    if calls:
        message["tool_calls"] = calls
    if thoughts and keeps_reasoning:
        message["reasoning"] = thoughts
    return message


def _call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = orjson.dumps(block.get("input") or {}).decode()
    return {
        "id": str(block.get("id") or ""),
        "type": "function",
        "function": {"name": str(block.get("name") or ""), "arguments": arguments},
    }


def _user(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            inner = block.get("content")
            text = inner if type(inner) is str else "\n".join(_part_texts(_dicts(inner)))
            call_id = str(block.get("tool_use_id") or "")
            results.append({"role": "tool", "tool_call_id": call_id, "content": text})
            parts += [part for part in _parts(_dicts(inner)) if part["type"] != "text"]
        else:
            parts += _parts([block])
    if len(parts) == 1 and parts[0]["type"] == "text":
        return [*results, {"role": "user", "content": parts[0]["text"]}]
    return [*results, {"role": "user", "content": parts}] if parts or not results else results


def _part_texts(blocks: list[dict[str, Any]]) -> list[str]:
    return [part["text"] for part in _parts(blocks) if part["type"] == "text"]


def _parts(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for block in blocks:
        source = block.get("source")
        if block.get("type") == "text":
            parts.append({"type": "text", "text": str(block.get("text") or "")})
        elif block.get("type") == "image" and type(source) is dict:
            parts.append({"type": "image_url", "image_url": {"url": _image_url(source)}})
    return parts


def _image_url(source: dict[str, Any]) -> str:
    if source.get("type") == "url":
        return str(source.get("url") or "")
    return f"data:{source.get('media_type') or 'image/png'};base64,{source.get('data') or ''}"
