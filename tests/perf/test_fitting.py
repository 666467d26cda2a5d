"""Least squares that find what made the points."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.facts import find_gpu, find_model
from penstock.perf.calibration import default_calibration
from penstock.perf.fitting import (
    DECODE_OVERHEADS,
    PREFILL_OVERHEADS,
    Point,
    error_bounds,
    fit_line,
    fit_points,
    predict,
    with_errors,
)
from perf.measured import NEEDS_H200, points

H200 = find_gpu("H200")
START = default_calibration(H200)
LLAMA = find_model("Llama-3.1-8B")


def _made(calibration: object, count: int = 10) -> list[Point]:
    blank = [
        Point(kind="decode", model=LLAMA, gpu=H200, requests=2**n, context=200 * (1 + n % 3), seconds=1.0)
        for n in range(count)
    ]
    return [replace(p, seconds=predict(p, calibration)) for p in blank]  # type: ignore[arg-type]


@settings(max_examples=15, deadline=None)
@given(layer=st.floats(0.6, 1.6), bandwidth=st.floats(0.8, 1.1))
def test_overheads_that_made_the_points_are_found(layer: float, bandwidth: float) -> None:
    o = START.overheads
    truth = replace(
        START,
        overheads=replace(o, layer_s=o.layer_s * layer, bandwidth_share=o.bandwidth_share * bandwidth),
    )
    names = ("overheads.layer_s", "overheads.bandwidth_share")
    found = fit_points(_made(truth), START, names, trust=1e-6)
    assert found.overheads.layer_s == pytest.approx(truth.overheads.layer_s, rel=0.02)
    assert found.overheads.bandwidth_share == pytest.approx(truth.overheads.bandwidth_share, rel=0.02)


def test_what_the_points_do_not_show_stays() -> None:
    found = fit_points(_made(START), START, ("overheads.expert_layer_s", "overheads.layer_s"))
    assert found.overheads.expert_layer_s == START.overheads.expert_layer_s
    assert found == fit_points(_made(START), START, ("overheads.expert_layer_s", "overheads.layer_s"))


@NEEDS_H200
@pytest.mark.parametrize("held_out", ["llama-3.1-8b", "qwen2.5-7b", "qwen3-30b-a3b"])
def test_model_that_the_fit_never_saw_is_within_the_bars(held_out: str) -> None:
    """Decode, seen: median 1.0 to 1.5 %, all points within 10 %. From data-sheet-like starting values."""
    neutral = replace(START, overheads=replace(START.overheads, layer_s=30e-6, bandwidth_share=1.0, matmul_share=0.9))
    seen = [p for p in points("decode") if p.model.name != held_out]
    fitted = fit_points(seen, neutral, DECODE_OVERHEADS, trust=0.01)
    errors = [abs(predict(p, fitted) / p.seconds - 1) for p in points("decode") if p.model.name == held_out]
    assert statistics.median(errors) < 0.08
    assert sum(1 for e in errors if e < 0.20) >= 0.95 * len(errors)


@NEEDS_H200
def test_prefill_of_the_mixture_is_within_the_bars_when_only_the_dense_one_was_fitted() -> None:
    seen = [p for p in points("decode") + points("prefill") if p.model.name == "llama-3.1-8b"]
    fitted = fit_points(seen, START, DECODE_OVERHEADS + PREFILL_OVERHEADS)
    errors = [abs(predict(p, fitted) / p.seconds - 1) for p in points("prefill") if p.model.name == "qwen3-30b-a3b"]
    assert statistics.median(errors) < 0.08


@pytest.mark.parametrize(
    ("xs", "ys", "line"),
    [
        ([0, 1, 2], [1, 3, 5], (1, 2)),
        ([1, 2, 3], [5, 4, 3], (4, 0)),  # falling: no slope below 0
        ([1, 2, 3], [0, 2, 4], (0, 16 / 14)),  # through the origin
    ],
)
def test_line_has_no_negative_part(xs: list[float], ys: list[float], line: tuple[float, float]) -> None:
    assert fit_line(xs, ys) == pytest.approx(line)


@given(st.lists(st.floats(0.5, 2.0), min_size=20, max_size=200))
def test_bounds_hold_their_share_of_the_points(ratios: list[float]) -> None:
    low, high = error_bounds([1.0] * len(ratios), ratios)
    inside = sum(1 for r in ratios if low <= r <= high)
    assert inside >= 0.9 * len(ratios) - 2
    assert with_errors(START, "decode", (low, high)).interval(1.0, "decode") == (low, high)
