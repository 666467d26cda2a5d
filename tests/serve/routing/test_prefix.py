"""The prefix index: what was sent last is held, from its beginning on, within one bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.prefix import HeldBlocks, PrefixIndex, SharedPrefixes


def chain(name: int, length: int) -> list[int]:
    return [name * 1000 + n for n in range(length)]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 40)), max_size=60), st.integers(1, 60), st.integers(0, 12))
def test_what_is_held_of_a_prompt_is_always_its_beginning(
    sent: list[tuple[int, int]], capacity: int, asked: int
) -> None:
    held = HeldBlocks(capacity)
    for name, length in sent:
        held.put(chain(name, length))
    assert len(held) <= capacity
    blocks = chain(asked, 40)
    present = [block in held for block in blocks]
    assert held.match(blocks) == sum(present)
    assert present == sorted(present, reverse=True)


def test_the_prompt_sent_longest_ago_goes_first_its_tail_before_its_head() -> None:
    held = HeldBlocks(10)
    held.put(chain(1, 6))
    held.put(chain(2, 6))
    assert (held.match(chain(1, 6)), held.match(chain(2, 6))) == (4, 6)


def test_all_endpoints_share_one_bound_and_one_that_goes_gives_its_part_back() -> None:
    index = PrefixIndex(100)
    parts = [index.part() for _ in range(4)]
    for n, part in enumerate(parts):
        part.put(chain(n, 100))
    assert (index.blocks, index.share) == (100, 25)
    del part, parts[1:]
    assert index.share == 100


def test_memory_is_flat_over_a_million_unique_prompts() -> None:
    index = PrefixIndex(20_000)
    parts = [index.part() for _ in range(4)]
    counts = set()
    for n in range(1_000_000):
        blocks, part = (7, n + 1_000), parts[n % 4]
        index.shared.note(blocks, part.match(blocks))
        part.put(blocks)
        if n % 100_000 == 99_999:
            counts.add((index.blocks, len(index.shared)))
    assert counts == {(20_000, 1)}


def test_the_forks_that_are_counted_are_bounded() -> None:
    shared = SharedPrefixes()
    for n in range(200_000):
        shared.note((n, n + 1), 1)
    assert len(shared) <= 65_536


def test_a_prefix_of_many_continuations_is_common_and_what_follows_is_the_conversations_own() -> None:
    shared, system = SharedPrefixes(), chain(9, 5)
    for n in range(20):
        shared.note([*system, n * 10 + 100_000, n * 10 + 100_001], 5 if n else 0)
    blocks = [*system, 777, 778]
    assert blocks[shared.own(blocks)] == 777
    assert shared.own(system) == 0 or system[shared.own(system)] in system
    assert shared.own([5, 6, 7]) == 0


def test_a_conversation_that_forks_a_few_times_is_no_common_prefix() -> None:
    shared = SharedPrefixes()
    for n in range(7):
        shared.note([1, 2, 50 + n], 2)
    assert shared.own([1, 2, 60]) == 0
