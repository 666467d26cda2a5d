"""Asks for the tests of this folder: one model at fixed prices, with what a test wants changed."""

from __future__ import annotations

from typing import Any

from penstock.facts import GPUS, find_gpu, find_model
from penstock.plan import Ask, ModelPlan, plain_demand, size

PRICES = {
    "T4": 500_000,
    "L4": 800_000,
    "A10G": 1_000_000,
    "L40S": 1_900_000,
    "A100-80GB": 2_500_000,
    "H100": 4_000_000,
    "H200": 5_000_000,
    "B200": 8_000_000,
}


def an_ask(model: str = "Qwen/Qwen3-8B", rate: float = 5.0, gpus: str = "", **changes: Any) -> Ask:
    """An ask for a model at a rate; `gpus` by name with blanks between, every priced one where none is named."""
    chosen = tuple(find_gpu(name) for name in gpus.split()) or tuple(gpu for gpu in GPUS if gpu.name in PRICES)
    values: dict[str, Any] = {
        "name": model,
        "source": model,
        "model": find_model(model),
        "demand": plain_demand(rate),
        "gpus": chosen,
        "prices": PRICES,
        "price_words": "prices of the tests",
    }
    return Ask(**{**values, **changes})


def a_plan(model: str = "Qwen/Qwen3-8B", rate: float = 5.0, gpus: str = "", **changes: Any) -> ModelPlan:
    """The plan of such an ask, which must have one."""
    found = size(an_ask(model, rate, gpus, **changes))
    assert isinstance(found, ModelPlan), found
    return found
