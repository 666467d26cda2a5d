"""One output sequence: stop strings, held-back text, log probabilities."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.api.sampling import Sampling
from penstock.simulate.engine.api.sequence import OutputSequence, Piece
from penstock.simulate.engine.core import TokenOutput
from penstock.simulate.engine.text import tokenizer

STOP_WORDS = st.lists(st.text(alphabet="abc ", min_size=1, max_size=4), min_size=1, max_size=3)


def sequence(**given_values: Any) -> OutputSequence:
    return OutputSequence(0, [1, 2], Sampling(**given_values), seed=0)


def feed(one: OutputSequence, text: str, *, size: int = 1) -> list[Piece]:
    """Pushes text token by token until the sequence ends; the last token ends it by length."""
    ids = tokenizer().encode(text)
    pieces = []
    for at in range(0, len(ids), size):
        part = tuple(ids[at : at + size])
        is_last = at + size >= len(ids)
        pieces.append(one.push(TokenOutput("r", part, "length" if is_last else None)))
        if one.finish_reason is not None:
            break
    return pieces


def test_text_comes_out_as_it_goes_in() -> None:
    one = sequence()

    assert "".join(piece.text for piece in feed(one, "the river, café 🚀 ends")) == "the river, café 🚀 ends"
    assert one.finish_reason == "length"


@given(st.text(alphabet="abc ", max_size=40), STOP_WORDS, st.booleans(), st.integers(1, 4))
def test_text_ends_at_the_first_stop_string_and_nothing_after_it_is_shown(
    text: str, stops: list[str], include: bool, size: int
) -> None:
    one = sequence(stop=tuple(stops), include_stop=include)

    shown = "".join(piece.text for piece in feed(one, text, size=size))

    assert shown == one.text
    if one.stop_reason is None:
        assert shown == text
        assert not any(stop in text for stop in stops)
    else:
        stop = str(one.stop_reason)
        assert one.finish_reason == "stop"
        assert stop in stops
        if include:
            assert shown.endswith(stop)
            assert text.startswith(shown)
        else:
            assert (shown + stop) == text[: len(shown) + len(stop)]
        if len(stops) == 1 and not include:
            assert stop not in shown


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    one = sequence(stop=("abcd",))

    pieces = feed(one, "zzabc")

    assert all("a" not in piece.text for piece in pieces[:-1])
    assert pieces[-1].text.endswith("abc")


def test_a_stop_string_before_min_tokens_does_not_stop() -> None:
    one = sequence(stop=("a",), min_tokens=2)

    feed(one, "abab")

    assert one.finish_reason in ("stop", "length")
    assert len(one.token_ids) > 1


@pytest.mark.parametrize(("include", "shown"), [(False, ""), (True, "a")])
def test_a_stop_token_is_counted_and_shown_only_on_request(include: bool, shown: str) -> None:
    one = sequence(include_stop=include)

    piece = one.push(TokenOutput("r", (ord("a"),), "stop", ord("a")))

    assert piece.text == shown
    assert piece.stop_reason == ord("a")
    assert one.token_ids == [ord("a")]


def test_the_end_of_sequence_is_counted_and_never_shown() -> None:
    one = sequence(skip_special_tokens=False)

    piece = one.push(TokenOutput("r", (ord("a"), tokenizer().eos_id), "stop"))

    assert piece.text == "a"
    assert len(one.token_ids) == 2


def test_log_probabilities_are_one_for_each_token_the_chosen_alternatives_first() -> None:
    one = sequence(logprobs=3)

    piece = one.push(TokenOutput("r", tuple(tokenizer().encode("the river"))))

    assert piece.logprobs is not None
    assert len(piece.logprobs) == len(piece.token_ids)
    for scored in piece.logprobs:
        values = [value for _, value in scored.top]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert scored.logprob < 0
