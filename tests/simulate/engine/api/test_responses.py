"""The responses route: its conversation, its object, its events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.simulate.engine.api.envelope import Envelope, Usage
from penstock.simulate.engine.api.errors import ApiError, engine_dead
from penstock.simulate.engine.api.responses import (
    ResponsesRequest,
    ResponseStream,
    check_store,
    messages_of,
    response_body,
    response_not_found,
)
from penstock.simulate.engine.api.sampling import Sampling
from penstock.simulate.engine.api.sequence import OutputSequence, Piece
from penstock.simulate.engine.core import TokenOutput

ENVELOPE = Envelope(id="resp_1", created=7, model="tiny", fingerprint="f")


def parsed(events: list[bytes]) -> list[Any]:
    return [json.loads(event.split(b"\ndata: ")[1]) for event in events]


def stream(usage: Usage) -> ResponseStream:
    return ResponseStream(ResponsesRequest(input="hi"), ENVELOPE, item_id="msg_1", max_output_tokens=4, usage=usage)


def test_instructions_and_items_become_messages() -> None:
    request = ResponsesRequest(input=[{"role": "user", "content": "a"}, {"output": "b"}], instructions="be brief")

    assert messages_of(request) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
    ]
    assert messages_of(ResponsesRequest(input="hi")) == [{"role": "user", "content": "hi"}]


def test_nothing_is_stored() -> None:
    with pytest.raises(ApiError, match="does not support the background mode"):
        check_store(ResponsesRequest(input="hi", background=True))
    with pytest.raises(ApiError, match="Response with id 'resp_9' not found"):
        check_store(ResponsesRequest(input="hi", previous_response_id="resp_9"))
    assert response_not_found("x").status == 404
    check_store(ResponsesRequest(input="hi"))


@pytest.mark.parametrize(("reason", "status"), [("length", "incomplete"), ("stop", "completed")])
def test_an_answer_cut_by_its_length_is_incomplete(reason: Any, status: str) -> None:
    sequence = OutputSequence(0, [1], Sampling(), 0)
    sequence.push(TokenOutput("r", (97, 98), reason))

    body = json.loads(
        response_body(
            ResponsesRequest(input="hi"), ENVELOPE, sequence, item_id="m", max_output_tokens=4, usage=Usage(1, 2)
        )
    )

    assert body["status"] == status
    assert (body["incomplete_details"] is None) == (status == "completed")
    assert body["usage"]["total_tokens"] == 3


def test_events_are_numbered_and_open_and_close_in_order() -> None:
    usage = Usage(1)
    writer = stream(usage)

    events = parsed(writer.open() + writer.push(Piece(0, "a", (1,))) + writer.push(Piece(0, "", (2,))))
    events += parsed(writer.push(Piece(0, "b", (3,), "length")) + writer.close())

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"].removeprefix("response.") for event in events] == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta", "output_text.done", "content_part.done"),
        *("output_item.done", "completed"),
    ]
    assert events[-1]["response"]["status"] == "incomplete"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "ab"
    assert usage.completion_tokens == 3


def test_a_stream_that_fails_ends_with_the_error() -> None:
    assert stream(Usage(1)).fail(engine_dead()) == [engine_dead().event()]
