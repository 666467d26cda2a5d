"""By when an answer is of use to whoever asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.deadline import DEADLINE_HEADERS, TIMEOUT_S_MAX, Deadline, deadline_of, remaining_header


def deadline(name: str, value: str, class_s: float | None = None, *, is_stream: bool = False) -> Deadline:
    return deadline_of(((name.encode(), value.encode()),), class_s, is_stream=is_stream)


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("x-request-timeout-ms", "1500", 1.5),
        ("x-request-timeout-ms", " 250 ", 0.25),
        ("x-envoy-expected-rq-timeout-ms", "15000", 15.0),
        ("grpc-timeout", "2S", 2.0),
        ("grpc-timeout", "1500m", 1.5),
        ("grpc-timeout", "2M", 120.0),
        ("grpc-timeout", "1H", 3600.0),
        ("grpc-timeout", "500000u", 0.5),
        ("grpc-timeout", "50000000n", 0.05),
    ],
)
def test_what_bounds_the_whole_answer(name: str, value: str, seconds: float) -> None:
    for is_stream in (False, True):
        found = deadline(name, value, is_stream=is_stream)
        assert found.whole_s == pytest.approx(seconds)
        assert found.first_s == found.whole_s


@pytest.mark.parametrize("name", ["x-stainless-read-timeout", "x-stainless-timeout"])
def test_what_clients_say_of_their_patience_bounds_a_streams_beginning_and_a_plain_answer(name: str) -> None:
    assert deadline(name, "600", is_stream=True) == Deadline(whole_s=None, first_s=600.0)
    assert deadline(name, "12.5") == Deadline(whole_s=12.5, first_s=12.5)


@pytest.mark.parametrize(
    "value",
    *[["", "0", "-1", "nan", "inf", "1e3", "abc", "1 2", "99999999999999999999999", "0.0000001", "10S", "５"]],
)
def test_what_can_not_be_read_is_as_if_it_were_not_there(value: str) -> None:
    for name in DEADLINE_HEADERS - {b"grpc-timeout"}:
        assert deadline_of(((name, value.encode()),), 30.0, is_stream=True).whole_s == 30.0


@pytest.mark.parametrize("value", ["5", "S", "123456789S", "5s", "5 S", "-5S", "0S", "1.5S"])
def test_grpcs_form_is_strict(value: str) -> None:
    assert deadline("grpc-timeout", value) == Deadline()


def test_the_shortest_holds_and_the_class_is_never_passed() -> None:
    headers = ((b"x-request-timeout-ms", b"9000"), (b"grpc-timeout", b"7S"), (b"x-stainless-timeout", b"3"))
    assert deadline_of(headers, 60.0, is_stream=True) == Deadline(whole_s=7.0, first_s=3.0)
    assert deadline_of(headers, 2.0, is_stream=True) == Deadline(whole_s=2.0, first_s=2.0)
    assert deadline_of((), 60.0, is_stream=True) == Deadline(whole_s=60.0)
    assert deadline_of((), None, is_stream=True) == Deadline()


def test_who_still_waits() -> None:
    found = Deadline(whole_s=10.0, first_s=3.0)
    assert not found.is_past(2.9, has_begun=False)
    assert found.is_past(3.1, has_begun=False)
    assert not found.is_past(9.9, has_begun=True)
    assert found.is_past(10.1, has_begun=True)
    assert not Deadline().is_past(1e9, has_begun=False)


def test_what_is_left_goes_on_to_the_next_server() -> None:
    assert remaining_header(Deadline(whole_s=10.0), 2.5) == b"x-request-timeout-ms: 7500\r\n"
    assert remaining_header(Deadline(whole_s=10.0), 11.0) == b"x-request-timeout-ms: 1\r\n"
    assert remaining_header(Deadline(first_s=10.0), 1.0) == b""


HEADERS = st.lists(
    st.tuples(st.sampled_from(sorted(DEADLINE_HEADERS)) | st.binary(max_size=30), st.binary(max_size=40))
)


@given(HEADERS, st.none() | st.floats(0.01, 1000), st.booleans())
def test_no_header_breaks_it_or_lengthens_what_the_class_allows(
    headers: list[tuple[bytes, bytes]], class_s: float | None, is_stream: bool
) -> None:
    found = deadline_of(tuple(headers), class_s, is_stream=is_stream)
    for seconds in (found.whole_s, found.first_s):
        assert seconds is None or 0 < seconds <= max(TIMEOUT_S_MAX, class_s or 0)
    if class_s is not None:
        assert found.whole_s is not None
        assert found.whole_s <= class_s
