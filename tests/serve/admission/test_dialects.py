"""What is done to requests of the Messages API and of Responses, and to what answers them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.admission.dialects import LACKS_S, Lacking, Way, way_of
from penstock.serve.wire.errors import Failure

MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
COMPLETED = {"id": "resp_1", "status": "completed", "output": []}
LAST = b"event: response.completed\ndata: " + json.dumps({"type": "response.completed", "response": COMPLETED}).encode()


def message(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": list(blocks)}], **more}


def opened(schema: str, fields: dict[str, Any], **how: Any) -> tuple[Way, dict[str, Any]]:
    found = way_of(schema, MESSAGES if schema == "messages" else RESPONSES, fields, asked="claude-x", **how)
    assert not isinstance(found, Failure)
    return found


def test_what_needs_no_mending_is_the_very_object() -> None:
    fields = message({"type": "text", "text": "hi"})
    way, taken = opened("messages", fields)
    assert taken is fields
    assert way.lines == b""
    assert not way.wants_whole


@given(st.text(max_size=80))
def test_no_kind_of_block_brings_a_line_of_its_own_into_a_head(kind: str) -> None:
    way, _ = opened("messages", message({"type": kind + "_tool_result"}, {"type": "text", "text": "x"}))
    assert way.lines.startswith(b"x-penstock-mended: ")
    assert way.lines.endswith(b"\r\n")
    assert all(32 <= c < 127 for c in way.lines[:-2])


@pytest.mark.parametrize(
    ("fields", "keeps", "previous"),
    [
        ({}, True, ""),
        ({"store": None}, True, ""),
        ({"store": False}, False, ""),
        ({"previous_response_id": "resp_0", "store": False}, False, "resp_0"),
    ],
)
def test_a_response_is_kept_unless_the_client_says_otherwise(fields: Any, keeps: bool, previous: str) -> None:
    way, taken = opened("responses", fields)
    assert taken is fields
    assert (way.keeps, way.previous, way.wants_whole) == (keeps, previous, keeps)


def test_a_stream_is_kept_once_by_its_last_event() -> None:
    way, _ = opened("responses", {})
    assert not way.ends_with(b'data: {"type":"response.created"}\n\n')
    assert way.ends_with(LAST)
    kept = way.kept_of(LAST, b'{"input":"hi"}', tenant="acme", now=0.0)
    assert kept is not None
    assert (kept.id, kept.tenant, json.loads(kept.items)) == ("resp_1", "acme", [{"role": "user", "content": "hi"}])
    assert not way.ends_with(LAST)
    assert way.kept_of(LAST, b"{}", tenant="acme", now=0.0) is None


def test_words_of_a_model_that_look_like_the_last_event_are_not_kept() -> None:
    way, _ = opened("responses", {})
    said = b'data: {"type":"response.output_text.delta","delta":"response.completed"}\n\n'
    assert way.ends_with(said)
    assert way.kept_of(said, b"{}", tenant="acme", now=0.0) is None
    assert way.ends_with(LAST)


def test_only_a_missing_path_of_the_messages_api_is_translated_and_only_once() -> None:
    way, _ = opened("messages", message())
    missing = b'{"detail":"Not Found"}'
    assert way.can_be_translated(404, missing)
    assert not way.can_be_translated(404, b'{"error":{"message":"The model `m` does not exist."}}')
    assert not way.can_be_translated(500, missing)
    way.translate(json.dumps(message({"type": "text", "text": "hi"})).encode())
    assert not way.can_be_translated(404, missing)
    assert way.lines == b"x-penstock-translated: /v1/chat/completions\r\n"
    other, _ = opened("responses", {})
    assert not other.can_be_translated(404, missing)


def test_a_provider_gets_what_it_wants_changed_in_the_chat() -> None:
    way, _ = opened("messages", message())
    sent = json.loads(way.translate(json.dumps(message(top_k=4)).encode(), {"model": "gpt-x", "max_tokens": None}))
    assert sent["model"] == "gpt-x"
    assert "max_tokens" not in sent
    assert "top_k" not in sent


def test_that_a_path_is_missing_is_known_for_a_while_and_for_that_path_alone() -> None:
    lacking = Lacking()
    assert not lacking("m", MESSAGES, 0.0)
    lacking.note("m", MESSAGES, 0.0)
    assert lacking("m", MESSAGES, LACKS_S - 1)
    assert not lacking("m", MESSAGES, LACKS_S)
    assert not lacking("n", MESSAGES, 1.0)
    assert not lacking("m", "/v1/messages/count_tokens", 1.0)
