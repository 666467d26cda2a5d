"""Watching processes that are not our children, without polling."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

import pytest

PATIENCE_S = 30.0
"""A bound for the hopeless case; nothing waits this long when all is well."""


def _has_ended(pid: int) -> bool:
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([watch], [], [], PATIENCE_S)
        return bool(readable)
    finally:
        os.close(watch)


@pytest.fixture
def has_ended() -> Callable[[int], bool]:
    """Waits for the end of a process; False when it did not come."""
    return _has_ended
