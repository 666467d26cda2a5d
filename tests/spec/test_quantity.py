"""Kubernetes quantities mean what Kubernetes takes them to mean."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec import parse_quantity
from spec.fleets import fleet_text, the_problem


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1Gi", 2**30),
        ("100", 100),
        ("1.5G", 1_500_000_000),
        ("2e3", 2000),
        ("1E", 10**18),
        ("0.5Ki", 512),
        (".5", "0.5"),
    ],
)
def test_suffixes_are_powers_of_ten_or_of_two(text: str, meant: int | str) -> None:
    assert parse_quantity(text) == Decimal(meant)


def test_a_thousandth_of_a_cpu_is_an_m() -> None:
    assert parse_quantity("500m") == Decimal("0.5")


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GiB", "1gi", "1K", "ten", "1e3Gi", "--1"])
def test_what_is_no_quantity_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no Kubernetes quantity"):
        parse_quantity(text)


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi", "Ti"]))
def test_more_of_a_unit_is_more(count: int, unit: str) -> None:
    assert parse_quantity(f"{count + 1}{unit}") > parse_quantity(f"{count}{unit}")


@pytest.mark.parametrize(
    ("field", "value"), [("memory", "0"), ("memory", "-1Gi"), ("memory", "500m"), ("cpu", "0"), ("cpu", "-1")]
)
def test_a_size_or_a_number_of_cpus_is_above_zero(field: str, value: str) -> None:
    problem = the_problem(fleet_text(model=f"resources: {{{field}: '{value}'}}"))

    assert problem.field == f"spec.models[0].resources.{field}"
