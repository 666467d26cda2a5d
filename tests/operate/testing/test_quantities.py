"""Quantities and their canonical form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.testing.quantities import amount_of, canonical, shown_amount


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1000m", "1"), ("0.5", "500m"), ("1.5", "1500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("2", "2"),
        ("1000k", "1M"), ("0", "0"), ("1e3", "1e3"), ("100e6", "100e6"), (4, "4"), ("0.1Ki", "102400m"),
        ("-1.5", "-1500m"), ("1500Mi", "1500Mi"),
    ],
)  # fmt: skip
def test_quantities_are_stored_canonically(written: str, stored: str) -> None:
    assert canonical(written) == stored


@given(st.integers(0, 10**9), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_the_canonical_form_means_the_same_and_is_final(number: int, suffix: str) -> None:
    form = canonical(f"{number}{suffix}")

    assert amount_of(form) == amount_of(f"{number}{suffix}")
    assert canonical(form) == form


@pytest.mark.parametrize("text", ["", "lots", "1 Gi", "1GiB", "--1", "1e99"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        amount_of(text)


def test_amounts_are_shown_by_what_they_count() -> None:
    assert shown_amount(amount_of("2Gi"), is_bytes=True) == "2Gi"
    assert shown_amount(amount_of("1500m")) == "1500m"
