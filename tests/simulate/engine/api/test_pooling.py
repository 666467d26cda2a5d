"""The answers of an embedding model."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from penstock.simulate.engine.api.envelope import Usage
from penstock.simulate.engine.api.pooling import (
    SCORE,
    PoolingEnvelope,
    embedding_body,
    pooling_body,
    rerank_body,
    score_body,
    score_texts,
)

ENVELOPE = PoolingEnvelope(id="embd-1", created=7, model="minilm", usage=Usage(4))


def test_vectors_come_as_numbers_or_as_base64_of_little_floats() -> None:
    numbers = json.loads(embedding_body(ENVELOPE, [[0.5, -1.0]], "float"))
    packed = json.loads(embedding_body(ENVELOPE, [[0.5, -1.0]], "base64"))

    assert numbers["data"] == [{"index": 0, "object": "embedding", "embedding": [0.5, -1.0]}]
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == (0.5, -1.0)


def test_pooling_calls_its_vectors_data() -> None:
    assert json.loads(pooling_body(ENVELOPE, [[1.0]], "float"))["data"] == [
        {"index": 0, "object": "pooling", "data": [1.0]}
    ]


def test_scores_keep_their_order() -> None:
    data = json.loads(score_body(ENVELOPE, [0.1, 0.9]))["data"]

    assert [(item["index"], item["score"]) for item in data] == [(0, 0.1), (1, 0.9)]


def test_reranked_documents_are_best_first_and_no_more_than_asked_for() -> None:
    results = json.loads(rerank_body(ENVELOPE, ["a", "b", "c"], [0.1, 0.9, 0.5], 2))["results"]

    assert [item["document"]["text"] for item in results] == ["b", "c"]
    assert len(json.loads(rerank_body(ENVELOPE, ["a", "b"], [0.1, 0.9], 0))["results"]) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"text_1": "a", "text_2": ["b", "c"]},
        {"data_1": "a", "data_2": ["b", "c"]},
        {"queries": "a", "documents": ["b", "c"]},
        {"queries": "a", "items": ["b", "c"]},
    ],
)
def test_one_text_on_the_left_stands_for_all_on_the_right(fields: dict[str, Any]) -> None:
    assert score_texts(SCORE.validate_python(fields)) == (["a", "a"], ["b", "c"])
