"""Decoding."""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.schemas import Shape

__all__ = ["decode", "unknown_fields"]


def decode(obj: dict[str, Any], shape: Shape, resource: Resource) -> dict[str, Any]:
    return obj


def unknown_fields(obj: dict[str, Any], shape: Shape) -> list[str]:
    return []
