"""What a model needs in a cluster: the file's word first, then the plan's."""

from __future__ import annotations

from penstock.facts import find_model
from penstock.plan.fleet import size_fleet
from penstock.plan.manifests import ModelNeeds, needs_of
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec:\n  models:\n    - "


def needs(model: str, source: str = "Qwen/Qwen3-8B") -> ModelNeeds:
    fleet = load_fleet(f"{HEAD}{{name: m, source: {source}, {model}}}\n", "f")
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


def test_the_longest_answer_is_a_chats_or_four_times_the_mean_and_never_over_the_context() -> None:
    assert needs("hardware: {gpu: H100}").answer_tokens == 4096
    assert needs("hardware: {gpu: H100}, demand: {outputTokens: 2000}").answer_tokens == 8000
    assert needs("hardware: {gpu: H100}, contextLength: 2048").answer_tokens == 2048
    assert needs("hardware: {gpu: L4}", source="Qwen/Qwen3-Embedding-0.6B").answer_tokens == 0


def test_a_longer_answer_takes_longer() -> None:
    short, long = (needs(f"hardware: {{gpu: H100}}, demand: {{outputTokens: {tokens}}}") for tokens in (500, 4000))

    assert 0 < short.answer_s < long.answer_s


def test_the_context_is_the_models_own_longest_where_the_file_says_nothing() -> None:
    found = needs("hardware: {gpu: H100}")

    assert found.context == find_model("Qwen/Qwen3-8B").context
    assert "max-model-len" not in found.flags


def test_a_context_longer_than_the_kv_cache_is_cut_to_what_one_request_can_have() -> None:
    found = needs("hardware: {gpu: L4, count: 1}", source="meta-llama/Llama-3.1-8B-Instruct")

    assert found.kv_tokens < find_model("meta-llama/Llama-3.1-8B-Instruct").context
    assert found.kv_tokens - 1024 < found.context <= found.kv_tokens
    assert found.flags["max-model-len"] == str(found.context)


def test_a_context_that_the_file_says_is_what_the_engine_is_told() -> None:
    found = needs("hardware: {gpu: H100}, contextLength: 16384")

    assert (found.context, found.flags["max-model-len"]) == (16384, "16384")
