"""What cannot be rendered has a place in the file; what should be known is said once."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.remarks import engine_findings, engine_notes
from plan.manifests.engines import site_from, site_of_text, with_source

SHA = "a" * 40


@pytest.mark.parametrize(
    ("fields", "more", "at", "words"),
    [
        (", storage: {mode: image}", "", ("storage", "mode"), "no artifact is named"),
        (
            ", scheduling: {spot: allowed, onDemandReplicas: 2}",
            "",
            ("scheduling", "onDemandReplicas"),
            "more than `replicas`",
        ),
        (
            ", scheduling: {spot: allowed, onDemandReplicas: 4}, autoscaling: {maxReplicas: 3}",
            "",
            ("scheduling", "onDemandReplicas"),
            "more than `autoscaling.maxReplicas`, which is 3",
        ),
        (", resources: {shm: 8Gi, memory: 8Gi}", "", ("resources", "shm"), "counts as memory"),
        ("", "hardware: {classes: [{gpu: H100, timeSlices: 8}]}", ("hardware",), "16.4 GB of weights"),
    ],
)
def test_what_cannot_be_is_found_at_its_place(fields: str, more: str, at: tuple[str, ...], words: str) -> None:
    site = site_from(f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}", more=more)
    (found,) = engine_findings(site)
    assert found.at == ("spec", "models", 0, *at)
    assert words in found.message


@pytest.mark.parametrize(
    ("fields", "at", "hint"),
    [
        (", engine: {env: {HF_TOKEN: hf_x}}", ("env", "HF_TOKEN"), "kubernetes.huggingFaceToken"),
        (", engine: {env: {AWS_SECRET_ACCESS_KEY: x}}", ("env", "AWS_SECRET_ACCESS_KEY"), "revoke"),
        (", engine: {args: {api_key: x}}", ("args", "api_key"), "take it out"),
    ],
)
def test_a_secret_in_the_file_is_refused_as_the_file_is_kept_in_the_cluster(
    fields: str, at: tuple[str, ...], hint: str
) -> None:
    site = site_from(f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}")
    (found,) = engine_findings(site)
    assert found.at == ("spec", "models", 0, "engine", *at)
    assert hint in (found.hint or "")


@pytest.mark.parametrize(
    ("source", "storage", "at", "words"),
    [
        ("./tiny", "{}", ("source",), "a folder of this machine"),
        ("/srv/qwen", "{claim: ours}", ("source",), "mounted at /models"),
        ("s3://bucket/qwen", "{mode: none}", ("storage", "mode"), "downloads from the hub only"),
    ],
)
def test_files_that_a_pod_could_not_reach_are_found(source: str, storage: str, at: tuple[str, ...], words: str) -> None:
    model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}, storage: {storage}}}"
    (found,) = engine_findings(with_source(site_from(model), source))
    assert found.at == ("spec", "models", 0, *at)
    assert words in found.message


def test_a_fleet_whose_name_begins_with_a_digit_has_no_names_for_its_services() -> None:
    text = (
        "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: 70b}\nspec:\n"
        "  models: [{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}]\n"
    )
    (found,) = engine_findings(site_of_text(text))
    assert found.at == ("metadata", "name")


def test_copies_of_an_engine_do_not_span_nodes() -> None:
    model = "{name: m, source: Qwen/Qwen3-32B, hardware: {gpu: H100, count: 8, tensorParallel: 4, dataParallel: 2}}"
    (found,) = engine_findings(site_from(model, more="hardware: {classes: [{gpu: H100, gpusPerNode: 4}]}"))
    assert found.at == ("spec", "models", 0, "hardware", "dataParallel")
    assert "use `replicas`" in (found.hint or "")


def test_turns_are_taken_on_one_gpu() -> None:
    model = "{name: m, source: Qwen/Qwen3-0.6B, hardware: {gpu: H100, count: 2}}"
    (found,) = engine_findings(site_from(model, more="hardware: {classes: [{gpu: H100, timeSlices: 2}]}"))
    assert found.at[-2:] == ("hardware", "count")


def test_a_fleet_that_is_right_has_no_findings_and_few_notes() -> None:
    model = f"{{name: m, source: Qwen/Qwen3-8B, revision: '{SHA}', replicas: 2, hardware: {{gpu: H100}}}}"
    site = site_from(model, more="storage: {storageClass: efs}")
    assert list(engine_findings(site)) == []
    assert list(engine_notes(site)) == []


def notes(fields: str = "", more: str = "storage: {storageClass: efs}") -> str:
    model = f"{{name: m, source: Qwen/Qwen3-8B, revision: '{SHA}', replicas: 2, hardware: {{gpu: H100}}{fields}}}"
    return "\n".join(engine_notes(site_from(model, more=more)))


@pytest.mark.parametrize(
    ("fields", "more", "words"),
    [
        ("", "", "ReadWriteMany"),
        (", engine: {image: 'vllm/vllm-openai:latest'}", "storage: {storageClass: efs}", "names no version"),
        (", engine: {image: 'vllm/vllm-openai'}", "storage: {storageClass: efs}", "names no version"),
        (", engine: {args: {swap-space: 4}}", "storage: {storageClass: efs}", "swap-space is left out"),
        (", adapters: [{name: a, source: x/a, revision: 'b'}]", "storage: {storageClass: efs}", "rank 16"),
        (", storage: {mode: image, image: 'r.io/q:1'}", "", "image volumes"),
        ("", "hardware: {classes: [{gpu: H100, draClass: gpu.nvidia.com}]}", "DRA driver"),
    ],
)
def test_what_should_be_known_is_said(fields: str, more: str, words: str) -> None:
    assert words in notes(fields, more)


def test_a_digest_is_the_best_pin() -> None:
    assert "names no version" not in notes(f", engine: {{image: 'r.io/vllm@sha256:{'a' * 64}'}}")


def test_what_several_models_share_is_said_once() -> None:
    site = site_from(
        *(f"{{name: {name}, source: Qwen/Qwen3-8B, replicas: 2, hardware: {{gpu: H100}}}}" for name in "abc")
    )
    loose = [note for note in engine_notes(site) if "no commit is pinned" in note]
    assert len(loose) == 1
    assert loose[0].startswith("a, b, c: ")
