"""An embedding model end to end."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from simulate.io.engine.running import RunningEngine, running_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine(task="embed") as running:
        yield running


def vectors(engine: RunningEngine, inputs: Any, **fields: Any) -> list[Any]:
    data = engine.post("/v1/embeddings", {"input": inputs} | fields).json["data"]
    return [item["embedding"] for item in data]


def test_vectors_have_length_one_and_depend_on_the_text_alone(engine: RunningEngine) -> None:
    one, same, other = vectors(engine, ["the river", "the river", "a table"])

    assert one == same != other
    assert math.isclose(math.hypot(*one), 1.0, rel_tol=1e-6)
    assert len(one) == 384


def test_base64_holds_the_same_floats(engine: RunningEngine) -> None:
    (plain,) = vectors(engine, "the river")
    (packed,) = vectors(engine, "the river", encoding_format="base64")

    assert struct.unpack("<384f", base64.b64decode(packed)) == pytest.approx(plain, rel=1e-6)


def test_a_conversation_is_embedded_too(engine: RunningEngine) -> None:
    answer = engine.post("/v1/embeddings", {"messages": [{"role": "user", "content": "hi"}]})

    assert len(answer.json["data"]) == 1


def test_what_shares_words_scores_higher(engine: RunningEngine) -> None:
    documents = ["the market fell", "the river runs to the sea"]

    scores = engine.post("/score", {"text_1": "the river and the sea", "text_2": documents}).json["data"]
    results = engine.post("/rerank", {"query": "the river and the sea", "documents": documents, "top_n": 1}).json

    assert scores[1]["score"] > scores[0]["score"]
    assert [result["index"] for result in results["results"]] == [1]
    assert results["results"][0]["relevance_score"] == pytest.approx(scores[1]["score"])


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/score", {"text_1": ["a", "b"], "text_2": ["c"]}, "1:1, 1:N or N:N"),
        ("/score", {"text_1": "a", "text_2": []}, "At least one text_pair"),
        ("/rerank", {"query": "a", "documents": []}, "At least one text_pair"),
        ("/v1/embeddings", {"input": []}, "at least one prompt"),
        ("/v1/embeddings", {"input": "a", "dimensions": 3}, "Matryoshka"),
    ],
)
def test_what_cannot_be_compared_is_refused(engine: RunningEngine, path: str, body: dict[str, Any], words: str) -> None:
    answer = engine.post(path, body)

    assert answer.status == 400
    assert words in answer.json["error"]["message"]


def test_embedding_is_counted_as_success_without_output() -> None:
    with running_engine(task="embed") as engine:
        vectors(engine, ["one", "two"])
        values = engine.metrics()
    labels = '{engine="0",model_name="minilm"}'

    assert values['vllm:request_success_total{engine="0",finished_reason="stop",model_name="minilm"}'] == 2
    assert values[f"vllm:generation_tokens_total{labels}"] == 0
    assert values[f"vllm:request_params_n_sum{labels}"] == 2


def test_faults_reach_embeddings() -> None:
    with running_engine(task="embed", has_faults=True) as engine:
        engine.post("/fault", {"mode": "error500", "count": 1})

        assert engine.post("/v1/embeddings", {"input": "a"}).status == 500
        assert engine.post("/v1/embeddings", {"input": "a"}).status == 200


def test_coheres_api_embeds_the_same_in_its_own_shape(engine: RunningEngine) -> None:
    texts = ["the river", "a table"]
    asked = {"texts": texts, "embedding_types": ["base64", "float", "ubinary", "binary"]}

    answer = engine.post("/v2/embed", asked).json

    plain = vectors(engine, texts)
    assert list(answer["embeddings"]) == ["float", "binary", "ubinary", "base64"]
    assert answer["embeddings"]["float"] == plain
    first = struct.unpack("<384f", base64.b64decode(answer["embeddings"]["base64"][0]))
    assert first == pytest.approx(plain[0], rel=1e-6)
    byte = sum((value >= 0) << (7 - place) for place, value in enumerate(plain[0][:8]))
    assert answer["embeddings"]["ubinary"][0][0] == byte
    assert answer["embeddings"]["binary"][0][0] == byte - 128
    assert len(answer["embeddings"]["binary"][0]) == 48
    assert (answer["texts"], answer["response_type"]) == (texts, "embeddings_by_type")
    assert answer["meta"]["billed_units"]["input_tokens"] > 0


def test_coheres_inputs_of_parts_are_texts_and_long_ones_are_cut(engine: RunningEngine) -> None:
    inputs = [{"content": [{"type": "text", "text": "the river"}]}]

    parts = engine.post("/v2/embed", {"inputs": inputs}).json
    long = engine.post("/v2/embed", {"texts": ["word " * 5000]})
    refused = engine.post("/v2/embed", {"texts": ["word " * 5000], "truncate": "NONE"})

    assert parts["embeddings"]["float"] == vectors(engine, ["the river"])
    assert "texts" not in parts
    assert (long.status, refused.status) == (200, 400)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Exactly one of texts, images, or inputs"),
        ({"texts": []}, "Exactly one of texts, images, or inputs"),
        ({"texts": ["a"], "images": ["data:,"]}, "Exactly one of texts, images, or inputs"),
        ({"texts": ["a"], "input_type": "search_query"}, "Unsupported input_type 'search_query'."),
        ({"images": ["data:image/png;base64,AA"]}, "is not a multimodal model"),
        (
            {"inputs": [{"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "is not a multimodal model",
        ),
    ],
)
def test_what_coheres_api_or_the_model_does_not_take_is_refused(
    engine: RunningEngine, fields: dict[str, Any], words: str
) -> None:
    answer = engine.post("/v2/embed", fields)

    assert answer.status == 400
    assert words in answer.json["error"]["message"]
