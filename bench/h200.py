"""Reads the measurements of real vLLM on an H200, where they lie beside the checkout."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

from penstock.facts import find_gpu, find_model
from penstock.perf.fitting import Point
from penstock.simulate.engine import EngineConfig, LengthRequest

H200 = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "h200"
WARM = {"l8b-serve", "l8b-eager"}
"""Starts whose compiled code was cached."""
SERVED = EngineConfig(
    model=find_model("Llama-3.1-8B"), gpu=find_gpu("H200"), max_model_len=8192, gpu_memory_utilization=0.9
)
"""The server of the open-loop points."""


def starts() -> list[dict[str, Any]]:
    """Every measured start, with its options as a mapping."""
    found: list[dict[str, Any]] = json.loads((H200 / "memory.json").read_text())
    for start in found:
        args = [a for a in start["args"] if a != "--enforce-eager"]
        start["options"] = dict(zip(args[::2], args[1::2], strict=True))
    return found


def rows(name: str) -> list[dict[str, str]]:
    """A table as it is."""
    raw = (H200 / name).read_bytes()
    text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode()
    return list(csv.DictReader(text.splitlines()))


def points(kind: str, *, is_eager: bool = False) -> list[Point]:
    """Every decode step or prefill that was measured."""
    read = _decode_point if kind == "decode" else _prefill_point
    table = "decode.csv" if kind == "decode" else "prefill.csv"
    return [read(row) for row in rows(table) if ("eager" in row["run"]) == is_eager]


def _decode_point(row: dict[str, str]) -> Point:
    return Point(
        kind="decode",
        model=find_model(row["model"]),
        gpu=find_gpu("H200"),
        requests=int(row["B"]),
        context=int(row["mean_ctx"]),
        is_eager="eager" in row["run"],
        seconds=float(row["step_ms"]) / 1e3,
    )


def _prefill_point(row: dict[str, str]) -> Point:
    tokens = int(row["nin"])
    return Point(
        kind="prefill",
        model=find_model(row["model"]),
        gpu=find_gpu("H200"),
        prompt_tokens=tokens,
        cached_tokens=tokens - int(row["computed"]),
        is_eager="eager" in row["run"],
        seconds=float(row["engine_ms"]) / 1e3,
    )


def load_points() -> dict[str, tuple[dict[str, float], list[tuple[float, LengthRequest]]]]:
    """Each open-loop point: what was measured, and the requests with their times."""
    with gzip.open(H200 / "serving-requests-llama-3.1-8b.json.gz") as file:
        sent = json.load(file)
    found = {}
    for row in rows("serving.csv"):
        name = row["name"]
        requests = [
            (at, LengthRequest(id=str(n), prompt_tokens=tokens, output_tokens=output))
            for n, (at, tokens, output, *_) in enumerate(sent[name]["requests"])
        ]
        numbers = {k: float(v) for k, v in row.items() if k not in ("run", "model", "name")}
        found[name] = (numbers, requests)
    return found
