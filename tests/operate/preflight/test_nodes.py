"""GPUs of nodes: counted once, and never given twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from operate.preflight.clusters import GPU, node, pod
from penstock.operate.preflight.nodes import Demand, driver_major, number, place, pod_requests, rooms_of


def demand(gpus: int) -> Demand:
    return Demand(requests={GPU: gpus}, node_selector={}, tolerations=())


@given(
    st.lists(st.sampled_from([1, 2, 4, 8]), max_size=5),
    st.lists(st.sampled_from([1, 2, 4, 8]), max_size=12),
)
def test_no_gpu_is_given_twice_and_none_is_lost(nodes: list[int], wanted: list[int]) -> None:
    rooms = rooms_of([node(f"n{n}", gpus=gpus) for n, gpus in enumerate(nodes)], (), "f")

    homeless, left = place(rooms, [demand(gpus) for gpus in wanted])

    placed = sum(gpus for number, gpus in enumerate(wanted) if number not in homeless)
    assert sum(room.free[GPU] for room in left) == sum(nodes) - placed
    assert all(room.free[GPU] >= 0 for room in left)


@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=12))
def test_sizes_that_divide_each_other_leave_no_gap(wanted: list[int]) -> None:
    total = -(-sum(wanted) // 8)
    rooms = rooms_of([node(f"n{n}", gpus=8) for n in range(total)], (), "f")

    assert place(rooms, [demand(gpus) for gpus in wanted])[0] == []


def test_what_pods_hold_is_taken_off() -> None:
    (room,) = rooms_of([node(gpus=8)], [pod("n1", gpus=3), pod("elsewhere", gpus=5)], "f")

    assert room.free[GPU] == 5


def test_a_pod_asks_for_its_largest_init_container_or_all_others_together() -> None:
    def container(cpu: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}}

    spec = {"containers": [container("1"), container("500m")], "initContainers": [container("4"), container("2")]}

    assert pod_requests(spec) == {"cpu": 4.0}


def test_a_limit_stands_for_a_request_that_is_not_said() -> None:
    assert pod_requests({"containers": [{"resources": {"limits": {GPU: "2"}}}]}) == {GPU: 2.0}


def test_a_driver_is_read_from_either_label() -> None:
    old, new = "nvidia.com/cuda.driver.major", "nvidia.com/cuda.driver-version.major"

    assert driver_major(node(labels={old: "550"})) == 550
    assert driver_major(node(labels={new: "580"})) == 580
    assert driver_major(node()) is None


def test_what_is_no_quantity_counts_nothing() -> None:
    assert number("many") == 0.0
