"""Requests as Claude Code and Anthropic's clients send them become such as vLLM takes; the rest is left as it came."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.messages import Mended, mend

TAKEN = {"text", "image", "tool_use", "tool_result", "tool_reference", "thinking", "redacted_thinking"}


def fields(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": list(blocks)}], **more}


def mended(request: dict[str, Any], **how: bool) -> dict[str, Any]:
    before = copy.deepcopy(request)
    found = mend(request, **how)
    assert isinstance(found, Mended), found
    assert request == before, "the client's own fields were changed"
    return found.fields


def refused(request: dict[str, Any]) -> Failure:
    found = mend(request)
    assert isinstance(found, Failure)
    return found


def content(request: dict[str, Any], **how: bool) -> Any:
    return mended(request, **how)["messages"][0]["content"]


class TestWhatPassesAsItCame:
    def test_a_request_of_claude_code_needs_no_change_but_for_its_budget(self) -> None:
        request = fields(
            {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "ok"}], "is_error": True},
            system=[{"type": "text", "text": "You are…", "cache_control": {"type": "ephemeral"}}],
            metadata={"user_id": "u"},
            tools=[{"name": "Read", "description": "reads", "input_schema": {"type": "object"}}],
            thinking={"type": "adaptive"},
            context_management={"edits": []},
        )
        assert mended(request) is request

    def test_a_plain_string_is_not_looked_into(self) -> None:
        request = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        assert mended(request) is request

    def test_a_block_of_a_kind_that_nobody_knows_is_the_engines_to_judge(self) -> None:
        request = fields({"type": "hologram", "text": "x"}, "no block", {"type": 5})
        assert mended(request) is request


class TestWhatIsSaidInWords:
    def test_a_document_of_text_becomes_its_text(self) -> None:
        document = {
            "type": "document",
            "title": "Report",
            "context": "of May",
            "source": {"type": "text", "media_type": "text/plain", "data": "All is well."},
        }
        assert content(fields(document)) == [{"type": "text", "text": "Report\nof May\nAll is well."}]

    def test_a_document_of_blocks_becomes_their_texts(self) -> None:
        source = {"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
        assert content(fields({"type": "document", "source": source})) == [{"type": "text", "text": "a\nb"}]

    def test_a_search_result_becomes_its_title_source_and_texts(self) -> None:
        found = {"type": "search_result", "title": "T", "source": "S", "content": [{"type": "text", "text": "x"}]}
        assert content(fields(found)) == [{"type": "text", "text": "T\nS\nx"}]

    def test_a_search_result_inside_a_tools_result_is_not_lost(self) -> None:
        found = {"type": "search_result", "title": "T", "source": "S", "content": [{"type": "text", "text": "x"}]}
        result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "see"}, found]}
        inner = content(fields(result))[0]["content"]
        assert inner == [{"type": "text", "text": "see"}, {"type": "text", "text": "T\nS\nx"}]

    def test_a_summary_of_earlier_turns_stays(self) -> None:
        assert content(fields({"type": "compaction", "content": "so far"})) == [{"type": "text", "text": "so far"}]


class TestWhatIsLeftOut:
    def test_traces_of_anthropics_own_servers_go_and_are_noted(self) -> None:
        trace = [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "text", "text": "found it"},
        ]
        found = mend(fields(*trace))
        assert isinstance(found, Mended)
        assert found.fields["messages"][0]["content"] == [{"type": "text", "text": "found it"}]
        assert found.notes == ("left out server_tool_use", "left out web_search_tool_result")

    def test_a_turn_of_which_nothing_is_left_is_still_a_turn(self) -> None:
        assert content(fields({"type": "server_tool_use", "id": "s", "name": "x", "input": {}})) == ""

    def test_a_tool_of_anthropics_servers_goes_and_the_others_stay(self) -> None:
        own = {"name": "Read", "input_schema": {"type": "object"}}
        search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
        assert mended(fields(tools=[search, own]))["tools"] == [own]

    def test_with_the_last_tool_goes_the_choice_among_them(self) -> None:
        search = {"type": "web_search_20250305", "name": "web_search"}
        left = mended(fields(tools=[search], tool_choice={"type": "auto"}))
        assert "tools" not in left
        assert "tool_choice" not in left

    @pytest.mark.parametrize("choice", [{"type": "tool", "name": "web_search"}, {"type": "any"}])
    def test_a_tool_that_must_be_used_and_runs_nowhere_is_refused_by_name(self, choice: dict[str, str]) -> None:
        failure = refused(fields(tools=[{"type": "web_search_20250305", "name": "web_search"}], tool_choice=choice))
        assert failure.status == 400
        assert "'web_search'" in failure.message
        assert failure.param == "tool_choice"


class TestToolsThatTheClientRuns:
    @pytest.mark.parametrize(
        ("kind", "argument"),
        [
            ("bash_20250124", "command"),
            ("text_editor_20250728", "path"),
            ("memory_20250818", "path"),
            ("computer_20251124", "action"),
        ],
    )
    def test_one_that_anthropic_has_defined_is_described_to_the_engine(self, kind: str, argument: str) -> None:
        (tool,) = mended(fields(tools=[{"type": kind, "name": "it"}]))["tools"]
        assert tool["name"] == "it"
        assert tool["description"]
        assert argument in tool["input_schema"]["properties"]

    def test_a_custom_tool_is_left_as_it_is(self) -> None:
        request = fields(tools=[{"type": "custom", "name": "x", "input_schema": {}}])
        assert mended(request) is request


class TestThinking:
    BUDGET: ClassVar = {"type": "enabled", "budget_tokens": 4096}

    def test_a_budget_that_the_engine_would_refuse_is_taken_off(self) -> None:
        assert mended(fields(thinking=self.BUDGET))["thinking"] == {"type": "adaptive"}

    def test_a_budget_that_it_keeps_stays(self) -> None:
        request = fields(thinking=self.BUDGET)
        assert mended(request, keeps_thinking_budget=True) is request

    def test_no_thinking_stays_no_thinking(self) -> None:
        request = fields(thinking={"type": "disabled"})
        assert mended(request) is request


def test_the_format_of_older_clients_gets_its_present_name() -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    left = mended(fields(output_format=wanted, output_config={"effort": "low"}))
    assert left["output_config"] == {"effort": "low", "format": wanted}
    assert "output_format" not in left


@pytest.mark.parametrize(
    ("block", "word"),
    [
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "x"}}, "base64"),
        ({"type": "document", "source": {"type": "url", "url": "http://x"}}, "url"),
        ({"type": "document"}, "None"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "image by the id"),
    ],
)
def test_what_no_engine_can_read_is_refused_with_its_place(block: dict[str, Any], word: str) -> None:
    failure = refused(fields({"type": "text", "text": "see"}, block))
    assert failure.status == 400
    assert failure.param == "messages[0].content[1]"
    assert word in failure.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "source", "name", "data"]), inner, max_size=4)
    ),
    max_leaves=12,
)
KINDS = st.sampled_from([*sorted(TAKEN), "document", "search_result", "server_tool_use", "x_tool_result", "compaction"])
BLOCKS = st.builds(lambda kind, rest: {**rest, "type": kind}, KINDS, st.dictionaries(st.text(max_size=4), JSON))


@given(
    st.lists(BLOCKS | JSON, max_size=5),
    st.one_of(st.none(), st.lists(JSON, max_size=3)),
    JSON,
    JSON,
)
def test_whatever_a_client_sends_is_mended_or_refused_and_never_a_crash(
    blocks: list[Any], tools: list[Any] | None, system: Any, thinking: Any
) -> None:
    request = fields(*blocks, system=system, thinking=thinking)
    if tools is not None:
        request["tools"] = tools
    before = copy.deepcopy(request)
    found = mend(request)
    assert request == before
    if isinstance(found, Failure):
        assert found.status == 400
    else:
        again = mend(found.fields)
        assert isinstance(again, Mended)
        assert again.fields is found.fields, "what was mended needs no mending"
