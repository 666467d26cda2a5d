"""Kubernetes' amounts."""

from __future__ import annotations

import pytest

from penstock.operate.doctor.quantities import count_of, duration_s, quantity


@pytest.mark.parametrize(
    ("written", "value"),
    [("16Gi", 16 * 2**30), ("16G", 16e9), ("500m", 0.5), (4, 4.0), ("4", 4.0), ("1e3", 1000.0), ("0.5Ti", 2**39),
     ("128Ki", 2**17), ("x", None), ("", None), (None, None), (True, None), ("1i", None), ("5Gib", None),
     (float("nan"), None), (float("inf"), None), ("1e400", None), (10**400, None)],
)  # fmt: skip
def test_quantities(written: object, value: float | None) -> None:
    assert quantity(written) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [("30s", 30), ("1m30s", 90), ("500ms", 0.5), (45, 45), ("45", 45), ("1h", 3600), ("soon", None)],
)
def test_durations(written: object, value: float | None) -> None:
    assert duration_s(written) == value


@pytest.mark.parametrize(
    ("written", "is_up", "value"),
    [
        (1, True, 1),
        ("2", True, 2),
        ("25%", True, 3),
        ("25%", False, 2),
        ("100%", False, 10),
        ("x", True, None),
        (None, True, None),
    ],
)
def test_counts_of_ten(written: object, is_up: bool, value: int | None) -> None:
    assert count_of(written, 10, round_up=is_up) == value
