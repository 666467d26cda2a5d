"""Answers of the admin port are JSON, and errors have OpenAI's shape."""

from __future__ import annotations

import orjson
from starlette.requests import Request

from penstock.serve.io.answers import error_answer, json_answer


def request(accept: str) -> Request:
    return Request({"type": "http", "headers": [(b"accept", accept.encode())]})


def test_json_is_indented_for_a_person_and_compact_for_a_program() -> None:
    assert json_answer({"a": 1}, request=request("text/html,*/*")).body == b'{\n  "a": 1\n}\n'
    assert json_answer({"a": 1}, request=request("application/json")).body == b'{"a":1}'


def test_an_error_says_what_whose_and_which_status() -> None:
    answer = error_answer(404, "Nothing is here")
    assert answer.status_code == 404
    assert orjson.loads(answer.body)["error"] == {
        "message": "Nothing is here",
        "type": "invalid_request_error",
        "param": None,
        "code": 404,
    }
    assert orjson.loads(error_answer(500, "x").body)["error"]["type"] == "server_error"
