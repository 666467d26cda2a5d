"""List prices, and one's own over them."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.plan.prices import list_prices, priced_gpus


def test_every_price_is_of_a_known_gpu() -> None:
    prices = list_prices()

    assert {gpu.name for gpu in priced_gpus(prices)} == set(prices)
    assert all(price > 0 for price in prices.values())


def test_ones_own_price_holds_under_any_name() -> None:
    assert list_prices({"a100": 1.25})["A100-80GB"] == 1_250_000


def test_a_price_of_an_unknown_gpu_is_refused() -> None:
    with pytest.raises(UsageError, match="no GPU"):
        list_prices({"H10": 1.0})
