"""Custom resources against their structural schema: pruning, defaults, validation. Pure."""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.merge import clone
from penstock.operate.testing.schemas import Shape
from penstock.operate.testing.status import Cause

__all__ = ["structural_causes", "with_structural_defaults", "without_unknown"]


def without_unknown(obj: dict[str, Any], shape: Shape) -> dict[str, Any]:
    found: dict[str, Any] = clone(obj)
    return found


def with_structural_defaults(obj: dict[str, Any], shape: Shape) -> dict[str, Any]:
    return obj


def structural_causes(obj: dict[str, Any], live: dict[str, Any] | None, shape: Shape) -> list[Cause]:
    return []
