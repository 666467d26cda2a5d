"""EndpointSlices as endpoints: each pod once, ends honoured, nothing trusted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing import slices
from penstock.serve.routing.slices import SliceTable

READY, STARTING, ENDING = {"ready": True}, {"ready": False}, {"ready": False, "serving": True, "terminating": True}


def entry(pod: str | None, host: str, conditions: dict[str, Any] | None = None) -> dict[str, Any]:
    target = {"targetRef": {"kind": "Pod", "name": pod}} if pod else {}
    return {"addresses": [host], **target, "conditions": READY if conditions is None else conditions}


def slice_of(name: str, *endpoints: dict[str, Any], model: str | None = "f-chat", ports: Any = None) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "f-chat", **({"penstock.dev/model": model} if model else {})}
    return {
        "metadata": {"name": name, "labels": labels},
        "ports": [{"name": "http", "port": 8000}] if ports is None else ports,
        "endpoints": list(endpoints),
    }


def table(*bodies: dict[str, Any]) -> SliceTable:
    made = SliceTable()
    made.replace(bodies)
    return made


def pool(made: SliceTable, model: str = "f-chat") -> list[tuple[str, str, int, bool]]:
    return [(a.id, a.host, a.port, a.is_draining) for a in made.addresses(model)]


def test_a_ready_pod_is_an_endpoint_under_its_own_name() -> None:
    assert pool(table(slice_of("s", entry("chat-a", "10.0.0.1")))) == [("chat-a", "10.0.0.1", 8000, False)]


def test_a_pod_that_ends_drains_even_while_it_still_serves() -> None:
    assert pool(table(slice_of("s", entry("a", "10.0.0.1", ENDING)))) == [("a", "10.0.0.1", 8000, True)]


def test_a_pod_that_is_not_ready_is_told_but_not_used() -> None:
    made = table(slice_of("s", entry("a", "10.0.0.1", STARTING)))

    assert pool(made) == []
    assert {pod: replica.phase for pod, replica in made.replicas("f-chat").items()} == {"a": "starting"}


def test_conditions_that_are_not_set_mean_ready() -> None:
    """So says the API of `ready`; of `terminating`, that it goes on."""
    assert pool(table(slice_of("s", entry("a", "10.0.0.1", {})))) == [("a", "10.0.0.1", 8000, False)]


def test_a_pod_in_two_slices_is_there_once_and_its_end_stays_true() -> None:
    made = table(slice_of("s1", entry("a", "10.0.0.1", ENDING)), slice_of("s2", entry("a", "10.0.0.1")))
    assert pool(made) == [("a", "10.0.0.1", 8000, True)]


def test_a_pod_with_two_families_of_addresses_is_reached_by_one() -> None:
    made = table(slice_of("v6", entry("a", "fd00::1")), slice_of("v4", entry("a", "10.0.0.1")))
    assert pool(made) == [("a", "10.0.0.1", 8000, False)]


def test_a_pod_that_came_back_under_its_name_is_reached_where_it_is_now() -> None:
    made = table(slice_of("s", entry("big-0", "10.0.0.1", ENDING), entry("big-0", "10.0.0.9")))
    assert pool(made) == [("big-0", "10.0.0.9", 8000, False)]


def test_changes_are_told_by_model() -> None:
    made = table(slice_of("s", entry("a", "10.0.0.1")))

    assert made.put(slice_of("s", entry("a", "10.0.0.1"))) == set()
    assert made.put(slice_of("s", entry("a", "10.0.0.2"))) == {"f-chat"}
    assert made.put(slice_of("t", entry("b", "10.0.0.3"), model="f-other")) == {"f-other"}
    assert made.put(slice_of("t", entry("b", "10.0.0.3"))) == {"f-chat", "f-other"}
    assert made.remove({"metadata": {"name": "s"}}) == {"f-chat"}
    assert made.remove({"metadata": {"name": "s"}}) == set()
    assert [row[0] for row in pool(made)] == ["b"]


def test_a_list_replaces_what_was_and_names_what_is_gone() -> None:
    made = table(slice_of("s", entry("a", "10.0.0.1")))

    assert made.replace([slice_of("t", entry("b", "10.0.0.2"), model="f-new")]) == {"f-chat", "f-new"}
    assert pool(made) == []


@pytest.mark.parametrize("ports", [[], None, [{"name": "http"}], [{"name": "a", "port": 1}, {"name": "b", "port": 2}]])
def test_a_slice_without_one_clear_port_is_passed_over(ports: Any) -> None:
    body = slice_of("s", entry("a", "10.0.0.1"))
    body["ports"] = ports
    assert pool(table(body)) == []


def test_the_port_called_http_is_taken_among_several() -> None:
    ports = [{"name": "metrics", "port": 9}, {"name": "http", "port": 8123}]
    assert pool(table(slice_of("s", entry("a", "10.0.0.1"), ports=ports)))[0][2] == 8123


def test_a_name_instead_of_an_address_is_not_followed() -> None:
    assert pool(table(slice_of("s", entry("a", "evil.example")))) == []


def test_slices_of_other_services_are_nobodys() -> None:
    assert len(table(slice_of("s", entry("a", "10.0.0.1"), model=None))) == 0


def test_a_slice_that_loses_its_label_is_gone() -> None:
    made = table(slice_of("s", entry("a", "10.0.0.1")))
    made.put(slice_of("s", entry("a", "10.0.0.1"), model=None))
    assert pool(made) == []


def test_slices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICES_MAX", 2)
    made = table(*(slice_of(f"s{n}", entry(f"p{n}", f"10.0.0.{n}")) for n in range(5)))

    assert len(made) == 2
    assert made.put(slice_of("s0", entry("p0", "10.0.0.99"))) == {"f-chat"}
    assert ("p0", "10.0.0.99", 8000, False) in pool(made)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_noise = st.fixed_dictionaries(
    {"metadata": _json | st.fixed_dictionaries({"name": _json, "labels": _json})},
    optional={"ports": _json, "endpoints": _json},
)


@given(st.lists(_noise, max_size=5))
def test_nothing_that_comes_over_the_network_breaks_it(bodies: list[dict[str, Any]]) -> None:
    made = table(*bodies)
    made.addresses("f-chat")


@st.composite
def _worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    conditions = st.sampled_from([READY, STARTING, ENDING, {}])
    places = st.tuples(st.sampled_from("abcd"), st.integers(1, 4), conditions)
    return [
        slice_of(
            f"s{n}", *(entry(pod, f"10.0.0.{host}", state) for pod, host, state in draw(st.lists(places, max_size=5)))
        )
        for n in range(draw(st.integers(0, 3)))
    ]


@given(_worlds(), _worlds())
def test_events_come_to_the_same_as_a_list(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    made = table(*before)
    for body in after:
        made.put(body)
    for body in before[len(after) :]:
        made.remove(body)

    assert pool(made) == pool(table(*after))
    ids = [row[0] for row in pool(made)]
    assert len(ids) == len(set(ids))
