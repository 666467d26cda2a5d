"""Model architectures: what sizes memory and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Architecture", "Task", "find_model"]

Task = Literal["generate", "embed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The shape of one transformer."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    """Longest context the model was made for, tokens."""
    task: Task = "generate"
    dtype: str = "bfloat16"
    is_tied: bool = False
    source: str = ""
    is_guess: bool = False


def find_model(name: str) -> Architecture:
    """The architecture of a model by its hub name."""
    return Architecture(
        name=name,
        layers=36,
        hidden=4096,
        intermediate=12288,
        heads=32,
        kv_heads=8,
        head_dim=128,
        vocab=151936,
        context=40960,
    )
