"""A whole fleet sized as its file says."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.facts import Architecture, find_model
from penstock.plan.fleet import FleetPlan, size_fleet
from penstock.spec import Fleet
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\n"


def fleet_of(*models: str, hardware: str = "{}") -> Fleet:
    lines = "".join(f"    - {{{model}}}\n" for model in models)
    return load_fleet(f"{HEAD}spec:\n  hardware: {hardware}\n  models:\n{lines}", "f")


def sized(*models: str, hardware: str = "{}") -> FleetPlan:
    return size_fleet(fleet_of(*models, hardware=hardware), architecture_of=find_model)


def test_each_model_has_a_plan_of_its_own() -> None:
    plan = sized("name: a, source: Qwen/Qwen3-8B, hardware: {gpu: H100}", "name: b, source: openai/gpt-oss-120b")

    assert list(plan.plans) == ["a", "b"]
    assert plan.plans["a"].ask.name == "a"
    assert plan.refusals == ()


def test_a_model_that_names_no_hardware_runs_on_h100s_where_the_fleet_names_none() -> None:
    assert sized("name: a, source: Qwen/Qwen3-8B").plans["a"].choice.layout.gpu.name == "H100"


def test_it_runs_on_what_the_cluster_has() -> None:
    plan = sized("name: a, source: Qwen/Qwen3-8B", hardware="{classes: [{gpu: L40S}]}")

    assert plan.plans["a"].choice.layout.gpu.name == "L40S"


def test_what_runs_elsewhere_is_not_planned() -> None:
    plan = sized("name: far, endpoints: ['http://10.0.0.1:8000']", "name: a, source: Qwen/Qwen3-8B")

    assert list(plan.plans) == ["a"]


def test_every_refusal_is_told_at_its_place() -> None:
    plan = sized(
        "name: a, source: nobody/knows", "name: b, source: Qwen/Qwen3-235B-A22B, hardware: {gpu: L4, count: 1}"
    )

    assert [(r.model, r.at[:3]) for r in plan.refusals] == [("a", ("spec", "models", 0)), ("b", ("spec", "models", 1))]
    assert plan.refusals[0].at == ("spec", "models", 0, "source")
    assert plan.plans == {}


def test_equal_models_are_looked_up_each_and_planned_alike() -> None:
    asked: list[str] = []

    def architecture_of(source: str) -> Architecture:
        asked.append(source)
        return find_model(source)

    fleet = fleet_of(*(f"name: m{n}, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}" for n in range(3)))
    plans = size_fleet(fleet, architecture_of=architecture_of).plans

    assert asked == ["Qwen/Qwen3-8B"] * 3
    assert [plan.ask.name for plan in plans.values()] == ["m0", "m1", "m2"]
    assert len({plan.context for plan in plans.values()}) == 1


def test_a_gpu_that_nobody_knows_is_told() -> None:
    with pytest.raises(UsageError, match=r"spec\.hardware: "):
        sized("name: a, source: Qwen/Qwen3-8B", hardware="{gpus: [H1000]}")
