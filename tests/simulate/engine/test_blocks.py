"""Paged KV memory and its prefix cache."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.blocks import BlockPool, chained_hashes, next_hash


def test_hash_of_a_block_depends_on_every_token_before_it_and_on_the_root() -> None:
    ids = list(range(40))
    hashes = chained_hashes(ids, 16, 0)
    assert len(hashes) == 2  # full blocks only
    assert chained_hashes([99, *ids[1:]], 16, 0)[1] != hashes[1]
    assert chained_hashes(ids, 16, 1)[0] != hashes[0]
    assert next_hash(hashes[0], ids[16:32]) == hashes[1]


def test_a_freed_block_is_found_until_its_place_is_taken() -> None:
    pool = BlockPool(4)
    (block,) = pool.take(1)
    pool.remember(block, 77)
    pool.release([block])
    assert pool.match([77], 9) == [block]
    taken = pool.take(3)  # the two that were never used go first, then the freed one
    assert taken[-1] == block
    assert pool.match([77], 9) == []


def test_block_freed_longest_ago_is_taken_first_and_tails_before_prefixes() -> None:
    pool = BlockPool(6)
    first, second = pool.take(2), pool.take(3)
    pool.release(second)
    pool.release(first)
    assert pool.take(5) == [*reversed(second), *reversed(first)]


def test_a_match_that_is_held_again_is_not_taken() -> None:
    pool = BlockPool(3)
    blocks = pool.take(2)
    for place, block in enumerate(blocks):
        pool.remember(block, place)
    pool.release(blocks)
    found = pool.match([0, 1], 1)
    assert pool.idle(found) == 1
    pool.hold(found)
    assert (pool.free, pool.holders(found[0])) == (1, 1)
    assert pool.take(1) == [blocks[1]]


def test_without_caching_nothing_is_found() -> None:
    pool = BlockPool(3, enable_caching=False)
    blocks = pool.take(1)
    pool.remember(blocks[0], 5)
    assert pool.match([5], 9) == []


def test_forgetting_keeps_what_is_held() -> None:
    pool = BlockPool(5)
    blocks = pool.take(2)
    pool.remember(blocks[0], 5)
    pool.forget_all()
    assert (pool.match([5], 9), pool.cached, pool.free) == ([], 0, 2)
    pool.remember(blocks[1], 6)
    assert pool.match([6], 9) == [blocks[1]]


OPS = st.lists(st.tuples(st.sampled_from(["take", "release", "share", "forget"]), st.integers(0, 99)), max_size=60)


@given(num_blocks=st.integers(2, 20), ops=OPS)
def test_blocks_are_conserved_and_block_0_is_never_given(num_blocks: int, ops: list[tuple[str, int]]) -> None:
    pool = BlockPool(num_blocks)
    held: list[list[int]] = []
    serial = 0
    for op, number in ops:
        if op == "take" and pool.free:
            blocks = pool.take(1 + number % pool.free)
            for block in blocks:
                pool.remember(block, serial := serial + 1)
            held.append(blocks)
        elif op == "release" and held:
            pool.release(held.pop(number % len(held)))
        elif op == "share":
            found = pool.match([1 + (number + i) % max(1, serial) for i in range(3)], 2)
            pool.hold(found)
            held.append(found)
        elif op == "forget":
            pool.forget_all()
        used = {b for blocks in held for b in blocks}
        assert 0 not in used
        assert pool.free + len(used) == pool.usable == num_blocks - 1
        assert all(pool.holders(b) == sum(blocks.count(b) for blocks in held) for b in used)
        assert 0.0 <= pool.usage <= 1.0
