"""Errors as vLLM sends them."""

from __future__ import annotations

import json

from penstock.simulate.engine.api.errors import (
    ApiError,
    bad_request,
    bad_value,
    engine_dead,
    model_not_found,
    not_scaled_out,
    overloaded,
)


def test_the_body_is_compact_with_keys_in_order() -> None:
    assert bad_request("no").body() == (b'{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}')


def test_a_bad_value_names_parameter_and_value() -> None:
    error = bad_value("top_p must be in (0, 1], got 2.0.", "top_p", 2.0)

    assert error.message == "top_p must be in (0, 1], got 2.0. (parameter=top_p, value=2.0)"
    assert error.param == "top_p"
    assert bad_value("Stop.", "stop").message == "Stop. (parameter=stop)"


def test_the_anthropic_body_has_type_and_message_only() -> None:
    assert json.loads(overloaded().anthropic_body()) == {
        "type": "error",
        "error": {"type": "Service Unavailable", "message": overloaded().message},
    }


def test_an_event_of_a_failed_stream_is_written_with_spaces() -> None:
    event = engine_dead().event()

    assert event.startswith(b'data: {"error": {"message": "EngineCore encountered an issue.')
    assert event.endswith(b'"type": "InternalServerError", "param": null, "code": 500}}\n\n')


def test_an_unknown_model_is_told_the_served_names() -> None:
    error = model_not_found("nope", ("tiny", "small"))

    assert (error.status, error.kind, error.param) == (404, "NotFoundError", "model")
    assert error.message == "The model `nope` does not exist. Valid aliases: tiny, small."


def test_scale_out_routes_are_forbidden() -> None:
    assert not_scaled_out().status == 403


def test_half_of_a_surrogate_pair_in_a_message_does_not_break_the_body() -> None:
    body = ApiError(404, "The model `\ud800` does not exist.", "NotFoundError").body()

    assert json.loads(body)["error"]["message"] == "The model `\ufffd` does not exist."
