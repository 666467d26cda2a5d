"""Type checks of request bodies: what is wrong is named by its path, what is right passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.fields import SCHEMAS, wrong_field

RECORDED = Path(__file__).resolve().parents[3].parent / "shared" / "reference" / "vllm-api"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("stream", "true", "expected true or false, got a string"),
        ("stream", 1, "expected true or false, got an integer"),
        ("max_tokens", "5", "expected an integer, got a string"),
        ("max_tokens", True, "expected an integer, got true or false"),
        ("max_tokens", 1.5, "expected an integer, got a number"),
        ("temperature", "hot", "expected a number, got a string"),
        ("temperature", False, "expected a number, got true or false"),
        ("stop", [1], "expected a string or an array of strings, got an array"),
        ("messages", "hi", "expected an array, got a string"),
        ("messages", {}, "expected an array, got an object"),
        ("stream_options", [], "expected an object, got an array"),
        ("tools", {}, "expected an array, got an object"),
        ("model", 5, "expected a string, got an integer"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_expected_and_what_came(field: str, value: object, words: str) -> None:
    wrong = wrong_field("chat", CHAT | {field: value})
    assert wrong is not None
    assert wrong[0] == field
    assert words in wrong[1]


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        ([], "messages"),
        (["hi"], "messages[0]"),
        ([{"role": "user"}, None], "messages[1]"),
        ([{"role": "user"}, {"content": "x"}], "messages[1].role"),
        ([{"role": 5}], "messages[0].role"),
    ],
)
def test_a_wrong_message_is_named_by_its_place(messages: list[object], path: str) -> None:
    wrong = wrong_field("chat", CHAT | {"messages": messages})
    assert wrong is not None
    assert wrong[0] == path


@pytest.mark.parametrize(("schema", "field"), [(s, f) for s, (_, required) in SCHEMAS.items() for f in required])
def test_a_missing_field_is_named(schema: str, field: str) -> None:
    assert wrong_field(schema, {"model": "m"}) is not None
    present = {name: [{"role": "user"}] for name in SCHEMAS[schema][1]}
    wrong = wrong_field(schema, {k: v for k, v in present.items() if k != field})
    assert wrong is not None
    assert wrong[0] == field
    assert wrong[1].startswith("Missing")


def test_null_counts_as_not_given() -> None:
    assert wrong_field("chat", CHAT | {"max_tokens": None, "stop": None, "stream": None}) is None
    assert wrong_field("chat", CHAT | {"messages": None}) is not None


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        ("rerank", {"query": "q", "documents": "one"}),
        ("rerank", {"query": {"content": []}, "documents": {"content": []}}),
        ("embeddings", {"input": [[1, 2], [3]]}),
        ("embeddings", {"messages": [[{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}]]}),
        ("score", {"text_1": "a", "text_2": ["b", "c"]}),
        ("completion", {"prompt": [1, 2, 3], "logprobs": 5}),
        ("completion", {"prompt_embeds": "AA=="}),
        ("responses", {"input": [{"role": "user", "content": "x"}]}),
        ("tokenize", {"messages": [{"role": "user", "content": "x"}]}),
    ],
)
def test_every_form_that_the_engine_takes_passes(schema: str, body: dict[str, object]) -> None:
    assert wrong_field(schema, {"model": "m", **body}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_any_value_in_any_field_is_right_or_named_and_never_fails(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from(sorted(SCHEMAS)))
    names = sorted({*SCHEMAS[schema][0], "input", "x"})
    body = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=5))
    wrong = wrong_field(schema, body)
    if wrong is not None:
        assert wrong[0].partition("[")[0] in {*body, *SCHEMAS[schema][1]}


@pytest.mark.parametrize(
    ("prefix", "schema"),
    [
        ("chat_", "chat"),
        ("comp_", "completion"),
        ("emb_", "embeddings"),
        ("responses_", "responses"),
        ("rerank", "rerank"),
    ],
)
def test_recorded_requests_that_vllm_took_pass(prefix: str, schema: str) -> None:
    if not RECORDED.exists():
        pytest.skip("the recorded answers of vLLM are not beside this checkout")
    taken = [
        path
        for path in sorted(RECORDED.glob(f"{prefix}*.req.json"))
        if path.with_suffix("").with_suffix(".http").read_bytes().startswith(b"HTTP/1.1 200")
        and not {"tokenize", "batch"} & set(path.name.partition(".")[0].split("_")[1:])
    ]
    assert taken
    for path in taken:
        assert wrong_field(schema, json.loads(path.read_text())) is None, path.name
