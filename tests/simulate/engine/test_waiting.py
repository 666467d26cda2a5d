"""The order of waiting requests."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.waiting import Waiting


@dataclass(eq=False)
class Item:
    rank: tuple[int, float, int]
    is_waiting: bool = False


def _drain(waiting: Waiting[Item]) -> list[Item]:
    out: list[Item] = []
    while (item := waiting.peek()) is not None:
        waiting.pop()
        out.append(item)
    return out


def test_first_come_first_served_but_preempted_ones_before_all() -> None:
    waiting: Waiting[Item] = Waiting(by_priority=False)
    items = [Item((9 - i, 0.0, i)) for i in range(4)]
    for item in items[:3]:
        waiting.push(item)
    waiting.push_front(items[3])
    assert _drain(waiting) == [items[3], *items[:3]]


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(0, 10), st.booleans(), st.booleans()), max_size=30))
def test_by_priority_the_lowest_rank_comes_first_and_removed_ones_never(
    spec: list[tuple[int, float, bool, bool]],
) -> None:
    waiting: Waiting[Item] = Waiting(by_priority=True)
    kept = []
    for number, (priority, arrival, at_front, is_removed) in enumerate(spec):
        item = Item((priority, arrival, number))
        (waiting.push_front if at_front else waiting.push)(item)
        if is_removed:
            waiting.remove(item)
        else:
            kept.append(item)
    assert len(waiting) == len(kept)
    assert _drain(waiting) == sorted(kept, key=lambda item: item.rank)
    assert len(waiting) == 0
