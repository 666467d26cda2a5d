from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.fleet.prefix import block_hashes

IDS = st.lists(st.integers(0, 3), max_size=5)


@given(one=IDS, two=IDS, size=st.sampled_from([16, 32, 48, 128, 512, 1024]))
def test_leading_hashes_are_equal_as_far_as_leading_ids_are(one: list[int], two: list[int], size: int) -> None:
    first, second = (block_hashes(ids, 512 * len(ids), size) for ids in (one, two))
    alike = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))

    same = next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )

    assert same == alike * 512 // size
    assert len(set(first)) == len(first)
    assert not set(first[same:]) & set(second[same:])  # also not at another place


@given(ids=st.lists(st.integers(), max_size=4), prompt=st.integers(1, 3000), size=st.integers(1, 600))
def test_only_full_blocks_of_the_prompt_that_ids_name_have_a_hash(ids: list[int], prompt: int, size: int) -> None:
    assert len(block_hashes(ids, prompt, size)) == min(prompt, 512 * len(ids)) // size


def test_hashes_are_the_same_in_every_process() -> None:
    assert block_hashes([7, 8], 530, 512) == [-5903513032161352639]
