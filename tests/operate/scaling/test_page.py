"""A gateway's page is read whole, or not at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operate.scaling.pages import page
from penstock.operate.scaling.page import read_page

PAGE = page("prod", {"chat": 3, "embed": 0}, {("chat", "ok"): 10, ("chat", "shed"): 2, ("chat", "limited"): 7})


def test_loads_and_asks_are_read_by_model() -> None:
    reading = read_page(PAGE, "prod")

    assert reading is not None
    assert reading.in_flight == {"chat": 3.0, "embed": 0.0}
    assert reading.asked == {"chat": 12.0}


def test_the_same_of_all_tenants_is_summed() -> None:
    twice = PAGE.replace(b'tenant="a"', b'tenant="b"')
    lines = [line for line in twice.splitlines(keepends=True) if line.startswith(b"penstock_requests_total{")]

    reading = read_page(b"".join(lines) + PAGE, "prod")

    assert reading is not None
    assert reading.asked == {"chat": 24.0}


def test_names_with_quotes_and_braces_are_read_as_they_are() -> None:
    name = 'a"} b\\c\n{x="'
    reading = read_page(page("prod", {name: 4}, {(name, "ok"): 1}), "prod")

    assert reading is not None
    assert (reading.in_flight, reading.asked) == ({name: 4.0}, {name: 1.0})


def test_a_page_of_another_fleet_is_none() -> None:
    assert read_page(PAGE, "other") is None


@given(size=st.integers(0, len(PAGE) - 1))
def test_a_page_that_is_cut_short_is_none(size: int) -> None:
    assert read_page(PAGE[:size], "prod") is None


@given(raw=st.binary(max_size=300))
def test_no_bytes_raise(raw: bytes) -> None:
    read_page(raw, "prod")
    read_page(PAGE + raw + b"\n", "prod")
    read_page(raw + b"\n" + PAGE, "prod")


def test_numbers_that_are_none_are_passed_over() -> None:
    for value in (b"NaN", b"+Inf", b"-1", b"x", b""):
        broken = PAGE.replace(b'penstock_in_flight_requests{model="chat"} 3.0', b"#").replace(
            b"# TYPE penstock_in_flight_requests gauge\n",
            b'# TYPE penstock_in_flight_requests gauge\npenstock_in_flight_requests{model="chat"} ' + value + b"\n",
        )
        reading = read_page(broken, "prod")
        assert reading is not None
        assert "chat" not in reading.in_flight
