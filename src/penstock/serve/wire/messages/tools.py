"""Tools as clients of the Messages API send them: which ones an engine can be told of, and how.

A tool of the client's own has an `input_schema`. A tool that Anthropic has defined and the client runs (a shell, an
editor) has only a type, as their models know it by heart: an engine's model is told its arguments here. A tool that
Anthropic's servers run (search on the web, for one) nobody runs here: it is left out and told of.
"""

from __future__ import annotations

from typing import Any

from penstock.serve.wire.errors import Failure

__all__ = ["mended_tools"]


def _text(words: str) -> dict[str, str]:
    return {"type": "string", "description": words}


def _object(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


_POSITION = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
_RANGE = {"type": "array", "items": {"type": "integer"}, "description": "First and last line, from 1; -1 is the end."}
_CLIENT_TOOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "bash": (
        "Runs a command in a shell that stays open, and returns what it printed.",
        _object(
            [],
            command=_text("The command to run."),
            restart={"type": "boolean", "description": "True to start the shell anew instead."},
        ),
    ),
    "text_editor": (
        "Shows, makes and changes text files.",
        _object(
            ["command", "path"],
            command={"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
            path=_text("The file or folder."),
            file_text=_text("For create: the whole text."),
            old_str=_text("For str_replace: the text to replace, which must occur once."),
            new_str=_text("For str_replace: what takes its place."),
            insert_line={"type": "integer", "description": "For insert: the line after which to insert; 0 is the top."},
            insert_text=_text("For insert: the text to insert."),
            view_range=_RANGE,
        ),
    ),
    "memory": (
        "Keeps notes in files under /memories, which are there in later conversations too.",
        _object(
            ["command"],
            command={"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
            path=_text("The file or folder, under /memories."),
            file_text=_text("For create: the whole text."),
            old_str=_text("For str_replace: the text to replace, which must occur once."),
            new_str=_text("For str_replace: what takes its place."),
            insert_line={"type": "integer", "description": "For insert: the line after which to insert; 0 is the top."},
            insert_text=_text("For insert: the text to insert."),
            old_path=_text("For rename: the present path."),
            new_path=_text("For rename: the new path."),
            view_range=_RANGE,
        ),
    ),
    "computer": (
        "Looks at the screen and uses the mouse and the keyboard.",
        _object(
            ["action"],
            action=_text("What to do: screenshot, left_click, right_click, mouse_move, type, key, scroll, wait, …"),
            coordinate=_POSITION,
            start_coordinate=_POSITION,
            text=_text("What to type, or the keys to press."),
            scroll_direction={"type": "string", "enum": ["up", "down", "left", "right"]},
            scroll_amount={"type": "integer"},
            duration={"type": "number", "description": "Seconds to wait or to hold."},
        ),
    ),
}
"""By the type's name before its date, as `bash_20250124`: what the tool does and takes, from Anthropic's description of
each at https://docs.anthropic.com/en/docs/agents-and-tools/tool-use (bash, text editor, memory, computer use)."""


def mended_tools(fields: dict[str, Any], notes: list[str]) -> Failure | None:
    """Makes `tools` and `tool_choice` of `fields`, a copy of its own, such as an engine takes; adds to `notes` what was
    changed. A `Failure` where the client insists on a tool that nobody runs here."""
    tools = fields.get("tools")
    if type(tools) is not list or all(type(t) is dict and "input_schema" in t for t in tools):
        return None
    kept: list[Any] = []
    lost: list[str] = []
    for tool in tools:
        kind = tool.get("type") if type(tool) is dict else None
        if type(kind) is not str or kind == "custom" or "input_schema" in tool:
            kept.append(tool)  # its own tool, whole or not: that is the engine's to judge
        elif (known := _CLIENT_TOOLS.get(kind.rpartition("_")[0])) is not None:
            name = tool.get("name") if type(tool.get("name")) is str else kind
            kept.append({"name": name, "description": known[0], "input_schema": known[1]})
            notes.append(f"described tool {kind}")
        else:
            lost.append(str(tool.get("name") or tool.get("mcp_server_name") or kind)[:100])
            notes.append(f"left out tool {kind[:100]}")
    if lost:
        return _without(fields, kept, lost)
    fields["tools"] = kept
    return None


def _without(fields: dict[str, Any], kept: list[Any], lost: list[str]) -> Failure | None:
    choice = fields.get("tool_choice")
    kind, name = (choice.get("type"), choice.get("name")) if type(choice) is dict else (None, None)
    if (kind == "tool" and name in lost) or (kind == "any" and not kept):
        words = f"The tool '{lost[0] if kind == 'any' else name}' runs on Anthropic's servers and not here."
        message = f"{words} Leave it out, or bring a tool of your own with an input_schema."
        return Failure(status=400, code="unsupported_tool", message=message, param="tool_choice")
    fields["tools"] = kept
    if not kept:
        fields.pop("tools")
        fields.pop("tool_choice", None)
    return None
