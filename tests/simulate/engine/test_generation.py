"""What the simulated model says."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.generation import Continuation, context_hash
from penstock.simulate.engine.text import Detokenizer, chat_template, tokenizer

T = tokenizer()
IDS = st.lists(st.integers(min_value=0, max_value=T.vocab_size - 1), max_size=40)
SEEDS = st.integers(min_value=0, max_value=2**63)


def _generate(ids: list[int], seed: int, count: int, *, allow_eos: bool = False) -> list[int]:
    continuation = Continuation(ids, seed)
    made: list[int] = []
    while len(made) < count and (not made or made[-1] != T.eos_id):
        made.append(continuation.next_id(allow_eos=allow_eos))
        continuation.append(made[-1])
    return made


@given(ids=IDS, seed=SEEDS, cut=st.integers(min_value=0, max_value=60))
def test_continued_at_any_cut_the_rest_is_the_same(ids: list[int], seed: int, cut: int) -> None:
    whole = _generate(ids, seed, 60)
    assert _generate(ids + whole[:cut], seed, 60 - cut) == whole[cut:]


@given(ids=IDS, extra=IDS)
def test_hash_of_a_context_grows_token_by_token(ids: list[int], extra: list[int]) -> None:
    grown = Continuation(ids)
    for token in extra:
        grown.append(token)
    fresh = Continuation(ids + extra)
    assert [grown.next_id(), grown.ranked(4)] == [fresh.next_id(), fresh.ranked(4)]
    assert context_hash(ids + extra) == context_hash(tuple(ids + extra))


def test_seed_and_any_token_of_the_context_change_the_text() -> None:
    ids = chat_template([{"role": "user", "content": "Tell me of the river and the sea."}])
    texts = {tuple(_generate(ids, seed, 40)) for seed in range(20)}
    assert len(texts) == 20
    for place in range(len(ids)):
        changed = [*ids[:place], (ids[place] + 1) % T.special_start, *ids[place + 1 :]]
        assert _generate(changed, 0, 40) != _generate(ids, 0, 40)


@given(seed=SEEDS)
def test_text_without_its_last_incomplete_character_encodes_to_the_same_ids(seed: int) -> None:
    ids = chat_template([{"role": "user", "content": "Go on."}])
    made = _generate(ids, seed, 80)
    detokenizer = Detokenizer()
    complete = 0
    text = ""
    for place, token in enumerate(made, start=1):
        text += detokenizer.push([token])
        complete = complete if detokenizer.is_inside_character else place
    assert T.encode(text) == made[:complete]


def test_lengths_look_natural() -> None:
    ids = chat_template([{"role": "user", "content": "Hello"}])
    lengths = [len(_generate(ids, seed, 5000, allow_eos=True)) for seed in range(400)]
    assert 150 < statistics.mean(lengths) < 350
    assert 80 < statistics.median(lengths) < 250
    assert statistics.stdev(lengths) > 100


def test_text_has_words_sentences_and_characters_of_several_tokens() -> None:
    ids = chat_template([{"role": "user", "content": "Hello"}])
    text = T.decode(_generate(ids, 3, 4000))
    assert text[0].isupper()
    assert text.count(". ") > 50
    assert sum(not c.isascii() for c in text) > 10
    assert "\ufffd" not in text[:-4]


@given(ids=IDS, seed=SEEDS)
def test_end_of_sequence_is_never_given_where_it_is_not_allowed(ids: list[int], seed: int) -> None:
    assert T.eos_id not in _generate(ids, seed, 50)


@given(ids=IDS, seed=SEEDS, count=st.integers(min_value=1, max_value=20))
def test_ranking_starts_with_the_chosen_token_and_falls(ids: list[int], seed: int, count: int) -> None:
    continuation = Continuation(ids, seed)
    ranked = continuation.ranked(count)
    assert len(ranked) == count
    assert len({token for token, _ in ranked}) == count
    assert ranked[0][0] == continuation.next_id()
    values = [value for _, value in ranked]
    assert values == sorted(values, reverse=True)
    assert all(value < 0 for value in values)
    assert all(value == continuation.logprob(token) for token, value in ranked)


def test_ids_beyond_the_vocabulary_are_a_context_like_any_other() -> None:
    assert Continuation([10**6, 2 * 10**6]).next_id() < T.vocab_size
