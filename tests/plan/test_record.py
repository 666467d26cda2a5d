"""A plan as JSON: stable fields, figures that agree with the plan; `make golden` writes the files in `golden/`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from penstock.plan import ModelPlan, Objectives, cost_of, demand_of_requests, fleet_record, model_record
from plan.asks import a_plan

GOLDEN = Path(__file__).parent / "golden"
PLANS: dict[str, dict[str, object]] = {
    "8b-at-20-a-second": {"rate": 20.0, "objectives": Objectives(ttft_ms=500, itl_ms=30)},
    "70b-fp8-on-h100": {
        "model": "meta-llama/Llama-3.1-70B",
        "gpus": "H100",
        "quantization": "fp8",
        "is_gpu_given": True,
    },
    "gpt-oss-120b": {"model": "openai/gpt-oss-120b", "rate": 10.0},
    "embedding": {"model": "Qwen/Qwen3-Embedding-0.6B", "rate": 100.0},
    "hybrid-without-a-rate": {"model": "google/gemma-3-27b-it", "rate": 0.0, "replicas": 2},
}


def plan_of(name: str) -> ModelPlan:
    return a_plan(**PLANS[name])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_as_it_was_reviewed(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    record = json.dumps(model_record(plan_of(name)), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("PENSTOCK_WRITE_GOLDEN"):
        path.write_text(record, encoding="utf-8")

    assert json.loads(record) == json.loads(path.read_text(encoding="utf-8")), "review it, then `make golden`"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(PLANS)


def test_the_memory_parts_add_up_to_the_gpu() -> None:
    memory = model_record(plan_of("gpt-oss-120b"))["memory"]

    assert sum(memory["bytes_per_gpu"].values()) == memory["total_bytes_per_gpu"]


def test_money_for_tokens_adds_up_to_money_for_hours() -> None:
    plan = plan_of("8b-at-20-a-second")
    cost, demand = cost_of(plan), plan.ask.demand
    assert cost.input_micros_per_million is not None
    assert cost.output_micros_per_million is not None
    per_request = (
        cost.input_micros_per_million * demand.prompt_tokens + cost.output_micros_per_million * demand.output_tokens
    ) / 1e6

    assert per_request * 20 * 3600 == pytest.approx(cost.micros_per_hour, rel=0.01)


def test_without_a_price_there_is_no_cost() -> None:
    record = model_record(a_plan(gpus="MI300X", is_gpu_given=True))

    assert record["cost"]["usd_per_hour"] is None
    assert fleet_record("f", [a_plan(gpus="MI300X", is_gpu_given=True)], price_words="")["usd_per_hour"] is None


def test_a_fleet_is_the_sum_of_its_models() -> None:
    plans = [plan_of("8b-at-20-a-second"), plan_of("embedding")]
    record = fleet_record("two", plans, price_words="p")

    assert record["format"] == "penstock.dev/plan/v1alpha1"
    assert record["gpus"] == sum(plan.choice.layout.gpus * plan.choice.replicas for plan in plans)
    assert record["usd_per_hour"] == pytest.approx(sum((plan.choice.price or 0) / 1e6 for plan in plans))


def test_a_record_is_plain_json() -> None:
    rows = [(float(n), 500, 50) for n in range(5000)]
    record = model_record(a_plan(demand=demand_of_requests(rows, words="r")))

    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_intervals_hold_their_figure() -> None:
    for point in model_record(plan_of("70b-fp8-on-h100"))["curve"]:
        for name in ("ttft_p50_ms", "ttft_p95_ms", "itl_p50_ms", "tpot_p95_ms"):
            assert point[name]["low"] < point[name]["value"] < point[name]["high"]
