# ruff: noqa: E501 — manifests in one text
"""Engines in every form that people start them in."""

from __future__ import annotations

from penstock.operate.doctor import evidence_of_text
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.engines import Engine


def engines(text: str, name: str = "a.yaml") -> list[Engine]:
    return list(Case(evidence_of_text(text, name)).engines)


def one(containers: str) -> Engine:
    (engine,) = engines(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n    - {containers}\n")
    return engine


def test_the_image_s_own_entry_point_takes_the_model_as_a_word_or_a_flag() -> None:
    assert one("{name: v, image: vllm/vllm-openai:v0.32.0, args: [a/b, --seed, '1']}").model == "a/b"
    assert one("{name: v, image: vllm/vllm-openai:v0.32.0, args: [serve, a/b]}").model == "a/b"
    assert one("{name: v, image: vllm/vllm-openai:v0.32.0, args: [--model=a/b]}").model == "a/b"


def test_another_program_in_the_engine_s_image_is_no_engine() -> None:
    text = "kind: Pod\napiVersion: v1\nspec:\n  containers:\n    - {name: v, image: 'vllm/vllm-openai:v0.32.0', command: [hf, download, a/b]}\n"

    assert engines(text) == []


def test_gpus_slices_and_their_kind_are_read() -> None:
    whole = one("{name: v, image: vllm/vllm-openai:v1, resources: {limits: {nvidia.com/gpu: '4'}}}")
    cut = one("{name: v, image: vllm/vllm-openai:v1, resources: {limits: {nvidia.com/mig-3g.40gb: 1}}}")

    assert (whole.gpus, whole.mig) == (4, "")
    assert (cut.gpus, cut.mig) == (1, "3g.40gb")


def test_ranks_of_one_pod() -> None:
    engine = one(
        "{name: v, image: vllm/vllm-openai:v1, args: [a/b, -tp, '4', -dp, '16', --data-parallel-size-local, '2']}"
    )

    assert (engine.tensor, engine.pipeline, engine.data) == (4, 1, 2)


def test_a_script_starts_one_engine_with_its_own_variables() -> None:
    (engine,) = engines("export LEN=8192\nMODEL=a/b\nexec vllm serve $MODEL --max-model-len ${LEN}\n", "run.sh")

    assert engine.model == "a/b"
    assert engine.flags.text("max-model-len") == "8192"
    assert engine.where.line == 3


def test_a_container_run_by_hand_is_an_engine() -> None:
    (engine,) = engines("docker run --gpus all -p 8000:8000 vllm/vllm-openai:v0.32.0 --model a/b\n", "run.sh")

    assert (engine.model, engine.version) == ("a/b", "0.32.0")


def test_kserve_s_model_is_its_container() -> None:
    text = """apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: a}
spec:
  predictor:
    minReplicas: 2
    model:
      modelFormat: {name: huggingface}
      storageUri: hf://a/b
      args: [--max-model-len=8]
"""
    (engine,) = engines(text)

    assert (engine.model, engine.replicas, engine.flags.text("max-model-len")) == ("a/b", 2, "8")


def test_flags_of_a_container_are_not_loose_flags_too() -> None:
    text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - {name: v, image: 'vllm/vllm-openai:v1', args: [a/b, --max-num-seqs, '4']}\n"

    assert [e.form for e in engines(text)] == ["container"]


def test_kserve_s_parallelism_and_additional_arguments_are_flags_too() -> None:
    text = """apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: a}
spec:
  model: {uri: "hf://a/b"}
  parallelism: {tensor: 4}
  template:
    containers:
      - name: main
        image: vllm/vllm-openai:v0.32.0
        env: [{name: VLLM_ADDITIONAL_ARGS, value: "--max-model-len 8 --seed 1"}]
"""
    (engine,) = engines(text)

    assert (engine.model, engine.tensor, engine.flags.text("max-model-len")) == ("a/b", 4, "8")
    assert [f.where.column for f in engine.flags if f.name == "--seed"] == [70]


def test_the_exec_form_of_a_dockerfile_is_a_command() -> None:
    (engine,) = engines('FROM a:1\nCMD ["vllm", "serve", "a/b", "--seed", "1"]\n', "Dockerfile")

    assert (engine.model, engine.flags.text("seed"), engine.where.line) == ("a/b", "1", 2)
