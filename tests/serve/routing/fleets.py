"""Endpoints and needs for tests of routing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.serve.routing import Endpoint, EndpointAddress, EndpointTable, EngineSample, ModelTiming, Need

TIMING = ModelTiming(
    name="made-up",
    fixed_s=0.01,
    token_s=1e-4,
    pair_s=0.0,
    steps_s=tuple(0.01 + n * 1e-3 for n in range(65)),
    context_s=0.0,
)
"""10,000 tokens of prefill a second."""


def table_of(count: int, model: str = "chat") -> EndpointTable:
    """Endpoints `chat-0`, `chat-1`, … that have answered."""
    table = EndpointTable()
    table.set_pool(model, [EndpointAddress(id=f"{model}-{n}", host="127.0.0.1", port=9000 + n) for n in range(count)])
    for endpoint in table.all():
        table.observe(endpoint.id, EngineSample(at=0.0))
    return table


def ready(count: int) -> list[Endpoint]:
    """Endpoints that have answered and are idle."""
    return table_of(count).all()


def need(prompt: int = 1000, blocks: Sequence[int] = (), **more: Any) -> Need:
    """Blocks of 100 tokens."""
    return Need(**({"prompt_tokens": prompt, "output_tokens": 10, "blocks": tuple(blocks), "block_tokens": 100} | more))
