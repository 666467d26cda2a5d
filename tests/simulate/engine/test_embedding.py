"""Embeddings."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.embedding import embed, similarity
from penstock.simulate.engine.text import tokenizer


def _embed(text: str, dims: int = 384) -> list[float]:
    return embed(tokenizer().encode(text), dims)


@given(ids=st.lists(st.integers(min_value=0, max_value=6000)), dims=st.integers(min_value=1, max_value=200))
def test_length_is_one_and_the_same_ids_give_the_same_vector(ids: list[int], dims: int) -> None:
    vector = embed(ids, dims)
    assert len(vector) == dims
    assert math.fsum(v * v for v in vector) == pytest.approx(1.0)
    assert embed(ids, dims) == vector


def test_texts_that_share_words_are_closer() -> None:
    river = _embed("The river flows to the sea")
    assert similarity(river, _embed("A river flows near the sea")) > 0.5
    assert abs(similarity(river, _embed("Tokens per second on one GPU"))) < 0.3
    assert similarity(river, river) == pytest.approx(1.0)


def test_order_of_words_matters_a_little() -> None:
    one, other = _embed("sea river"), _embed("river sea")
    assert one != other
    assert similarity(one, other) > 0.5
