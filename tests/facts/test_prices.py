"""List prices."""

from __future__ import annotations

import re

from penstock.facts import GPUS, LIST_PRICES, list_price


def test_every_price_is_of_a_known_gpu_dated_and_sourced() -> None:
    names = {gpu.name for gpu in GPUS}
    for price in LIST_PRICES:
        assert price.gpu in names
        assert re.fullmatch(r"20\d\d-\d\d", price.as_of)
        assert price.source
        assert price.instance
        assert 0.3 < price.usd_per_hour < 20
    assert len({p.gpu for p in LIST_PRICES}) == len(LIST_PRICES)


def test_price_is_one_gpus_share_of_its_instance() -> None:
    price = list_price("H100")
    assert price is not None
    assert price.micro_usd_per_hour == 6_880_000
    assert list_price("RTX-4090") is None


def test_memory_and_price_rise_together_where_the_kind_is_the_same() -> None:
    prices = [p.usd_per_hour for name in ("A100-40GB", "A100-80GB", "H100", "H200", "B200") if (p := list_price(name))]
    assert prices == sorted(prices)
