"""Defaults."""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.kinds import Resource

__all__ = ["with_defaults"]


def with_defaults(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    return obj
