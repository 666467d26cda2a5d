"""List prices of GPUs, and a person's own over them. Pure. Money is in millionths of a US dollar for one GPU-hour."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.facts import GPUS, LIST_PRICES, Gpu, find_gpu

__all__ = ["PRICE_WORDS", "list_prices", "priced_gpus"]


def _words() -> str:
    """The sources of the list, each with its GPUs where it is not everybody's."""
    sources = list(dict.fromkeys((price.source, price.as_of) for price in LIST_PRICES))
    parts = [f"{source}, {as_of}" for source, as_of in sources[:1]]
    for source, as_of in sources[1:]:
        gpus = ", ".join(price.gpu for price in LIST_PRICES if (price.source, price.as_of) == (source, as_of))
        parts.append(f"{gpus}: {source}, {as_of}")
    return "; ".join(parts)


PRICE_WORDS = _words()
"""Where the list prices are from, for people."""


def list_prices(own: Mapping[str, float] | None = None) -> dict[str, int]:
    """Prices by GPU name; those of `own`, in US dollars under any name of the GPU, hold over the list.

    Raises:
        UsageError: `own` names a GPU that is not known.
    """
    prices = {price.gpu: price.micro_usd_per_hour for price in LIST_PRICES}
    for name, usd in (own or {}).items():
        prices[find_gpu(name).name] = round(usd * 1e6)
    return prices


def priced_gpus(prices: Mapping[str, int]) -> tuple[Gpu, ...]:
    """Every GPU that there is a price for."""
    return tuple(gpu for gpu in GPUS if gpu.name in prices)
