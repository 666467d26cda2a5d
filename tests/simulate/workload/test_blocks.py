from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.workload.blocks import BlockIds

sizes = st.integers(1, 20_000)


def test_every_conversation_begins_with_the_common_blocks() -> None:
    ids = BlockIds(common=2)

    first, second = ids.start(1600), ids.start(1600)

    assert first.blocks[:2] == second.blocks[:2] == (0, 1)
    assert not set(first.blocks[2:]) & set(second.blocks[2:])


def test_a_grown_prompt_keeps_its_full_blocks_and_replaces_the_partial_one() -> None:
    ids = BlockIds(common=0)
    short = ids.start(700)

    long = ids.extend(short, 1500)

    assert long.blocks[0] == short.blocks[0]
    assert long.blocks[1] != short.blocks[1]
    assert len(long.blocks) == 3


@given(st.integers(0, 4), st.lists(sizes, min_size=1, max_size=20))
def test_a_prompt_always_has_the_blocks_that_its_tokens_fill(common: int, steps: list[int]) -> None:
    ids = BlockIds(common=common)
    prompt = ids.start(steps[0])
    for tokens in steps:
        before, prompt = prompt, ids.extend(prompt, tokens)

        assert len(prompt.blocks) == -(-tokens // 512)
        kept = min(before.tokens, tokens) // 512
        assert prompt.blocks[:kept] == before.blocks[:kept]
        assert len(set(prompt.blocks)) == len(prompt.blocks)
