"""One engine under a steady load: laws, and measured open-loop runs of a real one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.facts import engine_defaults, find_gpu, find_model
from penstock.plan.demand import Demand, plain_demand
from penstock.plan.estimate import Estimate, Layout
from penstock.plan.serving import Engine
from penstock.simulate.engine.messages import EngineConfig
from penstock.simulate.engine.replay import Answered, replay_open_loop
from penstock.simulate.engine.virtual import LengthRequest

MEASURED = Path(__file__).resolve().parents[3] / "shared" / "data" / "h200" / "serving.csv"


def engine(demand: Demand | None = None, model: str = "meta-llama/Llama-3.1-8B", **changes: object) -> Engine:
    layout = Layout(**{"gpu": find_gpu("H200"), "max_num_seqs": 1024, **changes})  # type: ignore[arg-type]
    return Engine(Estimate(find_model(model), layout, 8192), demand or plain_demand(1.0))


@pytest.mark.skipif(not MEASURED.exists(), reason="the measurements are not beside the project")
def test_measured_loads_are_met_below_saturation() -> None:
    rows = list(csv.DictReader(MEASURED.read_text(encoding="utf-8").splitlines()))
    seen = 0
    for row in rows:
        prompt, output, rate = int(row["in"]), int(row["out"]), float(row["offered"])
        constant = replace(
            plain_demand(rate, prompt, output), prompt_p95=prompt, output_p95=output, prompt_square=prompt * prompt
        )
        found = engine(constant, utilization=0.9)
        point = found.at_rate(rate)
        if point is None or rate > 0.75 * found.saturation():
            continue
        seen += 1
        assert point.ttft_p50_s * 1e3 == pytest.approx(float(row["ttft_p50"]), rel=0.10), row["name"]
        assert point.ttft_p95_s * 1e3 == pytest.approx(float(row["ttft_p95"]), rel=0.12), row["name"]
        assert point.itl_p50_s * 1e3 == pytest.approx(float(row["itl_p50"]), rel=0.15), row["name"]
        assert float(row["tpot_p50"]) <= point.tpot_p95_s * 1e3 <= 1.2 * float(row["tpot_p99"]), row["name"]
    assert seen >= 4


@pytest.mark.skipif(not MEASURED.exists(), reason="the measurements are not beside the project")
def test_a_measured_overload_is_one() -> None:
    row = next(
        r for r in csv.DictReader(MEASURED.read_text(encoding="utf-8").splitlines()) if r["name"] == "p_2048_256_15"
    )

    assert engine(plain_demand(15, 2048, 256), utilization=0.9).saturation() < float(row["offered"])


def test_a_rate_is_hit() -> None:
    found = engine()
    for share in (0.01, 0.3, 0.7, 0.99):
        rate = share * found.saturation()
        point = found.at_rate(rate)
        assert point is not None
        assert point.requests_per_s == pytest.approx(rate, rel=1e-3)


def test_there_is_nothing_beyond_saturation() -> None:
    found = engine()

    assert found.at_rate(1.01 * found.saturation()) is None


def test_an_engine_alone_is_fastest() -> None:
    found = engine()
    alone, busy = found.at_arrivals(1e-6), found.at_rate(0.8 * found.saturation())

    assert busy is not None
    assert alone.ttft_p95_s < busy.ttft_p95_s
    assert alone.itl_p50_s < busy.itl_p50_s


def test_what_ends_first_is_told() -> None:
    assert "requests at once" in engine(max_num_seqs=8).bound
    assert "KV cache is full" in engine(plain_demand(1, 7000, 1000), utilization=0.25).bound
    assert "tokens of a step" in engine(plain_demand(1, 8000, 2)).bound


def test_a_small_model_ends_where_its_api_server_is_busy() -> None:
    found = engine(plain_demand(1, 512, 128), model="meta-llama/Llama-3.2-1B")

    assert "its API server is busy" in found.bound
    assert found.saturation() * 128 < 14_000  # what one process streams
    assert "API server" not in engine(plain_demand(1, 512, 128)).bound


def test_an_embedding_has_no_gaps_between_tokens() -> None:
    found = engine(plain_demand(1, 512, 0), model="Qwen/Qwen3-Embedding-0.6B")
    point = found.at_rate(0.5 * found.saturation())

    assert point is not None
    assert (point.itl_p50_s, point.tpot_p95_s, point.output_tokens_per_s) == (0.0, 0.0, 0.0)
    assert point.prompt_tokens_per_s == pytest.approx(512 * point.requests_per_s)


def test_a_cached_prompt_is_faster() -> None:
    cold = engine(plain_demand(1, 4096, 64))
    warm = engine(plain_demand(1, 4096, 64, cached_share=0.9))

    assert warm.saturation() > 1.5 * cold.saturation()
    assert warm.at_arrivals(1e-6).ttft_p50_s < cold.at_arrivals(1e-6).ttft_p50_s


def test_a_pipeline_serves_more_at_the_same_time() -> None:
    assert engine(pipeline=2).saturation() > engine().saturation()


@settings(deadline=None, max_examples=40)
@given(
    st.integers(16, 8000),
    st.integers(2, 2000),
    st.floats(0.02, 0.95),
    st.floats(0.02, 0.95),
    st.sampled_from([16, 1024]),
)
def test_more_load_is_never_faster(prompt: int, output: int, one: float, other: float, seqs: int) -> None:
    found = engine(plain_demand(1, prompt, output), max_num_seqs=seqs)
    less, more = (found.at_rate(share * found.saturation()) for share in sorted((one, other)))

    assert less is not None
    assert more is not None
    assert more.e2e_p95_s >= less.e2e_p95_s * 0.97  # captured batch sizes make small steps
    assert more.running >= less.running * 0.999
    assert more.output_tokens_per_s >= less.output_tokens_per_s * 0.999


@settings(deadline=None, max_examples=40)
@given(st.integers(16, 8000), st.integers(2, 2000), st.floats(0.02, 0.95))
def test_percentiles_are_in_order_and_shares_are_shares(prompt: int, output: int, share: float) -> None:
    found = engine(plain_demand(1, prompt, output))
    point = found.at_rate(share * found.saturation())

    assert point is not None
    assert point.ttft_p50_s <= point.ttft_p95_s <= point.e2e_p95_s
    assert point.itl_p50_s <= point.itl_p95_s
    assert 0 <= point.prefill_share <= 1
    assert 0 <= point.kv_share <= 1


CASES = [
    ("meta-llama/Llama-3.1-8B", "H200", 512, 128),
    ("meta-llama/Llama-3.1-8B", "H100", 1024, 256),
    ("meta-llama/Llama-3.1-8B", "L40S", 1024, 256),
    ("Qwen/Qwen3-0.6B", "L4", 300, 100),
    ("Qwen/Qwen3-30B-A3B", "H200", 1024, 256),
    ("google/gemma-3-27b-it", "H200", 1024, 256),
    ("meta-llama/Llama-3.1-8B", "H200", 4096, 32),
]


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
@pytest.mark.parametrize(("model", "gpu", "prompt", "output"), CASES)
def test_the_curve_agrees_with_a_simulation_of_every_request(
    model: str, gpu: str, prompt: int, output: int, share: float
) -> None:
    """Seen: TTFT p50 -4 to +5 %, at high load to +18 %, p95 -10 to +19 %, ITL p50 -12 to 0 %, TPOT p95 -15 to +14 %.

    The worst of the second is a mixture of experts at a tenth of its load, where few run: their number wanders, and
    with it the experts that a step reads. At high load one simulation is a sample: see the test below.
    """
    found, config = _planned(model, gpu, prompt, output)
    rate = share * found.saturation()
    point = found.at_rate(rate)
    assert point is not None

    settled = _simulated(config, rate, prompt, output, seed=1)
    ttft = sorted(a.ttft_s for a in settled)
    gaps = sorted(gap for a in settled for gap in a.gaps_s)
    tpot = sorted((a.token_times[-1] - a.token_times[0]) / (output - 1) for a in settled)

    assert point.ttft_p50_s == pytest.approx(ttft[len(ttft) // 2], rel=0.12 if share < 0.8 else 0.20)
    assert point.ttft_p95_s == pytest.approx(ttft[round(0.95 * len(ttft))], rel=0.20)
    assert point.itl_p50_s == pytest.approx(gaps[len(gaps) // 2], rel=0.15)
    assert point.tpot_p95_s == pytest.approx(tpot[round(0.95 * len(tpot))], rel=0.20)


@pytest.mark.parametrize(("model", "gpu", "prompt", "output"), CASES)
def test_first_tokens_at_high_load_agree_with_several_simulations(
    model: str, gpu: str, prompt: int, output: int
) -> None:
    """Seen: p50 -8 to +2 %, p95 -17 to +1 %. The medians of single simulations are 25 to 40 % apart."""
    found, config = _planned(model, gpu, prompt, output)
    rate = 0.8 * found.saturation()
    point = found.at_rate(rate)
    assert point is not None

    runs = [_simulated(config, rate, prompt, output, seed=seed, phase=seed / 6) for seed in range(1, 7)]

    ttft = sorted(a.ttft_s for run in runs for a in run)
    assert point.ttft_p50_s == pytest.approx(ttft[len(ttft) // 2], rel=0.12)
    assert point.ttft_p95_s == pytest.approx(ttft[round(0.95 * len(ttft))], rel=0.18)


def _planned(model: str, gpu: str, prompt: int, output: int) -> tuple[Engine, EngineConfig]:
    """An engine under requests of one length, as it is planned and as it is simulated."""
    constant = replace(
        plain_demand(1.0, prompt, output), prompt_p95=prompt, output_p95=output, prompt_square=prompt * prompt
    )
    defaults = engine_defaults(find_gpu(gpu))
    layout = {"max_num_seqs": defaults.max_num_seqs, "batched_tokens": defaults.max_num_batched_tokens}
    config = EngineConfig(
        model=find_model(model),
        gpu=find_gpu(gpu),
        max_model_len=8192,
        gpu_memory_utilization=0.9,
        max_num_seqs=defaults.max_num_seqs,
        max_num_batched_tokens=defaults.max_num_batched_tokens,
    )
    return engine(constant, model=model, gpu=find_gpu(gpu), utilization=0.9, **layout), config


def _simulated(
    config: EngineConfig, rate: float, prompt: int, output: int, *, seed: int, phase: float | None = None
) -> Sequence[Answered]:
    """Answers of a simulation once it has settled."""
    rng, at, requests = Random(seed), 0.0, []
    for n in range(round(min(1500, max(900, 30 * rate)))):
        at += rng.expovariate(rate)
        requests.append((at, LengthRequest(id=str(n), prompt_tokens=prompt, output_tokens=output)))
    more = {} if phase is None else {"phase": phase}
    return replay_open_loop(requests, config, **more).answered[len(requests) // 4 :]
