"""One engine under a steady load: laws, and measured open-loop runs of a real one."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.facts import find_gpu, find_model
from penstock.plan.demand import Demand, plain_demand
from penstock.plan.estimate import Estimate, Layout
from penstock.plan.serving import Engine

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
        assert point.ttft_p50_s * 1e3 == pytest.approx(float(row["ttft_p50"]), rel=0.25), row["name"]
        assert point.itl_p50_s * 1e3 == pytest.approx(float(row["itl_p50"]), rel=0.15), row["name"]
        assert point.e2e_p95_s * 1e3 == pytest.approx(float(row["e2e_p50"]), rel=0.15), row["name"]
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
