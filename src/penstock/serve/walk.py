"""How an event of a stream grows an answer: one walk over its fields, for whoever keeps or compares answers.

A streamed answer is a set of channels. A *text* grows by concatenation (content, reasoning, a tool's arguments), a
*list* likewise (log probabilities, token ids), a *mark* is set once (the role, a tool call's id, the end of a choice).
How an engine cuts these into events is chance: two runs of the same request agree in the channels, not in the events.
`walk` shows each part of an event to a visitor and leaves in the event what the visitor gives back.

Chat completions, completions and Anthropic's messages are known here, responses in `walk_responses`; anything else is
`UnreadableError`.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Key", "UnreadableError", "Visitor", "walk"]

Key = tuple[int | str, ...]
"""Name of a channel: index of the choice or content block, then where in it."""


class UnreadableError(Exception):
    """An event that is not understood."""


class Visitor(Protocol):
    """Sees the parts of an event, and says what stays of each."""

    def text(self, key: Key, piece: str) -> str:
        """More text of a channel; returns what stays of it."""
        ...

    def items(self, key: Key, piece: list[Any]) -> list[Any]:
        """More of a list; returns what stays of it."""
        ...

    def mark(self, key: Key) -> bool:
        """Something that is said once; whether it stays."""
        ...

    def finish(self, index: int) -> bool:
        """A choice or content block is complete; whether that stays."""
        ...


def walk(event: dict[str, Any], visitor: Visitor) -> bool:
    """Shows `event` to `visitor` and changes it to what stays; whether anything does.

    Raises:
        UnreadableError: it is no event of an API that is known here.
    """
    choices = event.get("choices")
    if type(choices) is list:
        if not choices:
            return visitor.mark((-1, "usage"))
        event["choices"] = kept = [choice for choice in choices if _choice(choice, visitor)]
        return bool(kept)
    return _anthropic(event, visitor)


def _choice(choice: Any, visitor: Visitor) -> bool:
    if type(choice) is not dict:
        raise UnreadableError("a choice was not an object")
    index = _index(choice)
    news = False
    delta, logprobs = choice.get("delta"), choice.get("logprobs")
    if type(delta) is dict:
        news = _delta(index, delta, visitor)
    if type(choice.get("text")) is str:
        choice["text"] = visitor.text((index, "text"), choice["text"])
        news = news or bool(choice["text"])
    if type(choice.get("token_ids")) is list:
        choice["token_ids"] = visitor.items((index, "token_ids"), choice["token_ids"])
        news = news or bool(choice["token_ids"])
    if type(logprobs) is dict:
        for name, value in logprobs.items():
            if type(value) is list:
                logprobs[name] = visitor.items((index, "logprobs", name), value)
                news = news or bool(logprobs[name])
    for name in ("prompt_token_ids", "prompt_logprobs"):
        if choice.get(name) is not None and not visitor.mark((index, name)):
            choice[name] = None
    if choice.get("finish_reason") is not None:
        if visitor.finish(index):
            return True
        choice["finish_reason"] = None
    return news


def _delta(index: int, delta: dict[str, Any], visitor: Visitor) -> bool:
    news = False
    for name, value in list(delta.items()):
        if value is None:
            continue
        if name == "role":
            stays = visitor.mark((index, "role"))
        elif name == "tool_calls":
            stays = _tool_calls(index, delta, visitor)
        else:
            stays = _grown((index, name), delta, name, visitor)
        if not stays and value != "":
            del delta[name]
        news = news or stays
    return news


def _tool_calls(index: int, delta: dict[str, Any], visitor: Visitor) -> bool:
    calls = delta["tool_calls"]
    if type(calls) is not list or not all(type(call) is dict for call in calls):
        raise UnreadableError("tool calls were not a list of objects")
    delta["tool_calls"] = kept = [call for call in calls if _tool_call(index, call, visitor)]
    return bool(kept)


def _tool_call(index: int, call: dict[str, Any], visitor: Visitor) -> bool:
    number = _index(call)
    news = False
    for name, value in list(call.items()):
        if value is None or name == "index":
            continue
        key: Key = (index, "tool", number, name)
        # an id is drawn anew by each attempt: the client keeps the first
        stays = visitor.mark(key) if type(value) is str else _grown(key, call, name, visitor)
        if not stays:
            del call[name]
        news = news or stays
    return news


def _grown(key: Key, holder: dict[str, Any], name: str, visitor: Visitor) -> bool:
    """A text, a list, or an object of those."""
    value = holder[name]
    if type(value) is str:
        holder[name] = visitor.text(key, value)
        return bool(holder[name])
    if type(value) is list:
        holder[name] = visitor.items(key, value)
        return bool(holder[name])
    if type(value) is not dict:
        raise UnreadableError(f"'{name}' was of a kind that is not known to grow")
    news = False
    for inner, part in list(value.items()):
        if part is None:
            continue
        stays = _grown((*key, inner), value, inner, visitor)
        if not stays and part != "":
            del value[inner]
        news = news or stays
    return news


def _anthropic(event: dict[str, Any], visitor: Visitor) -> bool:
    match event.get("type"):
        case "message_start":
            return visitor.mark((-1, "message_start"))
        case "content_block_start":
            return visitor.mark((_index(event), "start"))
        case "content_block_delta":
            return _block_delta(_index(event), event.get("delta"), visitor)
        case "content_block_stop":
            return visitor.finish(_index(event))
        case "message_delta":
            return visitor.mark((-1, "message_delta"))
        case "message_stop" | "ping":
            return True
        case _:
            raise UnreadableError("an event of a kind that is not known")


def _block_delta(index: int, delta: Any, visitor: Visitor) -> bool:
    if type(delta) is not dict:
        raise UnreadableError("a block's delta was not an object")
    news = False
    for name in [n for n, value in delta.items() if n != "type" and value is not None]:
        news = _grown((index, name), delta, name, visitor) or news
    return news


def _index(holder: dict[str, Any]) -> int:
    index = holder.get("index", 0)
    if type(index) is not int:
        raise UnreadableError("an index was not a number")
    return index
