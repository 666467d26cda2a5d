"""The numbers a calibration holds."""

from __future__ import annotations

from dataclasses import fields

import pytest

from penstock.perf.overheads import FrontEndTime, HostTime, Overheads


def test_front_end_adds_a_little_more_for_a_longer_prompt() -> None:
    front = FrontEndTime()
    assert front.before(0) == pytest.approx(2.3e-3)
    assert front.before(4096) + front.after(4096) == pytest.approx(14.9e-3, rel=0.02)  # measured: 12.6 to 15.3 ms


def test_a_slower_host_takes_as_much_longer_in_everything() -> None:
    for part in (HostTime(), FrontEndTime()):
        twice = part.scaled(2.0)
        times = [f.name for f in fields(part) if f.name.endswith("_s")]
        assert len(times) >= 5
        assert all(getattr(twice, name) == 2 * getattr(part, name) for name in times)


def test_no_share_exceeds_its_peak() -> None:
    shares = {f.name: getattr(Overheads(), f.name) for f in fields(Overheads) if f.name.endswith("_share")}
    assert shares
    assert all(0.3 < value <= 1 for value in shares.values())
