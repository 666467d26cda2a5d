"""Error answers: one shape in each dialect, whatever the engine said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.errors import (
    Failure,
    engine_error_event,
    error_body,
    error_event,
    lacks_path,
    normalise_engine_error,
)
from penstock.serve.wire.routes import Dialect

RECORDED = Path(__file__).resolve().parents[3].parent / "shared" / "reference" / "vllm-api"
CONTEXT = "maximum context length"
DIALECTS: tuple[Dialect, ...] = ("openai", "responses", "anthropic")
STATUSES = [400, 401, 403, 404, 405, 408, 413, 414, 415, 422, 429, 431, 500, 501, 502, 503, 504, 529]


def failure(status: int, message: str = "It broke.") -> Failure:
    return Failure(status=status, code="broken", message=message, param="model")


@pytest.mark.parametrize("status", STATUSES)
def test_openais_shape_has_all_four_fields(status: int) -> None:
    error = json.loads(error_body(failure(status), "openai"))["error"]
    assert error == {"message": "It broke.", "type": error["type"], "param": "model", "code": "broken"}
    assert (error["type"] == "server_error") == (status >= 500)


@pytest.mark.parametrize("status", STATUSES)
def test_anthropics_shape_has_its_type_and_message(status: int) -> None:
    body = json.loads(error_body(failure(status), "anthropic"))
    assert body["type"] == "error"
    assert body["error"]["message"] == "It broke."
    assert body["error"]["type"].endswith("_error") or status == 413


@given(st.text(min_size=1))
def test_an_error_event_is_one_event_whatever_the_words(message: str) -> None:
    for dialect in DIALECTS:
        event = error_event(failure(502, message.encode("utf-8", "replace").decode()), dialect)
        assert event.count(b"\n\n") == 1
        assert event.endswith(b"\n\n")
        assert b"\r" not in event
        last = event.rstrip(b"\n").split(b"\n")[-1]
        assert json.loads(last.removeprefix(b"data: "))["error"]["message"]


class TestEngineErrors:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b'{"error":{"message":"too long","type":"BadRequestError","param":"prompt","code":400}}', "too long"),
            (b'{"error":{"message":"too long"}}', "too long"),
            (b'{"error":"too long"}', "too long"),
            (b'{"detail":"too long"}', "too long"),
            (b'{"detail":[{"loc":["body","x"],"msg":"too long","type":"missing"}]}', "body.x: too long"),
            (b'{"detail":[{"loc":7,"msg":"too long"},5]}', "7: too long"),
            (b'{"message":"too long"}', "too long"),
            (b'{"object":"error","message":"too long","code":400}', "too long"),
            (b'{"type":"error","error":{"type":"api_error","message":"too long"}}', "too long"),
            (b"too long\n", "too long"),
            (b"", "the engine answered 400 without a message"),
            (b"{}", "the engine answered 400 without a message"),
            (b"[]", "[]"),
            (b'{"error":{}}', "the engine answered 400 without a message"),
            (b'{"error":null,"detail":null}', "the engine answered 400 without a message"),
            (b'{"error":{"message":5}}', "the engine answered 400 without a message"),
        ],
    )
    def test_each_shape_becomes_the_one_shape_in_both_dialects(self, body: bytes, message: str) -> None:
        openai = json.loads(normalise_engine_error(400, body, "openai"))
        assert openai["error"]["message"] == message
        assert set(openai) == {"error"}
        assert set(openai["error"]) >= {"message", "type", "param", "code"}
        anthropic = json.loads(normalise_engine_error(400, body, "anthropic"))
        assert anthropic["type"] == "error"
        assert set(anthropic["error"]) >= {"type", "message"}
        assert anthropic["error"]["message"] == message

    @pytest.mark.parametrize(
        ("status", "kind", "theirs"),
        [
            (400, "invalid_request_error", "BadRequestError"),
            (400, "invalid_request_error", "Bad Request"),
            (404, "invalid_request_error", "NotFoundError"),
            (500, "server_error", "InternalServerError"),
            (501, "server_error", "NotImplementedError"),
            (429, "rate_limit_error", "TooManyRequestsError"),
            (400, "content_policy", "content_policy"),
        ],
    )
    def test_a_class_of_python_becomes_the_apis_type_and_another_api_s_own_stays(
        self, status: int, kind: str, theirs: str
    ) -> None:
        body = json.dumps({"error": {"message": "no", "type": theirs, "param": "prompt", "code": status}}).encode()
        error = json.loads(normalise_engine_error(status, body, "openai"))["error"]
        assert error == {"message": "no", "type": kind, "param": "prompt", "code": "engine_error"}

    @pytest.mark.parametrize(
        ("status", "error", "code"),
        [
            (
                400,
                {"message": "This model's maximum context length is 8 tokens.", "code": 400},
                "context_length_exceeded",
            ),
            (404, {"message": "The model `x` does not exist.", "param": "model", "code": 404}, "model_not_found"),
            (404, {"message": "no such response", "param": "response_id", "code": 404}, "response_not_found"),
            (400, {"message": "no", "code": "invalid_image"}, "invalid_image"),
            (400, {"message": "no", "code": "400"}, "engine_error"),
            (400, {"message": "no", "code": None}, "engine_error"),
            (400, {"message": "no", "code": {"a": 1}}, "engine_error"),
        ],
    )
    def test_the_code_is_a_word_that_clients_look_for_and_never_a_number(
        self, status: int, error: dict[str, object], code: str
    ) -> None:
        body = json.dumps({"error": error}).encode()
        assert json.loads(normalise_engine_error(status, body, "openai"))["error"]["code"] == code

    def test_a_field_that_is_no_word_is_not_passed_on(self) -> None:
        body = b'{"error":{"message":"no","type":["x"],"param":{"a":1}}}'
        error = json.loads(normalise_engine_error(400, body, "openai"))["error"]
        assert (error["type"], error["param"]) == ("invalid_request_error", None)

    def test_a_path_that_the_engine_lacks_is_said_in_words(self) -> None:
        assert b"does not serve this API path" in normalise_engine_error(404, b'{"detail":"Not Found"}', "openai")

    @given(st.integers(400, 599), st.binary(max_size=100))
    def test_garbage_is_quoted_and_never_fails(self, status: int, body: bytes) -> None:
        assert json.loads(normalise_engine_error(status, body, "openai"))["error"]["message"]

    def test_a_long_page_is_cut(self) -> None:
        assert len(normalise_engine_error(502, b"<html>" + b"x" * 100_000, "openai")) < 1000

    def test_recorded_errors_of_vllm_keep_their_words(self) -> None:
        if not RECORDED.exists():
            pytest.skip("the recorded answers of vLLM are not beside this checkout")
        seen = 0
        for path in sorted(RECORDED.glob("err_*.http")):
            status = int(path.read_bytes().split(b" ", 2)[1])
            body = path.read_bytes().rstrip().rpartition(b"\n")[2]
            if status < 400 or b'"error"' not in body:
                continue
            seen += 1
            said, told = json.loads(body)["error"], json.loads(normalise_engine_error(status, body, "openai"))["error"]
            assert (told["message"], told["param"]) == (said["message"], said["param"]), path.name
            assert told["type"] == "invalid_request_error", path.name
            assert isinstance(told["code"], str), path.name
            assert (told["code"] == "context_length_exceeded") == (CONTEXT in said["message"]), path.name
        assert seen > 20


def test_an_error_in_a_stream_of_responses_is_that_apis_event_and_has_the_error_object_too() -> None:
    name, text, *_ = error_event(failure(502), "responses").split(b"\n")
    assert name == b"event: error"
    fields = json.loads(text.removeprefix(b"data: "))
    assert fields == {
        "type": "error",
        "code": "broken",
        "message": "It broke.",
        "param": "model",
        "error": {"message": "It broke.", "type": "server_error", "param": "model", "code": "broken"},
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (402, "billing_error"),
        (408, "timeout_error"),
        (409, "conflict_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_each_status_has_anthropics_own_type(status: int, kind: str) -> None:
    assert json.loads(error_body(failure(status), "anthropic"))["error"]["type"] == kind


@pytest.mark.parametrize(
    ("status", "body", "lacks"),
    [
        (404, b'{"detail":"Not Found"}', True),
        (404, b'{"error":{"message":"The model `x` does not exist.","code":404}}', False),
        (405, b'{"detail":"Not Found"}', False),
        (404, b"Not Found", False),
        (404, b"[]", False),
    ],
)
def test_an_engine_without_the_path_is_told_from_one_that_refuses(status: int, body: bytes, lacks: bool) -> None:
    assert lacks_path(status, body) == lacks


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            {"error": {"message": "boom", "type": "InternalServerError", "param": None, "code": 500}},
            {"message": "boom", "type": "server_error", "param": None, "code": "engine_error"},
        ),
        (
            {"error": {"message": "no", "type": "BadRequestError", "param": "n", "code": 400}},
            {"message": "no", "type": "invalid_request_error", "param": "n", "code": "engine_error"},
        ),
        (
            {"error": {"message": "busy", "type": "ServiceUnavailableError", "code": 503}},
            {"message": "busy", "type": "server_error", "param": None, "code": "engine_error"},
        ),
        (
            {"error": {"message": "odd", "code": None}},
            {"message": "odd", "type": "server_error", "param": None, "code": "engine_error"},
        ),
        (
            {"error": {"message": "odd", "code": 99999999999}},
            {"message": "odd", "type": "server_error", "param": None, "code": "engine_error"},
        ),
    ],
)
def test_an_engines_error_in_a_stream_has_the_one_shape(event: dict[str, Any], told: dict[str, Any]) -> None:
    wire = b"data: " + json.dumps(event).encode() + b"\n\n"
    assert engine_error_event(wire) == b"data: " + orjson.dumps({"error": told}) + b"\n\n"


@pytest.mark.parametrize(
    "event",
    [b"data: [DONE]\n\n", b'data: {"choices":[]}\n\n', b'data: {"error":"x"}\n\n', b": comment\n\n", b"data: {"],
)
def test_an_event_that_is_no_error_object_stays_as_it_is(event: bytes) -> None:
    assert engine_error_event(event) == event


@given(st.binary(max_size=60))
def test_any_bytes_are_an_event_or_stay_as_they_are(data: bytes) -> None:
    engine_error_event(b"data: " + data)


@pytest.mark.parametrize("code", ["0500" + "1" * 5000, "04041", "5000"])
def test_a_code_that_is_no_status_makes_an_error_of_a_stream_a_500(code: str) -> None:
    event = b"data: " + json.dumps({"error": {"message": "oops", "code": code}}).encode() + b"\n\n"
    told = json.loads(engine_error_event(event).removeprefix(b"data: "))["error"]
    plain = json.loads(normalise_engine_error(500, event.removeprefix(b"data: "), "openai"))["error"]
    assert told == plain
