"""The same request gets the same words; another seed gets others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.system.text import cut_up, prompt_ids, say, spelled, token_ids

ASKED = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}


def test_a_seed_or_greedy_sampling_decides_the_text_and_chance_does_not() -> None:
    for more in ({"seed": 3}, {"temperature": 0}):
        assert say({**ASKED, **more}, 1) == say({**ASKED, **more}, 2)
    assert say({**ASKED, "seed": 3}, 1).text != say({**ASKED, "seed": 4}, 1).text
    assert say(ASKED, 1).text != say(ASKED, 2).text


def test_a_limit_cuts_the_same_text_and_says_so() -> None:
    whole = say({**ASKED, "seed": 3}, 0)
    cut = say({**ASKED, "seed": 3, "max_tokens": 2}, 0)
    assert (cut.tokens, cut.finish, whole.finish) == (whole.tokens[:2], "length", "stop")
    assert cut.usage["completion_tokens"] == 2
    assert cut.usage["total_tokens"] == cut.usage["prompt_tokens"] + 2


@given(st.text(max_size=40), st.integers(0, 80), st.booleans())
def test_from_its_tokens_a_greedy_text_goes_on_as_if_it_had_not_been_cut(words: str, cut: int, is_chat: bool) -> None:
    asked = {"model": "chat", "temperature": 0, "messages": [{"role": "user", "content": words}]}
    whole = say(asked, 0)
    begun = token_ids(whole.tokens[:cut])
    ids = prompt_ids(asked) + begun
    again = {"kv_transfer_params": {"prompt_token_ids": ids}} if is_chat else {"prompt": ids, "messages": None}
    rest = say({**asked, **again}, 1)
    assert (rest.text, rest.finish, rest.given) == (whole.text, "stop", len(begun))
    assert whole.usage["prompt_tokens"] == len(ids) - len(begun)
    assert rest.own_usage["completion_tokens"] == len(whole.tokens) - len(begun)


def test_tokens_that_a_greedy_model_would_not_say_are_not_gone_on_from() -> None:
    asked = {**ASKED, "temperature": 0}
    other = next(n for n in range(20) if n != token_ids(say(asked, 0).tokens[:1])[0])
    with pytest.raises(ValueError, match="is not how"):
        say({**asked, "kv_transfer_params": {"prompt_token_ids": [*prompt_ids(asked), other]}}, 0)


def test_a_draw_goes_on_from_any_tokens() -> None:
    ids = [*prompt_ids(ASKED), 3, 4]
    assert say({**ASKED, "kv_transfer_params": {"prompt_token_ids": ids}}, 1).text.startswith(spelled([3, 4]))


@given(st.lists(st.integers(0, 19), max_size=20))
def test_a_text_is_cut_up_into_tokens_that_spell_it(ids: list[int]) -> None:
    assert spelled(cut_up(spelled(ids))) == spelled(ids)
