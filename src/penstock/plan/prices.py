"""List prices of GPUs, and a person's own over them. Pure. Money is in millionths of a US dollar for one GPU-hour."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.facts import GPUS, Gpu, find_gpu

__all__ = ["PRICE_WORDS", "list_prices", "priced_gpus"]

PRICE_WORDS = "AWS EC2 on demand, us-east-1, one GPU's share of the instance, as of 2025-06; MI300X: Azure"
_USD = {
    "T4": 0.526,
    "L4": 0.805,
    "A10G": 1.006,
    "A100-40GB": 2.745,
    "A100-80GB": 3.43,
    "L40S": 1.861,
    "H100": 6.88,
    "H200": 7.91,
    "B200": 14.24,
    "MI300X": 6.00,
}


def list_prices(own: Mapping[str, float] | None = None) -> dict[str, int]:
    """Prices by GPU name; those of `own`, in US dollars under any name of the GPU, hold over the list.

    Raises:
        UsageError: `own` names a GPU that is not known.
    """
    prices = {gpu.name: round(_USD[gpu.name] * 1e6) for gpu in GPUS if gpu.name in _USD}
    for name, usd in (own or {}).items():
        prices[find_gpu(name).name] = round(usd * 1e6)
    return prices


def priced_gpus(prices: Mapping[str, int]) -> tuple[Gpu, ...]:
    """Every GPU that there is a price for."""
    return tuple(gpu for gpu in GPUS if gpu.name in prices)
