"""What is fetched again, whether it fits, and how long a failed transfer waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.storage import RemoteFile, disk_shortage, plan_fetches, shown_bytes
from penstock.operate.storage.pulling import ATTEMPTS_MAX, retry_after_s

A, B, C = (RemoteFile(path=p, size=s) for p, s in (("a", 100), ("b", 300), ("c", 0)))


def test_what_is_whole_is_not_fetched_and_a_part_is_continued() -> None:
    plan = plan_fetches([A, B, C], {"a": 100, "b.part": 120})

    assert plan.done == (A,)
    assert [(f.file.path, f.offset) for f in plan.fetches] == [("b", 120), ("c", 0)]
    assert plan.bytes_left == 180
    assert plan.bytes_done == 220
    assert plan.stale == ()


def test_what_is_of_another_content_is_thrown_away() -> None:
    plan = plan_fetches([A], {"a": 99, "a.part": 101, "old.json": 5})

    assert [(f.file.path, f.offset) for f in plan.fetches] == [("a", 0)]
    assert plan.stale == ("a", "a.part", "old.json")


def test_the_largest_rest_comes_first() -> None:
    assert [f.file.path for f in plan_fetches([A, B], {"b.part": 250}).fetches] == ["a", "b"]


sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000), max_size=6)


@given(sizes, st.dictionaries(st.sampled_from([*"abcdef", *(f"{c}.part" for c in "abcdef")]), st.integers(0, 1000)))
def test_no_byte_is_lost_or_counted_twice(wanted: dict[str, int], present: dict[str, int]) -> None:
    files = [RemoteFile(path=p, size=s) for p, s in wanted.items()]

    plan = plan_fetches(files, present)

    assert plan.bytes_left + plan.bytes_done == sum(wanted.values())
    assert sorted([f.path for f in plan.done] + [f.file.path for f in plan.fetches]) == sorted(wanted)
    assert all(0 <= f.offset <= f.file.size for f in plan.fetches)


def test_the_disk_needs_what_is_left_and_some_room() -> None:
    gib = 1024**3

    assert disk_shortage(0, 0) == 0
    assert disk_shortage(gib, 2 * gib) == 0
    assert disk_shortage(gib, gib) == 64 * 1024**2
    assert disk_shortage(100 * gib, 100 * gib) == gib


def test_waits_grow_and_end() -> None:
    assert [retry_after_s(n, None) for n in range(1, ATTEMPTS_MAX + 1)] == [1, 2, 4, 8, 16, None]


def test_a_servers_wish_is_granted_within_bounds() -> None:
    assert retry_after_s(1, 40.0) == 40.0
    assert retry_after_s(3, 0.5) == 4.0
    assert retry_after_s(1, 3600.0) is None


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (812e6, "812 MB"), (16.4e9, "16.4 GB"), (1.2e12, "1.2 TB")],
)
def test_bytes_are_shown_as_people_read_them(count: float, shown: str) -> None:
    assert shown_bytes(count) == shown
