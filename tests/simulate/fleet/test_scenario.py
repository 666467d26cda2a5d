from __future__ import annotations

from typing import Any

import pytest

from penstock.facts import find_gpu, find_model
from penstock.plan import Ask, Refusal, ask_of_model, list_prices, plain_demand
from penstock.simulate.engine import EngineConfig
from penstock.simulate.fleet.scenario import engine_of
from penstock.spec import ModelSpec
from simulate.fleet.rig import scenario

H100 = find_gpu("H100")


def _engine(gpu: str = "H100", **fields: Any) -> EngineConfig | Refusal:
    model = ModelSpec.model_validate({"name": "chat", "source": "Qwen/Qwen3-8B", **fields})
    ask = ask_of_model(
        model,
        find_model(model.source_or_name),
        demand=plain_demand(0.0, 1, 1),
        gpus=(H100,),
        prices=list_prices(),
    )
    assert isinstance(ask, Ask)
    return engine_of(model, ask, find_gpu(gpu))


def _made(**fields: Any) -> EngineConfig:
    found = _engine(**fields)
    assert isinstance(found, EngineConfig)
    return found


def test_what_is_not_said_is_as_the_engine_has_it_on_that_gpu() -> None:
    large, small = _made(), _made(gpu="L4")

    assert (large.max_num_seqs, large.max_num_batched_tokens) == (1024, 8192)
    assert (small.max_num_seqs, small.max_num_batched_tokens) == (256, 2048)
    assert large.max_model_len is None


def test_fields_and_flags_of_the_file_reach_the_engine() -> None:
    args = {
        "max-num-batched-tokens": 4096,
        "gpu-memory-utilization": 0.8,
        "no-enable-prefix-caching": True,
        "scheduling-policy": "priority",
        "block-size": 32,
        "num_gpu_blocks_override": 900,
        "async-scheduling": False,
        "enforce-eager": True,
    }
    made = _made(
        contextLength=8192,
        concurrency=64,
        quantization="fp8",
        kvCacheDtype="fp8",
        hardware={"gpu": "H100", "count": 2},
        engine={"args": args},
    )

    assert (made.max_model_len, made.max_num_seqs, made.model.dtype, made.kv_dtype) == (8192, 64, "fp8", "fp8")
    assert (made.max_num_batched_tokens, made.gpu_memory_utilization, made.tensor_parallel) == (4096, 0.8, 2)
    assert (made.enable_prefix_caching, made.policy, made.block_size, made.num_gpu_blocks) == (
        False,
        "priority",
        32,
        900,
    )
    assert (made.async_scheduling, made.enforce_eager) == (False, True)


def test_data_parallel_groups_are_engines_of_their_own() -> None:
    made = _made(hardware={"gpu": "H100", "count": 4, "dataParallel": 2})

    assert made.tensor_parallel == 2


def test_an_embedding_model_has_no_step_in_flight() -> None:
    assert not _made(source="Qwen/Qwen3-Embedding-0.6B").async_scheduling


def test_pipeline_stages_are_refused() -> None:
    found = _engine(hardware={"gpu": "H100", "count": 2, "pipelineParallel": 2})

    assert isinstance(found, Refusal)
    assert found.about == "pipeline"


@pytest.mark.parametrize(
    ("tensor", "data", "words", "gpus"), [(1, 1, "2 × H200, random", 2), (2, 2, "2 of 4 H200, random", 8)]
)
def test_a_scenario_says_what_it_is(tensor: int, data: int, words: str, gpus: int) -> None:
    made = scenario(settings={"tensor_parallel": tensor}, engines_per_replica=data, policy="random")

    assert (made.words, made.gpus, made.endpoints) == (words, gpus, 2 * data)
