"""Estimates learn the model, stay within the bound, and ask for a count only where it decides."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.admission.prompt import Prompt, read_prompt
from penstock.serve.admission.tokens import TokenEstimator, bound, measure, wants_count

TEXTS = st.lists(st.text(max_size=200), max_size=5)
REPORTS = st.lists(st.tuples(st.text(max_size=300), st.integers(-5, 10**9), st.integers(-1, 10**6)), max_size=30)


def chat(*texts: str) -> Prompt:
    return read_prompt("chat", {"messages": [{"role": "user", "content": text} for text in texts]})


def text(*texts: str) -> Prompt:
    return read_prompt("completion", {"prompt": list(texts)})


def test_before_anything_is_known_english_is_four_characters_a_token() -> None:
    assert TokenEstimator().estimate(text("word " * 800)) == pytest.approx(1000, rel=0.02)


def test_ids_are_counted_and_never_estimated() -> None:
    prompt = read_prompt("completion", {"prompt": [[1, 2, 3], [4]]})
    estimator = TokenEstimator()
    assert (estimator.estimate(prompt), bound(prompt), estimator.longest(prompt, 4)) == (4, 4, 3)
    assert not wants_count(prompt, estimator, 2)


def test_bytes_of_each_script_are_told_apart() -> None:
    prompt = chat("abc", "é1", "你好")
    measure(prompt)
    assert (prompt.narrow_bytes, prompt.wide_bytes) == (3 * 4 + 3 + 1, 2 + 6)


@pytest.mark.parametrize(("narrow", "wide", "message"), [(0.33, 0.22, 7.0), (0.21, 0.5, 11.0), (0.6, 0.9, 3.0)])
def test_a_models_own_densities_are_learned_from_reports(narrow: float, wide: float, message: float) -> None:
    stream, estimator = random.Random(7), TokenEstimator()
    errors: list[float] = []
    for _ in range(300):
        texts = ["a" * stream.randrange(20, 4000) for _ in range(stream.randrange(1, 6))]
        if stream.random() < 0.5:
            texts.append("你" * stream.randrange(20, 1000))
        prompt = chat(*texts)
        measure(prompt)
        truth = narrow * prompt.narrow_bytes + wide * prompt.wide_bytes + message * (prompt.messages + 1)
        truth *= stream.uniform(0.97, 1.03)
        errors.append(abs(estimator.estimate(prompt) - truth) / truth)
        estimator.observe(prompt, round(truth))
    assert max(errors[100:]) < 0.1
    assert estimator.margin < 0.25


def test_one_odd_report_moves_little() -> None:
    estimator, prompt = TokenEstimator(), chat("word " * 400)
    for _ in range(50):
        estimator.observe(prompt, 520)
    before = estimator.estimate(prompt)
    estimator.observe(prompt, 2_000)
    assert estimator.estimate(prompt) < before * 1.25


def test_the_price_of_an_image_is_learned_apart_from_text() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:"}}
    seen = read_prompt("chat", {"messages": [{"role": "user", "content": [part, part]}]})
    estimator = TokenEstimator()
    plain = estimator.estimate(chat("hello " * 50))
    for _ in range(40):
        estimator.observe(seen, 2 * 300 + 9)
    assert estimator.estimate(seen) == pytest.approx(609, rel=0.03)
    assert estimator.estimate(chat("hello " * 50)) == plain


def test_the_usual_answer_is_learned() -> None:
    estimator = TokenEstimator()
    for _ in range(20):
        estimator.observe(chat("hi"), 10, 200)
    assert estimator.expected_output == pytest.approx(200)


@given(TEXTS, REPORTS)
def test_an_estimate_never_passes_the_bound_whatever_was_reported(
    texts: list[str], reports: list[tuple[str, int, int]]
) -> None:
    estimator = TokenEstimator()
    for said, tokens, output in reports:
        estimator.observe(chat(said), tokens, output)
    for prompt in (chat(*texts), text(*texts)):
        assert 1 <= estimator.estimate(prompt) <= bound(prompt)
    assert 0 < estimator.margin <= 0.6


@given(TEXTS)
def test_the_bound_holds_for_a_token_a_byte(texts: list[str]) -> None:
    assert sum(len(t.encode("utf-8", "surrogatepass")) for t in texts) <= bound(text(*texts))


def test_covariance_stays_sound_over_a_long_life() -> None:
    estimator, stream = TokenEstimator(), random.Random(3)
    for _ in range(5_000):
        estimator.observe(chat("a" * 1000), stream.choice((200, 300)))
    prompt = chat("你" * 500)
    estimator.observe(prompt, 400)
    assert 250 < estimator.estimate(chat("a" * 1000)) < 320 or 180 < estimator.estimate(chat("a" * 1000)) <= 250
    assert 300 < estimator.estimate(prompt) < 500


def test_a_count_is_wanted_only_near_a_limit() -> None:
    estimator, prompt = TokenEstimator(), text("word " * 800)  # some 1,000; at most 4,003
    assert not wants_count(prompt, estimator, None)
    assert not wants_count(prompt, estimator, 100_000)
    assert wants_count(prompt, estimator, 1_100)
    assert wants_count(prompt, estimator, 500)
    assert not wants_count(text("ab"), estimator, 10), "the bound settles it"


def test_of_several_prompts_the_longest_counts() -> None:
    estimator, prompts = TokenEstimator(), text("word " * 100, "word " * 300)
    assert estimator.longest(prompts, 400) == 300
