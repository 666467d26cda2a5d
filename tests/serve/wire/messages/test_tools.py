"""Tools of the Messages API: each one's arguments are described, or it is left out by name."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.wire.messages.tools import mended_tools


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250429", "memory_20250818", "computer_20250124"])
def test_a_described_tool_needs_no_more_description(kind: str) -> None:
    fields: dict[str, Any] = {"tools": [{"type": kind, "name": "it"}]}
    notes: list[str] = []
    assert mended_tools(fields, notes) is None
    (tool,) = fields["tools"]
    schema = tool["input_schema"]
    assert set(schema["required"]) <= set(schema["properties"])
    again: list[str] = []
    assert mended_tools(fields, again) is None
    assert (fields["tools"], again) == ([tool], [])


@pytest.mark.parametrize("tools", [None, "x", [], [{"name": "f", "input_schema": {}}]])
def test_what_needs_no_change_is_left(tools: Any) -> None:
    fields = {"tools": tools}
    notes: list[str] = []
    assert mended_tools(fields, notes) is None
    assert fields["tools"] is tools
    assert notes == []


def test_a_tool_without_type_and_schema_is_the_engines_to_refuse() -> None:
    fields: dict[str, Any] = {"tools": [{"name": "f"}, 5]}
    assert mended_tools(fields, []) is None
    assert fields["tools"] == [{"name": "f"}, 5]


def test_a_server_tool_beside_others_is_noted_by_its_kind() -> None:
    own = {"name": "f", "input_schema": {}}
    fields: dict[str, Any] = {"tools": [{"type": "mcp_toolset", "mcp_server_name": "git"}, own]}
    notes: list[str] = []
    assert mended_tools(fields, notes) is None
    assert fields["tools"] == [own]
    assert notes == ["left out tool mcp_toolset"]
