"""From what each gateway says to the load of a model; a gateway that is silent is never a gateway without load."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.scaling.gateways import HOLD_S, GatewayAddress, Gateways, gateway_addresses
from penstock.operate.scaling.page import Reading
from penstock.operate.scaling.recommend import Observation


def address(name: str, *, is_serving: bool = True) -> GatewayAddress:
    return GatewayAddress(id=name, host="10.0.0.1", port=8081, is_serving=is_serving)


def reading(load: float = 0.0, asked: float = 0.0) -> Reading:
    return Reading(in_flight={"chat": load}, asked={"chat": asked})


def gateways(*names: str) -> Gateways:
    book = Gateways()
    book.keep(address(name) for name in names)
    return book


def look(book: Gateways, now: float) -> Observation:
    return book.observe(["chat"], now)["chat"]


def test_all_gateways_are_summed() -> None:
    book = gateways("a", "b")
    book.take("a", reading(3), 0.0)
    book.take("b", reading(4), 0.0)

    found = look(book, 1.0)

    assert (found.in_flight, found.heard, found.gateways) == (7, 2, 2)


def test_a_silent_gateway_counts_with_its_last_word_for_half_a_minute() -> None:
    book = gateways("a", "b")
    book.take("a", reading(3), HOLD_S)
    book.take("b", reading(40), 0.0)

    assert look(book, HOLD_S).in_flight == 43


def test_after_that_one_that_serves_counts_as_much_as_the_others() -> None:
    book = gateways("a", "b", "c")
    book.take("a", reading(3), 40.0)
    book.take("b", reading(5), 40.0)
    book.take("c", reading(100), 0.0)

    found = look(book, 40.0)

    assert (found.in_flight, found.heard, found.gateways) == (12, 2, 3)


def test_one_that_does_not_serve_is_then_left_out() -> None:
    book = gateways("a")
    book.keep([address("a"), address("b", is_serving=False)])
    book.take("a", reading(3), 40.0)
    book.take("b", reading(100), 0.0)

    found = look(book, 40.0)

    assert (found.in_flight, found.gateways) == (3, 1)


def test_with_none_heard_nothing_is_known() -> None:
    book = gateways("a", "b")
    assert look(book, 0.0).in_flight is None
    book.take("a", reading(3), 0.0)

    assert look(book, HOLD_S + 0.1).in_flight is None
    assert look(Gateways(), 0.0).in_flight is None


def test_one_that_is_gone_takes_its_requests_along() -> None:
    book = gateways("a", "b")
    book.take("a", reading(3), 0.0)
    book.take("b", reading(4), 0.0)
    book.keep([address("a")])
    book.take("b", reading(4), 1.0)

    assert look(book, 1.0).in_flight == 3


@given(
    loads=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 100), min_size=1),
    silent=st.sets(st.sampled_from("abcdef")),
)
def test_a_gateway_that_serves_is_never_0_for_want_of_an_answer(loads: dict[str, int], silent: set[str]) -> None:
    book = gateways(*(loads.keys() | silent))
    for name, load in loads.items():
        book.take(name, reading(load), 0.0)

    known = look(book, 0.0).in_flight

    assert known is not None
    assert known >= sum(loads.values()) + len(silent - loads.keys())


def test_who_asked_is_told_once() -> None:
    book = gateways("a")
    book.take("a", reading(asked=5), 0.0)
    assert not look(book, 0.0).is_asked
    book.take("a", reading(asked=6), 5.0)

    assert [look(book, 5.0).is_asked, look(book, 10.0).is_asked] == [True, False]


def test_what_was_counted_before_we_came_is_no_news_and_of_a_new_gateway_it_is() -> None:
    book = gateways("old")
    book.keep([address("old"), address("new")])

    book.take("old", reading(asked=9), 0.0)
    assert not look(book, 0.0).is_asked
    book.take("new", reading(asked=1), 0.0)
    assert look(book, 0.0).is_asked


def test_a_counter_that_begins_anew_counts_from_0() -> None:
    book = gateways("a")
    book.take("a", reading(asked=9), 0.0)
    book.take("a", reading(asked=0), 5.0)
    assert not look(book, 5.0).is_asked
    book.take("a", reading(asked=2), 10.0)
    assert look(book, 10.0).is_asked
    book.take("a", reading(asked=1), 15.0)
    assert look(book, 15.0).is_asked


def endpoint(name: str, host: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [host], "conditions": conditions, "targetRef": {"kind": "Pod", "name": name}}


def slice_of(*endpoints: Any, port: str = "admin") -> dict[str, Any]:
    ports = [{"name": "http", "port": 8080}, {"name": port, "port": 8081}]
    return {"metadata": {"name": "s"}, "endpoints": list(endpoints), "ports": ports}


def test_gateways_are_found_in_slices_each_once() -> None:
    found = gateway_addresses(
        [
            slice_of(endpoint("a", "10.0.0.1", ready=False), endpoint("b", "fd00::1", ready=True, terminating=True)),
            slice_of(endpoint("a", "10.0.0.1", ready=True)),
        ]
    )

    assert [(each.id, each.url, each.is_serving) for each in found] == [
        ("a", "http://10.0.0.1:8081", True),
        ("b", "http://[fd00::1]:8081", False),
    ]


def test_what_says_nothing_usable_is_passed_over() -> None:
    broken = [
        slice_of(endpoint("a", "gateway.example"), {"addresses": []}, "x", {"addresses": [7]}),
        slice_of(endpoint("a", "10.0.0.1"), port="metrics"),
        {"endpoints": [endpoint("a", "10.0.0.1")], "ports": [{"name": "admin", "port": "x"}]},
        {},
    ]

    assert gateway_addresses(broken) == []
