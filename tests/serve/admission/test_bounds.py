"""What may go on, what is changed, and what is refused in whose words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.serve.admission.bounds import Shaped, needs_count, shape_request
from penstock.serve.admission.policy import CallerLimits, RequestBounds, compile_bounds
from penstock.serve.admission.prompt import read_prompt
from penstock.serve.admission.tokens import TokenEstimator
from penstock.serve.wire.errors import Failure
from penstock.spec import RequestsSpec

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "reference" / "vllm-api"
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Say hello to the world"}]}


def bounds(context: int | None = 1024, **said: Any) -> RequestBounds:
    model = RequestsSpec(output_tokens_default=said.pop("output_tokens_default", None))
    return compile_bounds(RequestsSpec(**said), model, context=context, version="0.32.0")


def shape(
    fields: dict[str, Any],
    under: RequestBounds | None = None,
    *,
    schema: str = "chat",
    limits: CallerLimits | None = None,
    counted: int | None = None,
) -> Shaped | Failure:
    prompt, rules = read_prompt(schema, fields), under or bounds()
    limits = limits or CallerLimits()
    return shape_request(schema, fields, prompt, rules, TokenEstimator(), limits=limits, counted=counted)


def shaped(fields: dict[str, Any], under: RequestBounds | None = None, **more: Any) -> Shaped:
    result = shape(fields, under, **more)
    assert isinstance(result, Shaped), result
    return result


def failure(fields: dict[str, Any], under: RequestBounds | None = None, **more: Any) -> Failure:
    result = shape(fields, under, **more)
    assert isinstance(result, Failure), result
    return result


def applied(fields: dict[str, Any], edits: Any) -> dict[str, Any]:
    return {name: value for name, value in (fields | dict(edits)).items() if value is not None or name not in edits}


def test_output_is_bounded_and_reserved_for_each_chat_of_a_batch() -> None:
    batch = {"model": "m", "messages": [CHAT["messages"]] * 3, "max_tokens": 100}
    result = shaped(batch, bounds(output_tokens_max=50), schema="chats")
    assert result.edits == {"max_tokens": 50}
    assert result.output_tokens == 150
    long = [CHAT["messages"], [{"role": "user", "content": "word " * 5_000}]]
    assert failure({**batch, "messages": long}, schema="chats").code == "context_length_exceeded"


@pytest.mark.parametrize("truncate", [None, "END", "START"])
def test_texts_that_coheres_api_cuts_are_not_too_long(truncate: str | None) -> None:
    long = {"model": "m", "texts": ["word " * 5_000], "truncate": truncate}
    assert shaped(long, schema="embed").edits == {}
    refused = failure({**long, "truncate": "NONE"}, schema="embed")
    assert (refused.code, refused.param) == ("context_length_exceeded", "texts")


def test_a_request_within_all_bounds_is_not_touched() -> None:
    result = shaped({**CHAT, "max_tokens": 8, "stop": ["a", "b"], "temperature": 0.2, "frobnicate": 1})
    assert result.edits == {}
    assert result.headers == b""
    assert (result.output_tokens, result.output_limit) == (8, 8)


# ---------------------------------------------------------------------- the length of the prompt


def test_a_prompt_over_the_context_is_refused_in_openais_words() -> None:
    found = failure(CHAT, counted=1025)
    assert (found.status, found.code, found.param) == (400, "context_length_exceeded", "messages")
    assert found.message == (
        "This model's maximum context length is 1024 tokens. However, your messages resulted in 1025 tokens. "
        "Please reduce the length of the messages."
    )


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_and_one_token_is_room() -> None:
    assert failure(CHAT, counted=1024).code == "context_length_exceeded"
    assert shaped(CHAT, counted=1023).output_tokens == 1


def test_an_embedding_may_fill_the_context() -> None:
    shaped({"input": "x"}, schema="embeddings", counted=1024)
    assert failure({"input": "x"}, schema="embeddings", counted=1025).param == "input"


def test_anthropic_clients_get_their_own_words() -> None:
    body = {"messages": CHAT["messages"], "max_tokens": 5}
    assert failure(body, schema="messages", counted=2000).message == "prompt is too long: 2000 tokens > 1024 maximum"


def test_ids_are_exact_without_a_count() -> None:
    found = failure({"prompt": list(range(1030))}, schema="completion")
    assert "1030 tokens." in found.message
    assert failure({"prompt": [[1], [2] * 1030]}, schema="completion").code == "context_length_exceeded"
    shaped({"prompt": [[1] * 600, [2] * 600]}, schema="completion")


def test_an_estimate_refuses_only_what_is_far_over() -> None:
    far, near = "word " * 8_000, "word " * 1_000  # estimated at 10,000 and 1,250
    found = failure({**CHAT, "messages": [{"role": "user", "content": far}]})
    assert "(estimated)" in found.message
    assert not shaped({**CHAT, "messages": [{"role": "user", "content": near}]}).is_counted


def test_a_prompt_that_the_engine_is_to_cut_is_not_too_long() -> None:
    cut = {"prompt": [1] * 5_000, "max_tokens": 8}
    assert shaped({**cut, "truncate_prompt_tokens": 100}, schema="completion").prompt_tokens == 100
    assert shaped({**cut, "truncate_prompt_tokens": -1}, schema="completion").prompt_tokens == 1024


def test_the_smallest_of_context_model_and_key_holds_and_is_named() -> None:
    under = bounds(prompt_tokens_max=500)
    assert "takes here is 500 tokens" in failure(CHAT, under, counted=501).message
    key = CallerLimits(prompt_tokens_max=100)
    assert failure(CHAT, under, limits=key, counted=101).message.startswith("Your key's longest prompt is 100 tokens.")
    assert failure(CHAT, bounds(), limits=CallerLimits(prompt_tokens_max=0), counted=1).status == 400
    shaped(CHAT, under, limits=key, counted=100)


def test_a_count_is_asked_for_only_where_it_decides() -> None:
    def needs(words: int, under: RequestBounds, **fields: Any) -> bool:
        body = {**CHAT, "messages": [{"role": "user", "content": "word " * words}], **fields}
        return needs_count("chat", body, read_prompt("chat", body), under, TokenEstimator())

    assert not needs(10, bounds(8_192))
    assert needs(6_000, bounds(8_192))
    assert not needs(6_000, bounds(None))
    assert not needs(6_000, bounds(8_192), truncate_prompt_tokens=-1)
    assert needs(2_000, bounds(8_192, over_output="reject"), max_tokens=6_000)


# ---------------------------------------------------------------------- output


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_output_over_the_bound_is_lowered_and_said(field: str) -> None:
    result = shaped({**CHAT, field: 5_000}, bounds(output_tokens_max=200))
    assert result.edits == {field: 200}
    assert result.headers == f"x-penstock-clamped: {field}=200\r\n".encode()
    assert result.output_tokens == 200


def test_output_over_the_context_is_lowered_to_it_where_the_engine_would_refuse() -> None:
    assert shaped({**CHAT, "max_tokens": 5_000}).edits == {"max_tokens": 1024}


def test_output_that_fits_the_context_alone_is_left_to_the_engine_which_lowers_it() -> None:
    result = shaped({**CHAT, "max_tokens": 1_000}, counted=100)
    assert result.edits == {}
    assert result.output_tokens == 924


def test_a_request_without_a_limit_gets_the_default_or_the_bound() -> None:
    assert shaped(CHAT, bounds(output_tokens_default=64)).edits == {"max_tokens": 64}
    assert shaped(CHAT, bounds(output_tokens_max=32, output_tokens_default=64)).edits == {"max_tokens": 32}
    assert shaped(CHAT, limits=CallerLimits(output_tokens_max=16)).edits == {"max_tokens": 16}
    assert shaped({"input": "hi"}, bounds(output_tokens_default=9), schema="responses").edits == {
        "max_output_tokens": 9
    }
    assert shaped({"prompt": "hi"}, bounds(output_tokens_default=64), schema="completion").edits == {}


def test_the_least_that_was_asked_for_follows_when_the_most_is_lowered() -> None:
    assert shaped({**CHAT, "max_tokens": 500, "min_tokens": 300}, bounds(output_tokens_max=200)).edits == {
        "max_tokens": 200,
        "min_tokens": 200,
    }


def test_where_policy_rejects_the_client_is_told_what_is_allowed() -> None:
    under = bounds(output_tokens_max=200, over_output="reject")
    found = failure({**CHAT, "max_tokens": 500}, under)
    assert (found.code, found.param) == ("invalid_value", "max_tokens")
    assert found.message == (
        "max_tokens is too large: 500. This model supports at most 200 completion tokens, whereas you provided 500."
    )
    found = failure({**CHAT, "max_tokens": 150}, under, counted=900)
    assert found.message == (
        "This model's maximum context length is 1024 tokens. However, you requested 1050 tokens (900 in the messages, "
        "150 in the completion). Please reduce the length of the messages or completion."
    )
    shaped({**CHAT, "max_tokens": 124}, under, counted=900)


def test_a_key_that_may_have_no_output_is_told_so_but_may_embed() -> None:
    none = CallerLimits(output_tokens_max=0)
    assert failure(CHAT, limits=none).status == 403
    shaped({"input": "x"}, schema="embeddings", limits=none)


def test_every_choice_is_reserved() -> None:
    assert shaped({**CHAT, "max_tokens": 8, "n": 3}).output_tokens == 24
    assert shaped({"prompt": ["a", "b"], "max_tokens": 8, "n": 2}, schema="completion").output_tokens == 32
    assert shaped({"input": "x"}, schema="embeddings").output_tokens == 0


# ---------------------------------------------------------------------- counts, stops, foreign fields


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"n": 17}, "n", "<= 16, but got 17"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "<= 20, but got 21"),
        ({"prompt_logprobs": -1}, "prompt_logprobs", "the whole vocabulary"),
        ({"stop": [str(i) for i in range(17)]}, "stop", "at most 16"),
        ({"tools": [{}] * 257}, "tools", "at most 256"),
    ],
)
def test_too_many_is_refused_with_the_field_named(fields: dict[str, Any], param: str, words: str) -> None:
    found = failure(CHAT | fields)
    assert (found.status, found.param) == (400, param)
    assert words in found.message


def test_images_and_audio_are_bounded() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    audio = {"type": "input_audio", "input_audio": {}}
    assert failure({"messages": [{"role": "user", "content": [image] * 17}]}).message == (
        "Invalid 'messages': too many images. Expected at most 16, but got 17 instead."
    )
    assert "audio" in failure({"messages": [{"role": "user", "content": [audio] * 5}]}).message
    assert "images" in failure({"messages": [{"role": "user", "content": [image]}]}, bounds(images_max=0)).message


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        ("", None),
        ([], []),
        ([""], None),
        (["a", "a", ""], ["a"]),
        ("a", "a"),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_stops_that_stop_nothing_go(stop: Any, left: Any) -> None:
    assert applied({**CHAT, "stop": stop}, shaped({**CHAT, "stop": stop}).edits).get("stop") == left
    body = {**CHAT, "stop_sequences": stop, "max_tokens": 5}
    assert applied(body, shaped(body, schema="messages").edits).get("stop_sequences") == left


def test_repeats_do_not_count_as_stops() -> None:
    assert shaped({**CHAT, "stop": ["a"] * 30}).edits == {"stop": ["a"]}


def test_fields_that_the_engine_ignores_are_taken_out_and_named() -> None:
    result = shaped({**CHAT, "store": False, "metadata": {"a": "b"}, "service_tier": None, "user": "u"})
    assert result.edits == {"store": None, "metadata": None}
    assert result.headers == b"x-penstock-stripped: store, metadata\r\n"


def test_a_field_whose_loss_changes_the_answer_is_refused() -> None:
    found = failure({**CHAT, "guided_json": {"type": "object"}})
    assert (found.code, found.param) == ("unsupported_parameter", "guided_json")
    assert "'structured_outputs' with 'json'" in found.message
    shaped({**CHAT, "guided_json": {}}, bounds(unsupported="pass"))


def test_policy_may_refuse_or_pass_them() -> None:
    assert failure({**CHAT, "store": True}, bounds(unsupported="reject")).param == "store"
    assert shaped({**CHAT, "store": True}, bounds(unsupported="pass")).edits == {}


def test_deprecated_functions_and_the_engines_own_fields_pass() -> None:
    fields = {
        "functions": [],
        "function_call": "auto",
        "top_k": 5,
        "structured_outputs": {"json": {}},
        "cache_salt": "s",
    }
    assert shaped(CHAT | fields).edits == {}


# ---------------------------------------------------------------------- laws

VALUES = st.none() | st.integers(-2, 5_000)
BODIES = st.fixed_dictionaries(
    {"model": st.just("m")},
    optional={
        "max_tokens": VALUES,
        "max_completion_tokens": VALUES,
        "max_output_tokens": VALUES,
        "min_tokens": VALUES,
        "n": st.none() | st.integers(-1, 20),
        "best_of": st.none() | st.integers(-1, 20),
        "top_logprobs": st.none() | st.integers(-1, 30),
        "stop": st.none() | st.text(max_size=2) | st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), max_size=8),
        "store": st.none() | st.booleans(),
        "prediction": st.none() | st.just({"type": "content"}),
        "messages": st.just(CHAT["messages"]),
        "prompt": st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=3),
        "input": st.text(max_size=20),
    },
)
RULES = st.builds(
    bounds,
    st.none() | st.integers(64, 4_096),
    output_tokens_max=st.none() | st.integers(1, 3_000),
    output_tokens_default=st.none() | st.integers(1, 3_000),
    over_output=st.sampled_from([None, "clamp", "reject"]),
    unsupported=st.sampled_from([None, "strip", "reject", "pass"]),
    stops_max=st.none() | st.integers(0, 4),
    choices_max=st.none() | st.integers(1, 8),
)
LIMITS = st.builds(CallerLimits, output_tokens_max=st.none() | st.integers(1, 3_000))
SCHEMA = st.sampled_from(["chat", "completion", "responses", "messages", "embeddings"])


@given(SCHEMA, BODIES, RULES, LIMITS)
@example("completion", {"model": "m", "best_of": 2}, bounds(None), CallerLimits())
@example("completion", {"model": "m"}, bounds(None, output_tokens_max=1, over_output="reject"), CallerLimits())
def test_what_goes_on_holds_its_bounds_and_is_shaped_once(
    schema: str, fields: dict[str, Any], under: RequestBounds, limits: CallerLimits
) -> None:
    first = shape(fields, under, schema=schema, limits=limits)
    if isinstance(first, Failure):
        assert first.param is None or first.param in fields or first.code == "context_length_exceeded"
        assert first.status in (400, 403)
        return
    body = json.loads(json.dumps(applied(fields, first.edits)))
    again = shaped(body, under, schema=schema, limits=limits)
    assert again.edits == {}
    assert (again.output_tokens, again.output_limit) == (first.output_tokens, first.output_limit)
    most = [m for m in (under.output_tokens_max, limits.output_tokens_max) if m is not None]
    if schema == "chat" and most:
        asked = body.get("max_completion_tokens")
        asked = body.get("max_tokens") if asked is None else asked
        assert asked is not None
        assert asked <= min(most)
        assert (body.get("n") or 1) <= under.choices_max
    name = "stop_sequences" if schema == "messages" else "stop"
    if isinstance(body.get(name), list):
        assert "" not in body[name]
        assert len(body[name]) <= under.stops_max


# ---------------------------------------------------------------------- what vLLM answered


def recorded(name: str) -> tuple[dict[str, Any], int]:
    if not RECORDED.is_dir():
        pytest.skip("the recorded answers of vLLM are not on this machine")
    answer = (RECORDED / f"{name}.http").read_bytes()
    return json.loads((RECORDED / f"{name}.req.json").read_bytes()), int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("err_prompt_too_long_comp", "completion"),
        ("err_prompt_exact_len", "completion"),
        ("comp_prompt_plus_max_exceeds", "completion"),
        ("comp_token_ids", "completion"),
        ("comp_truncate", "completion"),
        ("err_logprobs_too_many", "chat"),
        ("chat_plain", "chat"),
        ("comp_logprobs", "completion"),
        ("comp_n2", "completion"),
    ],
)
def test_the_gateway_refuses_what_vllm_refuses_and_nothing_that_it_takes(name: str, schema: str) -> None:
    body, status = recorded(name)
    result = shape(body, bounds(1024), schema=schema)
    assert (400 if isinstance(result, Failure) else 200) == status


@pytest.mark.parametrize("name", ["err_max_tokens_too_large", "err_max_completion_tokens_too_large"])
def test_what_vllm_refuses_for_its_output_is_lowered_or_refused_as_policy_says(name: str) -> None:
    body, status = recorded(name)
    assert status == 400
    assert 1024 in shaped(body, bounds(1024)).edits.values()
    assert failure(body, bounds(1024, over_output="reject")).code == "invalid_value"
