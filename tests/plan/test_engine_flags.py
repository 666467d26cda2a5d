"""What the engine must be told, and how the same stands in a fleet file."""

from __future__ import annotations

from penstock.plan import engine_flags, fleet_lines
from penstock.spec.loader import load_fleet
from plan.asks import a_plan

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: a}\nspec:\n  models:\n    - name: m\n"


def test_a_flag_says_what_the_engine_would_not_do_by_itself() -> None:
    plan = a_plan("meta-llama/Llama-3.1-70B", gpus="H100", count=4, quantization="fp8", kv_dtype="fp8", max_num_seqs=64)

    assert engine_flags(plan) == {
        "max-model-len": "8192",
        "max-num-seqs": "64",
        "tensor-parallel-size": "4",
        "quantization": "fp8",
        "kv-cache-dtype": "fp8",
    }


def test_a_default_is_no_flag() -> None:
    flags = engine_flags(a_plan(gpus="H100", context=40_960, max_num_seqs=1024))

    assert flags == {}


def test_turing_is_told_to_use_float16() -> None:
    assert engine_flags(a_plan("Qwen/Qwen3-0.6B", gpus="T4"))["dtype"] == "float16"


def test_the_lines_load_as_a_model_and_mean_the_same_flags() -> None:
    for plan in (
        a_plan(gpus="L4", is_gpu_given=True),
        a_plan("Qwen/Qwen3-0.6B", gpus="T4", kv_dtype="fp8"),
        a_plan("meta-llama/Llama-3.1-70B", gpus="H100", count=4, quantization="fp8", data=2, tensor=2),
    ):
        text = HEAD + "".join(f"      {line}\n" for line in fleet_lines(plan))
        (model,) = load_fleet(text, "f").spec.models
        assert model.hardware is not None
        written = {**model.hardware.engine_flags, **model.engine_flags}
        written |= {name: str(value) for name, value in model.engine.args.items()}
        assert written == engine_flags(plan)
        assert model.replicas == plan.choice.replicas
