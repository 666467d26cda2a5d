"""Blocks of text: equal beginnings give equal hashes, in every process, and nothing more."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.blocks import BLOCK_BYTES, BLOCKS_MAX, block_tokens_of, blocks_of

LONG = st.text(st.characters(codec="utf-8"), max_size=3 * BLOCK_BYTES)


@given(st.lists(LONG, max_size=6), st.lists(LONG, max_size=4))
def test_a_conversation_that_goes_on_keeps_all_its_blocks(pieces: list[str], more: list[str]) -> None:
    before, after = blocks_of(pieces, "chat"), blocks_of([*pieces, *more], "chat")
    assert after[: len(before)] == before


@given(st.integers(0, 4 * BLOCK_BYTES - 1))
def test_a_changed_byte_changes_its_block_and_all_that_follow(place: int) -> None:
    text = "a" * (4 * BLOCK_BYTES)
    one, other = blocks_of([text], "chat"), blocks_of([text[:place] + "b" + text[place + 1 :]], "chat")
    same = place // BLOCK_BYTES
    assert one[:same] == other[:same]
    assert not set(one[same:]) & set(other[same:])


def test_models_and_adapters_share_nothing() -> None:
    text = ["x" * 2000]
    assert not set(blocks_of(text, "chat")) & set(blocks_of(text, "chat\x1fsql"))


def test_pieces_are_kept_apart() -> None:
    assert blocks_of(["ab", "c" * 600], "m") != blocks_of(["a", "b" + "c" * 600], "m")


def test_a_last_part_is_no_block_and_a_huge_prompt_is_cut() -> None:
    assert blocks_of(["x" * (BLOCK_BYTES - 1)], "m") == ()
    assert len(blocks_of(["x" * (2 * BLOCK_BYTES + 1)], "m")) == 2
    assert len(blocks_of(["x" * 4_000_000], "m")) == BLOCKS_MAX
    assert len(blocks_of(["x"] * 3_000_000, "m")) == BLOCKS_MAX


def test_another_process_gives_the_same_hashes() -> None:
    code = "from penstock.serve.routing.blocks import blocks_of; print(blocks_of(['é' * 900], 'm'))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == str(blocks_of(["é" * 900], "m"))


@pytest.mark.parametrize(("tokens", "size", "expected"), [(1000, 4000, 128), (0, 4000, 1), (10, 0, 1)])
def test_tokens_of_a_block_are_the_prompts_spread_over_its_bytes(tokens: int, size: int, expected: int) -> None:
    assert block_tokens_of(tokens, size) == expected
