"""A conversation goes on from what was kept of it, as if all of it had been sent at once."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve import stored
from penstock.serve.stored import Stored
from penstock.serve.wire.errors import Failure
from penstock.serve.wire.routes import stored_path

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "vllm-api"
NOW = 1_800_000_000.5


def message(text: str, **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": None}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part], **more}


def response(*output: Any, response_id: str = "resp_1", status: str = "completed", **more: Any) -> bytes:
    return json.dumps({"id": response_id, "object": "response", "status": status, "output": output, **more}).encode()


def kept(answer: bytes, fields: dict[str, Any], previous: str = "") -> Stored:
    found = stored.remember(answer, fields, tenant="acme", previous=previous, now=NOW)
    assert found is not None
    return found


def expanded(fields: dict[str, Any], found: Stored | None) -> dict[str, Any]:
    made = stored.expand(fields, found)
    assert isinstance(made, dict), made
    return made


class TestGoingOn:
    def test_what_was_said_stands_before_what_is_asked(self) -> None:
        first = kept(response(message("Hello.")), {"model": "m", "input": "Hi"})
        asked = {"model": "m", "input": "And you?", "previous_response_id": "resp_1"}
        assert expanded(asked, first) == {
            "model": "m",
            "input": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello."},
                {"role": "user", "content": "And you?"},
            ],
            "store": False,
        }
        assert asked["input"] == "And you?"

    def test_a_third_turn_has_both_turns_before_it(self) -> None:
        first = kept(response(message("b")), {"input": "a"})
        second_asked = expanded({"input": "c", "previous_response_id": "resp_1"}, first)
        second = kept(response(message("d"), response_id="resp_2"), second_asked, previous="resp_1")
        third = expanded({"input": "e", "previous_response_id": "resp_2"}, second)
        assert [item["content"] for item in third["input"]] == ["a", "b", "c", "d", "e"]

    def test_a_call_and_its_result_stay_together(self) -> None:
        call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "x"}
        first = kept(response(call), {"input": [{"role": "user", "content": "go"}]})
        result = {"type": "function_call_output", "call_id": "c1", "output": "42"}
        assert expanded({"input": [result], "previous_response_id": "resp_1"}, first)["input"] == [
            {"role": "user", "content": "go"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            result,
        ]

    def test_thoughts_go_on_without_what_is_null(self) -> None:
        thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [], "encrypted_content": None}
        items = expanded({"input": "x", "previous_response_id": "r"}, kept(response(thought), {"input": "a"}))["input"]
        assert items[1] == {"type": "reasoning", "id": "rs_1", "summary": [], "content": []}

    def test_all_parts_of_a_message_are_one_text(self) -> None:
        parts = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
        first = kept(response(message("", content=parts)), {"input": "x"})
        assert expanded({"input": "y", "previous_response_id": "r"}, first)["input"][1]["content"] == "ab"

    def test_instructions_are_those_of_the_new_request_alone(self) -> None:
        first = kept(response(message("b")), {"input": "a", "instructions": "old"})
        assert "instructions" not in expanded({"input": "c", "previous_response_id": "r"}, first)
        assert (
            expanded({"input": "c", "instructions": "new", "previous_response_id": "r"}, first)["instructions"] == "new"
        )

    def test_what_is_not_there_is_404_with_the_field(self) -> None:
        failure = stored.expand({"input": "x", "previous_response_id": "resp_9"}, None)
        assert isinstance(failure, Failure)
        assert (failure.status, failure.code) == (404, "previous_response_not_found")
        assert failure.param == "previous_response_id"
        assert "'resp_9'" in failure.message

    def test_a_conversation_without_end_is_refused(self) -> None:
        long = kept(response(), {"input": [{"role": "user", "content": "x"}] * stored.ITEMS_MAX})
        failure = stored.expand({"input": "one more", "previous_response_id": "r"}, long)
        assert isinstance(failure, Failure)
        assert failure.code == "conversation_too_long"


class TestWhatIsKept:
    def test_a_response_is_kept_with_what_the_client_went_on_from(self) -> None:
        found = kept(response(message("x")), {"input": "a"}, previous="resp_0")
        assert json.loads(found.body)["previous_response_id"] == "resp_0"
        assert json.loads(found.body)["store"] is True
        assert (found.id, found.tenant, found.expires) == ("resp_1", "acme", 1_800_000_000 + 30 * 86_400)

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"no json",
            b"[]",
            response(status="failed"),
            response(status="in_progress"),
            response(response_id="../x"),
            response(response_id=""),
            json.dumps({"status": "completed", "id": 5}).encode(),
        ],
    )
    def test_what_is_no_whole_response_is_not_kept(self, answer: bytes) -> None:
        assert stored.remember(answer, {"input": "a"}, tenant="acme", previous="", now=NOW) is None

    def test_one_that_is_too_large_is_not_kept(self) -> None:
        half = "x" * (stored.RESPONSE_BYTES_MAX // 2)
        assert stored.remember(response(message(half)), {"input": half}, tenant="a", previous="", now=NOW) is None
        assert stored.remember(response(message(half)), {"input": "x"}, tenant="a", previous="", now=NOW) is not None

    def test_it_is_kept_unless_the_client_says_otherwise(self) -> None:
        assert stored.is_storing({})
        assert stored.is_storing({"store": None})
        assert not stored.is_storing({"store": False})


class TestTheEndOfAStream:
    def test_the_last_event_carries_the_response(self) -> None:
        text = json.dumps({"response": json.loads(response(message("x"))), "type": "response.completed"})
        events = f'event: response.output_text.done\ndata: {{"a":1}}\n\nevent: response.completed\ndata: {text}\n\n'
        assert json.loads(stored.last_response(events.encode())) == json.loads(response(message("x")))

    @pytest.mark.parametrize("events", [b"", b"data: [DONE]\n\n", b'data: {"type":"response.failed"}\n\n'])
    def test_a_stream_that_was_not_finished_carries_none(self, events: bytes) -> None:
        assert stored.last_response(events) == b""

    def test_a_text_that_looks_like_it_is_none(self) -> None:
        text = json.dumps({"type": "response.output_text.delta", "delta": '"type":"response.completed"'})
        assert stored.last_response(f"data: {text}\n\n".encode()) == b""

    def test_what_vllm_was_seen_to_send_is_found(self) -> None:
        if not RECORDED.exists():
            pytest.skip("the recorded answers of vLLM are not beside this checkout")
        found = kept(stored.last_response((RECORDED / "responses_stream.http").read_bytes()), {"input": "Say hi"})
        assert json.loads(found.body)["usage"]["output_tokens"] == 4
        items = expanded({"input": "more", "previous_response_id": found.id}, found)["input"]
        assert [item["role"] for item in items] == ["user", "assistant", "user"]
        assert items[1]["content"] == " BLOCK:'vironSpec"

    @given(st.binary(max_size=200))
    def test_garbage_carries_none_or_json(self, events: bytes) -> None:
        found = stored.last_response(b'data: {"type":"response.completed"' + events)
        assert found == b"" or isinstance(json.loads(found), dict)


class TestPathsWithAnId:
    def test_input_items_have_a_kind_an_id_and_parts(self) -> None:
        found = kept(
            response(message("b")), {"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
        )
        page = json.loads(stored.input_items(found))
        assert page == {
            "object": "list",
            "data": [
                {"role": "user", "content": [{"type": "input_text", "text": "a"}], "type": "message", "id": "item_1_0"},
                {
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "b"}],
                    "type": "message",
                    "id": "item_1_1",
                },
            ],
            "first_id": "item_1_0",
            "last_id": "item_1_1",
            "has_more": False,
        }

    def test_a_response_without_input_has_an_empty_page(self) -> None:
        page = json.loads(stored.input_items(kept(response(), {})))
        assert (page["data"], page["first_id"]) == ([], None)

    def test_a_deleted_one_is_said_to_be(self) -> None:
        assert json.loads(stored.deleted("resp_1")) == {"id": "resp_1", "object": "response", "deleted": True}

    def test_there_is_nothing_to_cancel(self) -> None:
        assert stored.not_cancelled("resp_1").status == 400


class TestAnswers:
    FOUND = kept(response(message("b")), {"input": "a"})

    @pytest.mark.parametrize(
        ("method", "path", "key"),
        [
            ("GET", "/v1/responses/resp_1", "output"),
            ("HEAD", "/v1/responses/resp_1", "output"),
            ("DELETE", "/v1/responses/resp_1", "deleted"),
            ("GET", "/v1/responses/resp_1/input_items", "has_more"),
        ],
    )
    def test_each_method_has_its_answer(self, method: str, path: str, key: str) -> None:
        way = stored_path(path)
        assert way is not None
        body = stored.answer_about(way, method, self.FOUND)
        assert isinstance(body, bytes)
        assert key in json.loads(body)

    @pytest.mark.parametrize(
        ("method", "path", "is_there", "status"),
        [
            ("POST", "/v1/responses/resp_1/cancel", True, 400),
            ("POST", "/v1/responses/resp_1/cancel", False, 404),
            ("GET", "/v1/responses/resp_1", False, 404),
            ("DELETE", "/v1/responses/resp_1", False, 404),
            ("GET", "/v1/responses/a%20b", False, 404),
            ("PUT", "/v1/responses/resp_1", True, 405),
            ("DELETE", "/v1/responses/resp_1/input_items", True, 405),
            ("GET", "/v1/responses/resp_1/cancel", True, 405),
        ],
    )
    def test_what_can_not_be_is_refused(self, method: str, path: str, is_there: bool, status: int) -> None:
        way = stored_path(path)
        assert way is not None
        failure = stored.answer_about(way, method, self.FOUND if is_there else None)
        assert isinstance(failure, Failure)
        assert failure.status == status
        assert (failure.allow is not None) == (status == 405)


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"background": True}, "background"), ({"conversation": "conv_1"}, "conversation"), ({"background": False}, None)],
)
def test_state_that_nobody_keeps_is_refused_by_name(fields: dict[str, Any], param: str | None) -> None:
    failure = stored.unsupported_state(fields)
    assert (failure.param if failure else None) == param


ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "call_id", "output"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(ITEMS, max_size=4) | st.text(), ITEMS, st.lists(ITEMS, max_size=3) | st.text())
def test_any_shape_of_json_goes_on_in_order_and_changes_nothing_of_the_clients(old: Any, output: Any, new: Any) -> None:
    first = kept(json.dumps({"id": "r", "status": "completed", "output": output}).encode(), {"input": old})
    fields = {"input": new, "previous_response_id": "r"}
    before = copy.deepcopy(fields)
    items = expanded(fields, first)["input"]
    assert fields == before
    own = 1 if isinstance(new, str) else len(new)
    assert items[len(items) - own :] == ([{"role": "user", "content": new}] if isinstance(new, str) else new)
    json.loads(stored.input_items(first))
