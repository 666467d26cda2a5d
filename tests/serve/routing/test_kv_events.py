"""Events of vLLM's prefix cache: read as it writes them, and believed only as far as nothing is missing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.kv_events import Cleared, KvCache, KvEventError, Removed, Stored, decode_batch


def stored(*hashes: bytes, parent: bytes | None = None, first: int = 0, **more: Any) -> dict[str, Any]:
    """Blocks of four tokens, as vLLM's structs are written: maps with a tag, defaults left out."""
    tokens = list(range(first, first + 4 * len(hashes)))
    return {
        "type": "BlockStored",
        "block_hashes": list(hashes),
        "parent_block_hash": parent,
        "token_ids": tokens,
        "block_size": 4,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
    } | more


def batch(*events: Any) -> bytes:
    return msgspec.msgpack.encode([1732.5, list(events), 0])


def test_maps_and_the_arrays_of_versions_before_are_read_alike() -> None:
    new = decode_batch(batch(stored(b"a", b"b"), {"type": "BlockRemoved", "block_hashes": [b"a"], "medium": "GPU"}))
    old = decode_batch(batch(["BlockStored", [b"a", b"b"], None, list(range(8)), 4, None], ["BlockRemoved", [b"a"]]))
    assert new == old
    assert new[1] == Removed(hashes=(b"a",))
    assert isinstance(new[0], Stored)
    assert decode_batch(batch({"type": "AllBlocksCleared"}, ["AllBlocksCleared"])) == [Cleared(), Cleared()]


def test_other_memories_and_kinds_are_left_out() -> None:
    assert decode_batch(batch(stored(b"a", medium="CPU"), {"type": "BlockMoved"})) == []


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    try:
        decode_batch(payload)
    except KvEventError:
        return


@pytest.mark.parametrize("field", ["block_size", "token_ids", "block_hashes", "parent_block_hash"])
def test_a_field_of_another_type_is_refused(field: str) -> None:
    with pytest.raises(KvEventError):
        decode_batch(batch(stored(b"a", **{field: {"x": 1}})))


def test_cached_tokens_of_a_prompt_are_those_of_its_leading_blocks() -> None:
    cache = KvCache()
    cache.take(0, decode_batch(batch(stored(b"a", b"b"), stored(b"c", parent=b"b", first=8))))
    assert cache.tokens == 12
    assert cache.tokens_held(list(range(20))) == 12
    assert cache.tokens_held([0, 1, 2, 3, 99, 98, 97, 96]) == 4
    assert cache.tokens_held(list(range(20)), adapter="sql") == 0
    cache.take(1, [Removed(hashes=(b"b",))])
    assert cache.tokens_held(list(range(20))) == 4


def test_a_clear_and_a_gap_leave_nothing_believed() -> None:
    cache = KvCache()
    assert cache.take(0, decode_batch(batch(stored(b"a")))) is False
    assert cache.take(1, [Cleared()]) is True
    assert (cache.tokens, cache.is_whole) == (0, True)
    assert cache.take(2, decode_batch(batch(stored(b"a")))) is False
    assert cache.missed(5) == (3, 4)
    assert cache.take(5, decode_batch(batch(stored(b"z")))) is True
    assert (cache.tokens, cache.is_whole, cache.gaps_total) == (4, False, 1)


def test_an_engine_that_began_anew_is_known_by_its_numbers() -> None:
    cache = KvCache()
    cache.take(0, decode_batch(batch(stored(b"a"))))
    cache.take(1, decode_batch(batch(stored(b"b"))))
    assert cache.take(0, decode_batch(batch(stored(b"c")))) is True
    assert (cache.tokens, cache.is_whole) == (4, True)


def test_what_is_followed_is_bounded() -> None:
    cache = KvCache(blocks_max=2)
    cache.take(0, decode_batch(batch(stored(b"a", b"b", b"c"))))
    assert (cache.tokens, cache.is_whole) == (8, False)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=40))
def test_tokens_are_what_was_stored_less_what_was_removed(steps: list[tuple[bool, int]]) -> None:
    cache, present = KvCache(), set()
    for number, (adds, name) in enumerate(steps):
        key = bytes([name])
        if adds:
            cache.take(number, decode_batch(batch(stored(key))))
            present.add(name)
        else:
            cache.take(number, [Removed(hashes=(key,))])
            present.discard(name)
    assert cache.tokens == 4 * len(present)
    assert bool(cache.tokens_held([0, 1, 2, 3])) == bool(present)
