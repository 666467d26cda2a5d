"""The numbers a calibration holds."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.perf.overheads import SPELLS, FrontEndTime, HostTime, Overheads, slowed


def test_front_end_adds_a_little_more_for_a_longer_prompt() -> None:
    front = FrontEndTime()
    quick = front.before(4096) + front.after(4096)
    assert front.before(0) + front.after(0) < quick / 3
    assert quick == pytest.approx(12.6e-3, rel=0.05)  # measured: 12.6 to 15.3 ms
    assert quick * front.mean_slower == pytest.approx(15.3e-3, rel=0.05)


def test_a_slower_host_takes_as_much_longer_in_everything() -> None:
    for part in (HostTime(), FrontEndTime()):
        twice = part.scaled(2.0)
        times = [f.name for f in fields(part) if f.name.endswith("_s")]
        assert len(times) >= 5
        assert all(getattr(twice, name) == 2 * getattr(part, name) for name in times)


@given(slowest=st.floats(0, 3), draw=st.floats(0, 1))
def test_a_slow_host_is_at_most_as_slow_as_its_slowest_and_usually_much_less(slowest: float, draw: float) -> None:
    assert 1.0 <= slowed(slowest, draw) <= 1.0 + slowest
    assert slowed(slowest, 0.5) == pytest.approx(1.0 + slowest / 4)


def test_the_paces_that_stand_for_all_have_their_mean() -> None:
    for part in (HostTime(), FrontEndTime()):
        mean = sum(chance * slowed(part.slowest, draw) for chance, draw in SPELLS)
        assert sum(chance for chance, _ in SPELLS) == pytest.approx(1.0)
        assert mean == pytest.approx(1.0 + part.slowest / 3, rel=0.02)


def test_no_share_exceeds_its_peak() -> None:
    shares = {f.name: getattr(Overheads(), f.name) for f in fields(Overheads) if f.name.endswith("_share")}
    assert shares
    assert all(0.3 < value <= 1 for value in shares.values())
