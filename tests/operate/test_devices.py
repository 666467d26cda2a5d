"""GPUs for replicas."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.devices import Devices


def test_replicas_spread_before_they_share() -> None:
    devices = Devices(["0", "1", "2", "3"])
    assert [devices.take(2), devices.take(1), devices.take(1)] == [("0", "1"), ("2",), ("3",)]
    assert devices.take(1) == ("0",)


def test_what_is_given_back_is_used_again() -> None:
    devices = Devices(["0", "1"])
    first = devices.take(1)
    devices.take(1)
    devices.give_back(first)
    assert devices.take(1) == ("0",)


def test_a_machine_without_gpus_gives_none_and_a_small_one_all() -> None:
    assert Devices([]).take(2) == ()
    assert Devices(["0"]).take(2) == ("0",)


@given(st.integers(1, 8), st.lists(st.tuples(st.booleans(), st.integers(1, 8)), max_size=40))
def test_single_gpu_replicas_are_never_further_than_one_apart(size: int, steps: list[tuple[bool, int]]) -> None:
    devices, taken = Devices([str(n) for n in range(size)]), []
    for is_start, _ in steps:
        if is_start:
            taken.append(devices.take(1))
            counts = [sum(t == (str(n),) for t in taken) for n in range(size)]
            assert counts[int(taken[-1][0])] - min(counts) <= 1
        elif taken:
            devices.give_back(taken.pop(0))
