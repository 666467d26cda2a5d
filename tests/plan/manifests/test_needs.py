"""What a model needs in a cluster: the file's word first, then the plan's."""

from __future__ import annotations

from penstock.facts import find_model
from penstock.plan.fleet import size_fleet
from penstock.plan.manifests import ModelNeeds, needs_of
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec:\n  models:\n    - "


def needs(model: str) -> ModelNeeds:
    fleet = load_fleet(f"{HEAD}{{name: m, source: Qwen/Qwen3-8B, {model}}}\n", "f")
    plan = size_fleet(fleet, architecture_of=find_model).plans["m"]
    return needs_of(fleet.spec.models[0], plan)


def test_replicas_are_as_many_as_the_demand_asks_for_where_the_file_names_none() -> None:
    planned = needs("hardware: {gpu: H100}, demand: {requestsPerS: 100, inputTokens: 2000, outputTokens: 500}")
    said = needs(
        "hardware: {gpu: H100}, replicas: 1, demand: {requestsPerS: 100, inputTokens: 2000, outputTokens: 500}"
    )

    assert planned.replicas > 1
    assert said.replicas == 1


def test_a_model_without_demand_runs_once() -> None:
    found = needs("hardware: {gpu: H100}")

    assert (found.replicas, found.is_demand_stated) == (1, False)


def test_the_gpus_of_a_replica_are_the_product_of_its_parallel_sizes() -> None:
    found = needs("hardware: {gpu: H100, count: 4, dataParallel: 2}")

    assert (found.tensor, found.pipeline, found.data, found.gpus) == (2, 1, 2, 4)


def test_a_replica_is_aimed_at_a_load_that_holds_the_objectives() -> None:
    strict = needs("hardware: {gpu: H100}, objectives: {itlMs: 12}")
    loose = needs("hardware: {gpu: H100}, objectives: {itlMs: 100}")

    assert 1 <= strict.concurrency < loose.concurrency
