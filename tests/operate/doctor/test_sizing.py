"""Which model, which GPU, how long it loads."""

from __future__ import annotations

from penstock.operate.doctor import evidence_of_text
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.engines import Engine
from penstock.operate.doctor.sizing import (
    assumed_gpu,
    cold_start,
    fits,
    gpu_of,
    known_model,
    memory,
    sized_model,
    utilization,
)


def engine(args: str, resource: str = "nvidia.com/gpu: 1") -> Engine:
    text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - name: v\n      image: vllm/vllm-openai:v0.32.0\n"
    text += f"      args: [{args}]\n      resources: {{limits: {{{resource}}}}}\n"
    (found,) = Case(evidence_of_text(text, "a.yaml")).engines
    return found


def test_a_model_is_known_guessed_by_the_size_in_its_name_or_not_at_all() -> None:
    known, guessed, unknown = engine("Qwen/Qwen3-8B"), engine("x/Thing-70B"), engine("x/thing")

    assert known_model(known) is not None
    assert (known_model(guessed), known_model(unknown), sized_model(unknown)) == (None, None, None)
    sized = sized_model(guessed)
    assert sized is not None
    assert 60e9 < sized.params < 80e9


def test_quantization_by_flag_shrinks_the_weights() -> None:
    model = known_model(engine("Qwen/Qwen3-8B, --quantization, fp8"))

    assert model is not None
    assert model.dtype == "fp8"


def test_a_slice_is_a_gpu_of_its_size() -> None:
    cut = gpu_of(engine("Qwen/Qwen3-8B", "nvidia.com/mig-1g.10gb: 1"))

    assert cut is not None
    assert 9 < cut.memory_gib < 10.5
    assert gpu_of(engine("Qwen/Qwen3-8B")) is None
    assert assumed_gpu(engine("Qwen/Qwen3-8B")).name == "A100-80GB"


def test_eight_billion_fit_eighty_gigabytes_and_seventy_do_not() -> None:
    small, large = engine("Qwen/Qwen3-8B"), engine("meta-llama/Llama-3.1-70B")
    models = known_model(small), known_model(large)
    assert models[0] is not None
    assert models[1] is not None

    assert fits(models[0], assumed_gpu(small), small)
    assert not fits(models[1], assumed_gpu(large), large)
    assert memory(large, models[1], assumed_gpu(large)) is None


def test_seventy_billion_take_longer_to_start_than_eight() -> None:
    starts = [cold_start(engine(name)) for name in ("Qwen/Qwen3-8B", "meta-llama/Llama-3.1-70B")]

    assert starts[0] is not None
    assert starts[1] is not None
    assert starts[0].total_s < 150 < starts[1].total_s
    assert cold_start(engine("x/thing")) is None


def test_a_share_that_is_none_is_the_default() -> None:
    assert utilization(engine("a, --gpu-memory-utilization, '90'")) == 0.92
    assert utilization(engine("a, --gpu-memory-utilization, '0.5'")) == 0.5
