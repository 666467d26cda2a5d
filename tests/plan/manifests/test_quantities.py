"""Quantities as the API server writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.plan.manifests.quantities import canonical
from penstock.spec.quantity import parse_quantity


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1Gi", "1Gi"),
        ("2500m", "2500m"),
        ("1000Mi", "1000Mi"),
        ("1e3", "1k"),
        ("2000M", "2G"),
        ("0.5Ki", "512"),
    ],
)
def test_a_quantity_is_kept_as_the_api_server_writes_it(written: str, kept: str) -> None:
    assert canonical(written) == kept


@given(st.integers(1, 10**12), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_it_means_the_same_and_does_not_change_again(number: int, suffix: str) -> None:
    written = f"{number}{suffix}"
    assert parse_quantity(canonical(written)) == parse_quantity(written)
    assert canonical(canonical(written)) == canonical(written)
