"""The router's few numbers say what the performance model says."""

from __future__ import annotations

import pytest

from penstock.facts import find_gpu, find_model
from penstock.perf import StepTime
from penstock.serve.routing.hardware import timing_of, timing_of_steps
from penstock.spec import ModelSpec

STEP = StepTime(find_model("Llama-3.1-8B"), find_gpu("H200"))
TIMING = timing_of_steps(STEP, seqs_max=256)


@pytest.mark.parametrize("tokens", [256, 1000, 7000, 30_000, 85_000])
def test_prefill_is_the_models_within_a_seventh(tokens: int) -> None:
    assert TIMING.prefill_s(tokens) == pytest.approx(STEP.prefill_s(tokens), rel=0.14)


def test_cached_tokens_are_still_attended_to() -> None:
    assert TIMING.prefill_s(2000, 30_000) == pytest.approx(STEP.prefill_s(32_000, cached_tokens=30_000), rel=0.2)
    assert TIMING.prefill_s(2000) < TIMING.prefill_s(2000, 30_000) < TIMING.prefill_s(32_000)


@pytest.mark.parametrize(("requests", "context"), [(1, 500), (16, 2000), (200, 1000)])
def test_decode_is_the_models_within_a_tenth(requests: int, context: int) -> None:
    expected = STEP.decode_s(requests, context)
    assert TIMING.step_s(requests, requests * context) == pytest.approx(expected, rel=0.1)


def test_an_embedding_model_has_no_decode() -> None:
    step = StepTime(find_model("Qwen3-Embedding-0.6B"), find_gpu("H200"))
    timing = timing_of_steps(step, seqs_max=256)
    assert (timing.steps_s, timing.context_s) == ((0.0,), 0.0)


def _model(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate({"name": "chat", "source": "meta-llama/Llama-3.1-8B-Instruct", **fields})


def test_a_model_of_the_fleet_file_has_its_hardwares_timing() -> None:
    timing = timing_of(_model(hardware={"gpu": "H200"}), find_model("Llama-3.1-8B"))
    assert timing is not None
    assert timing.name == "h200-vllm-0.26"
    slower = timing_of(_model(hardware={"gpu": "A100"}), find_model("Llama-3.1-8B"))
    assert slower is not None
    assert slower.token_s > timing.token_s


def test_what_runs_on_hardware_that_nobody_named_has_none() -> None:
    elsewhere = _model(endpoints=["http://10.0.0.1:8000"])
    assert timing_of(elsewhere, find_model("Llama-3.1-8B")) is None
    assert timing_of(_model(), find_model("nobody/knows-this-model")) is None
