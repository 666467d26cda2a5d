"""The same request gets the same words; another seed gets others."""

from __future__ import annotations

from penstock.simulate.system.text import say

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
