"""What vLLM says of bodies that do not fit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.api.chat_request import CHAT
from penstock.simulate.engine.api.checks import check_chat
from penstock.simulate.engine.api.completion_request import COMPLETION
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.validation import check_content_type, parse_body, parse_json


def failure_of(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_body(CHAT, body, check_chat)
    return caught.value


def status_of(body: bytes) -> int:
    try:
        parse_body(CHAT, body, check_chat)
    except ApiError as error:
        return error.status
    return 200


def test_an_empty_body_is_a_missing_body() -> None:
    error = failure_of(b"")

    assert error.param == "body"
    assert error.message == (
        "1 validation error:\n  {'type': 'missing', 'loc': 'body', 'msg': 'Field required', 'input': 'None'}"
    )


@pytest.mark.parametrize(("body", "place"), [(b'{"model":"tiny","messages":[', 28), (b"nonsense", 0), (b'{"a":1,}', 7)])
def test_malformed_json_is_told_its_position(body: bytes, place: int) -> None:
    error = failure_of(body)

    assert error.param == f"body.{place}"
    assert "'type': 'json_invalid'" in error.message


def test_bytes_that_are_no_text_are_refused() -> None:
    assert failure_of(b'{"model": "\xff"}').status == 400


def test_a_wrong_type_names_its_field_and_shows_its_input() -> None:
    error = failure_of(b'{"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}')

    assert error.param == "body.temperature"
    assert "'loc': 'body.temperature'" in error.message
    assert "'input': 'hot'" in error.message


def test_several_findings_are_counted_and_the_first_is_the_parameter() -> None:
    error = failure_of(b'{"n": "a", "seed": "b"}')

    assert error.message.startswith("3 validation errors:\n")
    assert error.param == "body.messages"


def test_a_body_that_is_no_object_is_refused() -> None:
    assert failure_of(b"[1, 2]").param == "body"


def test_branches_of_a_union_do_not_show_in_the_place() -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(COMPLETION, b'{"prompt": [-5]}')

    assert caught.value.message.count("'loc': 'body.prompt.0'") == 3


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_is_accepted_as_json(kind: str) -> None:
    check_content_type(kind)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "multipart/form-data"])
def test_other_content_types_are_refused(kind: str | None) -> None:
    with pytest.raises(ApiError, match="Unsupported Media Type"):
        check_content_type(kind)


def test_numbers_that_only_python_reads_are_read() -> None:
    assert parse_json(b'{"a": Infinity}') == {"a": float("inf")}


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_a_400(body: bytes) -> None:
    assert status_of(body) in (200, 400)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(sorted({*CHAT.json_schema()["properties"]}))


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_value_in_any_field_is_a_request_or_a_400(fields: dict[str, object]) -> None:

    body = json.dumps({"messages": [{"role": "user", "content": "x"}]} | fields).encode()

    assert status_of(body) in (200, 400)
