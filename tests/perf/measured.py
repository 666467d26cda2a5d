"""Measurements of real vLLM on an H200, read where they lie; kept beside the checkout, not in it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from penstock.facts import find_gpu, find_model
from penstock.perf.fitting import Point

H200 = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "h200"
NEEDS_H200 = pytest.mark.skipif(not H200.exists(), reason="the measurements of an H200 are not beside this checkout")
WARM = {"l8b-serve", "l8b-eager"}
"""Starts whose compiled code was cached."""


def starts() -> list[dict[str, Any]]:
    """Every measured start, with its options as a mapping."""
    found: list[dict[str, Any]] = json.loads((H200 / "memory.json").read_text())
    for start in found:
        args = [a for a in start["args"] if a != "--enforce-eager"]
        start["options"] = dict(zip(args[::2], args[1::2], strict=True))
    return found


def rows(name: str) -> list[dict[str, str]]:
    with (H200 / name).open(newline="") as file:
        return list(csv.DictReader(file))


def points(kind: str, *, is_eager: bool = False) -> list[Point]:
    """Every decode step or prefill that was measured."""
    gpu, found = find_gpu("H200"), []
    for row in rows("decode.csv" if kind == "decode" else "prefill.csv"):
        if ("eager" in row["run"]) != is_eager:
            continue
        model = find_model(row["model"])
        if kind == "decode":
            found.append(
                Point(
                    kind="decode",
                    model=model,
                    gpu=gpu,
                    requests=int(row["B"]),
                    context=int(row["mean_ctx"]),
                    seconds=float(row["step_ms"]) / 1e3,
                )
            )
        else:
            tokens = int(row["nin"])
            found.append(
                Point(
                    kind="prefill",
                    model=model,
                    gpu=gpu,
                    prompt_tokens=tokens,
                    cached_tokens=tokens - int(row["computed"]),
                    is_eager=is_eager,
                    seconds=float(row["engine_ms"]) / 1e3,
                )
            )
    return found
