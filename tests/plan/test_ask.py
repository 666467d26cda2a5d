"""From a model of the fleet file to what is asked of a plan."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.facts import find_gpu, find_model
from penstock.plan import Ask, ask_of_model, plain_demand, unknown_model
from penstock.plan.refusal import Refusal
from penstock.spec import ModelSpec

QWEN = find_model("Qwen/Qwen3-8B")
POOL = (find_gpu("L4"), find_gpu("H100"))


def asked(model: str = "Qwen/Qwen3-8B", **fields: Any) -> Ask | list[Refusal]:
    spec = ModelSpec.model_validate({"name": model, **fields})
    return ask_of_model(spec, find_model(model), demand=None, gpus=POOL, prices={})


def an_ask(model: str = "Qwen/Qwen3-8B", **fields: Any) -> Ask:
    found = asked(model, **fields)
    assert isinstance(found, Ask), found
    return found


def test_what_the_file_leaves_out_is_free() -> None:
    ask = an_ask()

    assert ask.gpus == POOL
    assert (ask.count, ask.tensor, ask.context, ask.quantization, ask.replicas) == (None,) * 5
    assert ask.demand.requests_per_s == 0


def test_a_named_gpu_is_the_only_one_and_the_others_are_compared_with() -> None:
    ask = an_ask(hardware={"gpu": "h100"})

    assert [gpu.name for gpu in ask.gpus] == ["H100"]
    assert [gpu.name for gpu in ask.rivals] == ["L4"]
    assert ask.is_gpu_given
    assert ask.count is None


def test_fields_and_engine_flags_say_the_same() -> None:
    by_field = an_ask(contextLength=4096, concurrency=32, quantization="fp8", kvCacheDtype="fp8", dtype="float16")
    by_flag = an_ask(
        engine={
            "args": {
                "max-model-len": "4096",
                "max_num_seqs": 32,
                "quantization": "fp8",
                "kv-cache-dtype": "fp8",
                "dtype": "half",
            }
        }
    )
    names = ("context", "max_num_seqs", "quantization", "kv_dtype", "dtype")

    assert [getattr(by_field, n) for n in names] == [getattr(by_flag, n) for n in names]
    assert by_field.places["context"] == ("contextLength",)
    assert by_flag.places["context"] == ("engine", "args", "max-model-len")


@pytest.mark.parametrize(("written", "meant"), [("8k", 8000), ("8K", 8192), (8192, 8192), ("1m", 1_000_000)])
def test_a_length_reads_as_the_engine_reads_it(written: object, meant: int) -> None:
    assert an_ask(engine={"args": {"max-model-len": written}}).context == meant


@pytest.mark.parametrize(
    ("args", "about"),
    [
        ({"max-model-len": "long"}, "context"),
        ({"max-num-seqs": 0}, "max_num_seqs"),
        ({"gpu-memory-utilization": 90}, "utilization"),
    ],
)
def test_a_flag_that_is_no_number_is_refused_at_its_place(args: dict[str, object], about: str) -> None:
    found = asked(engine={"args": args})

    assert isinstance(found, list)
    assert (found[0].about, found[0].at) == (about, ("engine", "args", next(iter(args))))


def test_an_unknown_gpu_is_refused_with_the_nearest() -> None:
    found = asked(hardware={"gpu": "H101"})

    assert isinstance(found, list)
    assert found[0].at == ("hardware", "gpu")
    assert "H100" in found[0].hint


def test_a_slice_is_a_gpu_of_its_own_and_larger_slices_are_compared_with() -> None:
    spec = ModelSpec.model_validate({"name": "Qwen/Qwen3-8B", "hardware": {"gpu": "H100", "mig": "2g.20gb"}})
    ask = ask_of_model(spec, QWEN, demand=None, gpus=POOL, prices={"H100": 7_000_000})

    assert isinstance(ask, Ask)
    assert [gpu.name for gpu in ask.gpus] == ["H100-2g.20gb"]
    assert (ask.is_gpu_given, ask.count) == (True, 1)
    assert ask.prices["H100-2g.20gb"] == 7_000_000 // 3  # three of them fit
    assert {"H100-3g.40gb", "H100", "L4"} <= {gpu.name for gpu in ask.rivals}


def test_a_slice_that_the_gpu_does_not_have_is_refused_at_its_place() -> None:
    found = asked(hardware={"gpu": "H100", "mig": "1g.9gb"})

    assert isinstance(found, list)
    assert (found[0].about, found[0].at) == ("mig", ("hardware", "mig"))
    assert "1g.10gb" in found[0].hint


def test_the_volumes_size_is_the_files() -> None:
    assert an_ask(storage={"size": "20Gi"}).volume_bytes == 20 << 30
    assert an_ask().volume_bytes is None


def test_an_engine_default_is_no_choice_of_the_file() -> None:
    assert an_ask(engine={"args": {"kv-cache-dtype": "auto", "dtype": "auto"}}).kv_dtype is None


def test_the_demand_is_the_files() -> None:
    ask = an_ask(demand={"requestsPerS": 4, "inputTokens": 100, "outputTokens": 10, "cachedShare": 0.5})

    assert ask.demand == plain_demand(4, 100, 10, cached_share=0.5)


def test_an_embedding_is_asked_for_no_answer() -> None:
    assert an_ask("Qwen/Qwen3-Embedding-0.6B").demand.output_tokens == 0


def test_assumed_prompts_fit_a_short_context() -> None:
    assert an_ask("sentence-transformers/all-MiniLM-L6-v2").demand.prompt_tokens == 256


def test_an_unknown_model_is_told_with_the_nearest_names() -> None:
    refusal = unknown_model("Qwen/Qwen3-8C")

    assert "Qwen/Qwen3-8B" in refusal.hint
    assert "config.json" in refusal.hint
    assert "did you mean" not in unknown_model("zzzz/yyyy").hint
