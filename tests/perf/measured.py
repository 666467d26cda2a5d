"""Measurements of real vLLM on an H200, for tests; skipped with a reason where they are not."""

from __future__ import annotations

import pytest

from bench.h200 import H200, WARM, load_points, points, rows, starts

__all__ = ["H200", "NEEDS_H200", "WARM", "load_points", "points", "rows", "starts"]

NEEDS_H200 = pytest.mark.skipif(not H200.exists(), reason="the measurements of an H200 are not beside this checkout")
