"""A request of the Messages API, such as Claude Code and Anthropic's clients send it, made such as vLLM takes it.

vLLM's reading of the API is strict: one block of a kind that it does not know, one tool without a schema, and the whole
request is refused. What has a meaning for any model is kept in words (documents of text, search results, summaries),
what only Anthropic's servers could read is left out and noted, and what can't be left out without changing the question
is refused by name. A request that needs none of this is returned as it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.messages.tools import mended_tools

__all__ = ["Mended", "mend"]

_KNOWN = frozenset(
    {
        *("text", "image", "tool_use", "tool_result", "tool_reference", "thinking", "redacted_thinking"),
        *("tool_addition", "tool_removal"),
    }
)
"""Kinds of blocks that vLLM 0.32 takes (`AnthropicContentBlock` in its `entrypoints/anthropic/protocol.py`)."""
_IN_RESULTS = frozenset({"text", "image", "tool_reference"})
"""Kinds of blocks that it reads in a tool's result; it passes over others without a word."""
_LEFT_OUT = frozenset({"server_tool_use", "mcp_tool_use", "container_upload"})
"""Traces of what Anthropic's servers did, besides results, whose kinds end with `_tool_result`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A request that an engine takes."""

    fields: dict[str, Any]
    """The request's fields; the very object that was given where nothing had to change."""
    notes: tuple[str, ...] = ()
    """What was changed, in a few words each, none of them the client's."""


class _RefusedError(Exception):
    """Raised where a block can't be read here; `failure` says so to the client."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


def mend(fields: dict[str, Any], *, keeps_thinking_budget: bool = False) -> Mended | Failure:
    """The request with what vLLM refuses made right. `fields` passed the checks of `wire.fields`.

    Args:
        fields: the parsed body; never changed.
        keeps_thinking_budget: the engine has a reasoning parser; one without refuses every request that bounds its
            thinking, and Claude Code's do.
    """
    notes: list[str] = []
    edited = dict(fields)
    try:
        messages = _messages(fields["messages"], notes)
        system = _blocks(fields["system"], "system", notes) if type(fields.get("system")) is list else None
    except _RefusedError as refused:
        return refused.failure
    if messages is not None:
        edited["messages"] = messages
    if system is not None:
        edited["system"] = system
    failure = mended_tools(edited, notes)
    if failure is not None:
        return failure
    thinking = fields.get("thinking")
    if not keeps_thinking_budget and type(thinking) is dict and thinking.get("type") == "enabled":
        edited["thinking"] = {"type": "adaptive"}
        notes.append("let the thinking go unbounded")
    _move_format(edited, notes)
    return Mended(fields=edited, notes=tuple(dict.fromkeys(notes))) if notes else Mended(fields=fields)


def _move_format(edited: dict[str, Any], notes: list[str]) -> None:
    """`output_format`, as older clients call it, under its present name."""
    wanted = edited.get("output_format")
    if type(wanted) is not dict:
        return
    config = edited.get("output_config")
    edited["output_config"] = {"format": wanted} | (config if type(config) is dict else {})
    del edited["output_format"]
    notes.append("moved output_format")


def _messages(messages: list[Any], notes: list[str]) -> list[Any] | None:
    """The messages where one of them had to change; else None."""
    changed: dict[int, Any] = {}
    for index, message in enumerate(messages):
        content = message.get("content")
        if type(content) is list:
            blocks = _blocks(content, f"messages[{index}].content", notes)
            if blocks is not None:
                changed[index] = message | {"content": blocks or ""}
    return [changed.get(i, m) for i, m in enumerate(messages)] if changed else None


def _blocks(blocks: list[Any], where: str, notes: list[str]) -> list[Any] | None:
    """The blocks where one of them had to change; else None."""
    kept: list[Any] = []
    is_changed = False
    for index, block in enumerate(blocks):
        after = _block(block, f"{where}[{index}]", notes) if type(block) is dict else block
        if after is not None:
            kept.append(after)
        is_changed = is_changed or after is not block
    return kept if is_changed else None


def _block(block: dict[str, Any], where: str, notes: list[str]) -> dict[str, Any] | None:
    """The block itself, another in its place, or None where it is left out."""
    kind = block.get("type")
    if kind == "tool_result" and type(block.get("content")) is list:
        inner = _result_blocks(block["content"], f"{where}.content", notes)
        return block if inner is None else block | {"content": inner}
    if kind == "image" and _source_kind(block) == "file":
        raise _RefusedError(_unreadable(where, "an image by the id of a file", "send it as base64 or by its URL"))
    if type(kind) is not str or kind in _KNOWN:
        return block
    if kind in _LEFT_OUT or kind.endswith("_tool_result"):
        notes.append(f"left out {kind[:60]}")
        return None
    text = _as_text(block, kind, where)
    if text is None:
        return block  # nothing we know: the engine says what it makes of it
    notes.append(f"wrote out {kind}")
    return {"type": "text", "text": text}


def _result_blocks(blocks: list[Any], where: str, notes: list[str]) -> list[Any] | None:
    if all(type(b) is dict and b.get("type") in _IN_RESULTS for b in blocks):
        return None
    kept: list[Any] = []
    is_changed = False
    for index, block in enumerate(blocks):
        kind = block.get("type") if type(block) is dict else None
        text = _as_text(block, kind, f"{where}[{index}]") if type(kind) is str and kind not in _IN_RESULTS else None
        is_changed = is_changed or text is not None
        kept.append(block if text is None else {"type": "text", "text": text})
        if text is not None:
            notes.append(f"wrote out {kind}")
    return kept if is_changed else None


def _as_text(block: dict[str, Any], kind: str, where: str) -> str | None:
    """What a block of a kind that is only text says; None for other kinds."""
    if kind == "compaction":
        return str(block.get("content") or "")
    if kind == "search_result":
        head = [str(block[name]) for name in ("title", "source") if block.get(name)]
        return "\n".join([*head, _texts(block.get("content"))])
    if kind != "document":
        return None
    source = block.get("source")
    source = source if type(source) is dict else {}
    match source.get("type"):
        case "text":
            body = str(source.get("data") or "")
        case "content":
            body = _texts(source.get("content"))
        case other:
            raise _RefusedError(
                _unreadable(where, f"a document of kind {str(other)[:60]!r}", "send its text, or its pages as images")
            )
    head = [str(block[name]) for name in ("title", "context") if block.get(name)]
    return "\n".join([*head, body])


def _texts(content: Any) -> str:
    if type(content) is str:
        return content
    blocks = content if type(content) is list else []
    return "\n".join(str(b["text"]) for b in blocks if type(b) is dict and type(b.get("text")) is str)


def _source_kind(block: dict[str, Any]) -> object:
    source = block.get("source")
    return source.get("type") if type(source) is dict else None


def _unreadable(where: str, what: str, hint: str) -> Failure:
    message = f"'{where}' is {what}, which the engine of this model can't read: {hint}."
    return Failure(status=400, code="unsupported_content", message=message, param=where)
