"""One model of the fleet: its fields fit together, and its endpoints are addresses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from penstock.spec import HardwareSpec, ModelSpec
from penstock.spec.loader import load_fleet
from spec.fleets import fleet_text, the_problem


def test_a_model_needs_a_name_only() -> None:
    model = ModelSpec(name="Qwen/Qwen3-8B")

    assert model.source_or_name == "Qwen/Qwen3-8B"
    assert model.names == ("Qwen/Qwen3-8B",)
    assert model.replicas == 1


def test_clients_may_send_the_name_or_an_alias() -> None:
    assert ModelSpec(name="chat", source="org/x", aliases=["a", "b"]).names == ("chat", "a", "b")
    assert ModelSpec(name="chat", source="org/x").source_or_name == "org/x"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("http://127.0.0.1:9001/", "http://127.0.0.1:9001"),
        ("http://engine", "http://engine"),
        ("http://[::1]:9001", "http://[::1]:9001"),
    ],
)
def test_an_endpoint_is_kept_without_a_trailing_slash(written: str, kept: str) -> None:
    assert ModelSpec(name="chat", endpoints=[written]).endpoints == [kept]


@pytest.mark.parametrize(
    "written",
    [
        "127.0.0.1:9001",
        "https://a:1",
        "http://",
        "http://a:0",
        "http://a:70000",
        "http://a:x",
        "http://a/v1",
        "http://u@a:1",
        "",
    ],
)
def test_what_is_not_an_address_is_refused(written: str) -> None:
    with pytest.raises(ValidationError, match="must "):
        ModelSpec(name="chat", endpoints=[written])


def test_endpoints_and_hardware_exclude_each_other() -> None:
    problem = the_problem(fleet_text(model="endpoints: ['http://a:1'], hardware: {gpu: L4}"))

    assert problem.field == "spec.models[0].hardware"
    assert "keep one of the two" in problem.message


def test_replicas_beside_endpoints_must_agree() -> None:
    problem = the_problem(fleet_text(model="replicas: 3, endpoints: ['http://a:1', 'http://a:2']"))

    assert problem.field == "spec.models[0].replicas"
    assert ModelSpec(name="chat", replicas=2, endpoints=["http://a:1", "http://a:2"]).replicas == 2


def test_one_endpoint_counts_once_however_it_is_written() -> None:
    problem = the_problem(fleet_text(model="endpoints: ['http://a:1', 'http://a:1/']"))

    assert problem.field == "spec.models[0].endpoints[1]"


def test_a_name_of_a_model_counts_once() -> None:
    problem = the_problem(fleet_text(model="aliases: [a, chat]"))

    assert problem.field == "spec.models[0].aliases[1]"
    assert "already a name of this model" in problem.message


def test_the_end_to_end_objective_is_written_as_people_write_it() -> None:
    model = ModelSpec.model_validate({"name": "chat", "objectives": {"e2eMs": 900}})

    assert model.objectives.e2e_ms == 900


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        (ModelSpec(name="m"), {}),
        (ModelSpec(name="m", quantization="fp8-weights"), {"quantization": "fp8"}),
        (ModelSpec(name="m", quantization="none"), {}),
        (ModelSpec(name="m", quantization="any"), {}),
        (
            ModelSpec(name="m", dtype="float16", kv_cache_dtype="fp8", context_length=8192, concurrency=64),
            {"dtype": "float16", "kv-cache-dtype": "fp8", "max-model-len": "8192", "max-num-seqs": "64"},
        ),
    ],
)
def test_fields_become_flags_of_the_engine(model: ModelSpec, flags: dict[str, str]) -> None:
    assert model.engine_flags == flags


@pytest.mark.parametrize(
    ("hardware", "flags"),
    [
        (HardwareSpec(), {}),
        (HardwareSpec(count=4), {"tensor-parallel-size": "4"}),
        (HardwareSpec(count=8, pipeline_parallel=2), {"tensor-parallel-size": "4", "pipeline-parallel-size": "2"}),
        (HardwareSpec(count=4, data_parallel=4), {"data-parallel-size": "4"}),
        (HardwareSpec(count=1, tensor_parallel=2), {"tensor-parallel-size": "2"}),
    ],
)
def test_the_gpus_that_are_left_share_each_layer(hardware: HardwareSpec, flags: dict[str, str]) -> None:
    assert hardware.engine_flags == flags


def test_a_flag_that_a_field_says_too_is_refused() -> None:
    problem = the_problem(fleet_text(model="contextLength: 8192, engine: {args: {max_model_len: 4096}}"))

    assert problem.field == "spec.models[0].engine.args.max_model_len"
    assert "`contextLength`" in problem.message


def test_a_flag_may_say_the_parallel_size_that_a_count_implies() -> None:
    text = fleet_text(model="hardware: {count: 2}, engine: {args: {tensor-parallel-size: 2}}")

    assert load_fleet(text, "f").spec.models[0].hardware == HardwareSpec(count=2)


def test_a_slice_is_of_one_gpu() -> None:
    problem = the_problem(fleet_text(model="hardware: {gpu: H100, count: 2, mig: 1g.10gb}"))

    assert problem.field == "spec.models[0].hardware.mig"
    assert "cannot span slices" in problem.message


def test_code_of_others_runs_only_at_a_revision_that_was_read() -> None:
    problem = the_problem(fleet_text(model="trustRemoteCode: true"))

    assert problem.field == "spec.models[0].trustRemoteCode"
    assert load_fleet(fleet_text(model="trustRemoteCode: true, revision: 1a2b3c"), "f").spec.models[0].trust_remote_code


def test_an_adapter_has_a_name_that_nobody_else_has() -> None:
    text = fleet_text(model="adapters: [{name: other, source: org/lora}]", models="{name: other}")

    assert the_problem(text).field == "spec.models[1].name"
