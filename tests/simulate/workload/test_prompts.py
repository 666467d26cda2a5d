from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.workload import prompts
from penstock.simulate.workload.prompts import PromptBook
from penstock.simulate.workload.request import TraceRequest


def request(tokens: int, *blocks: int) -> TraceRequest:
    return TraceRequest(at_s=0.0, prompt_tokens=tokens, output_tokens=1, prefix_blocks=blocks)


@given(st.integers(1, 40_000), st.integers(0, 80))
def test_a_prompt_has_a_word_for_each_token(tokens: int, blocks: int) -> None:
    text = PromptBook(0).text(request(tokens, *range(min(blocks, -(-tokens // 512)))), serial=1)

    assert len(text.split()) == tokens
    assert text == " ".join(text.split())


def test_the_same_seed_and_request_give_the_same_text_and_another_seed_another() -> None:
    assert PromptBook(1).text(request(900, 4), 2) == PromptBook(1).text(request(900, 4), 2)
    assert PromptBook(1).text(request(900, 4), 2) != PromptBook(2).text(request(900, 4), 2)


def test_shared_blocks_are_shared_words_and_the_rest_differs_at_once() -> None:
    book = PromptBook(0)

    a = book.text(request(1500, 7, 8), serial=1).split()
    b = book.text(request(1500, 7, 9), serial=2).split()

    assert a[:512] == b[:512]
    assert a[512:520] != b[512:520]


def test_requests_that_share_nothing_differ_from_the_first_words() -> None:
    book = PromptBook(0)

    fronts = {tuple(book.text(request(100), serial).split()[:8]) for serial in range(500)}

    assert len(fronts) == 500


def test_a_partial_last_block_is_the_front_of_the_whole_block() -> None:
    book = PromptBook(0)

    assert book.text(request(512, 3), 1).startswith(book.text(request(100, 3), 2) + " ")


@given(st.integers(1, 20_000), st.floats(0.1, 2.0))
def test_with_another_ratio_the_words_follow_it_and_sharing_stays(tokens: int, words_per_token: float) -> None:
    book = PromptBook(0, words_per_token=words_per_token)
    blocks = tuple(range(-(-tokens // 512)))

    text = book.text(request(tokens, *blocks), 1)

    assert len(text.split()) == pytest.approx(tokens * words_per_token, rel=0.01, abs=1.0)
    longer = book.text(request(tokens + 512, *blocks[: tokens // 512]), 2)
    shared = tokens // 512 * round(512 * words_per_token)
    assert longer.split()[:shared] == text.split()[:shared]


def test_a_sample_is_text_of_the_same_words() -> None:
    assert len(PromptBook(3).sample(200).split()) == 200


def test_the_cache_of_blocks_is_bounded_and_changes_no_text(monkeypatch: object) -> None:
    book = PromptBook(0)
    first = book.text(request(512, 0), 0)

    for block in range(prompts._BLOCKS_KEPT_MAX + 10):
        book.text(request(512, block), 0)

    assert len(book._blocks) == prompts._BLOCKS_KEPT_MAX
    assert book.text(request(512, 0), 0) == first
