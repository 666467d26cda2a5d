"""Open-loop serving against real vLLM: the recorded arrivals, replayed."""

from __future__ import annotations

import statistics

import pytest

from penstock.facts import find_gpu, find_model
from penstock.simulate.engine.messages import EngineConfig
from penstock.simulate.engine.replay import OpenLoop, replay_open_loop
from penstock.simulate.engine.virtual import LengthRequest
from perf.measured import NEEDS_H200, load_points

CONFIG = EngineConfig(
    model=find_model("Llama-3.1-8B"), gpu=find_gpu("H200"), max_model_len=8192, gpu_memory_utilization=0.9
)


PHASES = 8
"""Replays of each load, with the host slow at other times in each: a dozen seconds are too few for a tail."""


def _recorded(name: str) -> tuple[dict[str, float], list[OpenLoop]]:
    """A load point as measured and as replayed."""
    measured, requests = load_points()[name]
    return measured, [replay_open_loop(requests, CONFIG, phase=n / PHASES) for n in range(PHASES)]


def _quantile_ms(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1] * 1e3


@NEEDS_H200
@pytest.mark.parametrize("name", ["p_512_128_8", "p_512_128_24", "p_512_128_38", "p_2048_256_3", "p_2048_256_7"])
def test_load_below_saturation_is_served_as_measured(name: str) -> None:
    """Seen: TTFT p50 0 to +5 %, p95 -4 to +3 %, p99 -8 to +3 %, ITL p50 -3 to +9 %, p99 -11 to +7 %."""
    measured, replays = _recorded(name)
    ttft = [a.ttft_s for replayed in replays for a in replayed.answered]
    gaps = [g for replayed in replays for a in replayed.answered for g in a.gaps_s]
    for values, field in ((ttft, "ttft"), (gaps, "itl")):
        assert _quantile_ms(values, 0.50) == pytest.approx(measured[f"{field}_p50"], rel=0.10)
        assert _quantile_ms(values, 0.99) == pytest.approx(measured[f"{field}_p99"], rel=0.15)
    assert _quantile_ms(ttft, 0.95) == pytest.approx(measured["ttft_p95"], rel=0.10)
    assert statistics.mean(gaps) * 1e3 == pytest.approx(measured["itl_mean"], rel=0.05)
    for replayed in replays:
        assert replayed.output_tokens_per_s == pytest.approx(measured["out_tok_s"], rel=0.02)
        assert replayed.running_max == pytest.approx(measured["max_running"], rel=0.10)
        assert replayed.preemptions == 0


@NEEDS_H200
def test_load_past_saturation_shows_as_running_and_not_as_waiting() -> None:
    """Seen: everything within 8 %."""
    measured, replays = _recorded("p_2048_256_15")
    ttft = [a.ttft_s for replayed in replays for a in replayed.answered]
    gaps = [g for replayed in replays for a in replayed.answered for g in a.gaps_s]
    for share, field in ((0.5, "ttft_p50"), (0.95, "ttft_p95"), (0.99, "ttft_p99")):
        assert _quantile_ms(ttft, share) == pytest.approx(measured[field], rel=0.15)
    for share, field in ((0.5, "itl_p50"), (0.99, "itl_p99")):
        assert _quantile_ms(gaps, share) == pytest.approx(measured[field], rel=0.15)
    for replayed in replays:
        assert replayed.output_tokens_per_s == pytest.approx(measured["out_tok_s"], rel=0.05)
        assert replayed.running_max == pytest.approx(measured["max_running"], rel=0.10)
        assert replayed.kv_usage_max == pytest.approx(measured["max_kv"], rel=0.10)
        assert replayed.waiting_max <= 5


def test_all_is_answered_and_twice_the_same() -> None:
    requests = [
        (n * 0.02, LengthRequest(id=str(n), prompt_tokens=100 + 50 * (n % 7), output_tokens=1 + n % 40))
        for n in range(120)
    ]
    one, two = replay_open_loop(requests, CONFIG), replay_open_loop(requests, CONFIG)
    assert one == two
    assert [len(a.token_times) for a in one.answered] == [1 + n % 40 for n in range(120)]
    assert all(a.sent_at < a.token_times[0] <= a.token_times[-1] for a in one.answered)
    assert all(gap > 0 for a in one.answered for gap in a.gaps_s)
    assert one.duration_s == max(a.token_times[-1] for a in one.answered)


def test_nothing_in_nothing_out() -> None:
    assert replay_open_loop([], CONFIG).output_tokens_per_s == 0.0
