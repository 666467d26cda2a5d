# ruff: noqa: E501 — manifests in one text
"""What follows from the evidence."""

from __future__ import annotations

from operate.doctor.faults import read
from penstock.operate.doctor import evidence_of_text
from penstock.operate.doctor.case import Case


def case(name: str) -> Case:
    return Case(evidence_of_text(read(name), name))


def test_a_scaler_s_engine_is_found_through_its_workload() -> None:
    found = case("stack.yaml")
    (scaler,) = found.scalers
    engine = found.scaled_engine(scaler)

    assert engine is not None
    assert engine.model == "/models/llama-70b"
    assert found.node_of(scaler.resource).text == "llama-70b"


def test_variables_come_from_config_maps_and_literals() -> None:
    found = case("stack.yaml")
    (container,) = [c for c in found.containers if c.name == "vllm"]

    assert found.environment(container) == {"VLLM_LOGGING_LEVEL": "INFO"}


def test_an_object_is_found_from_a_file_that_names_no_namespace() -> None:
    found = case("stack.yaml")

    assert found.named("ConfigMap", "", "llama-70b-settings") is not None
    assert found.named("ConfigMap", "llm", "llama-70b-settings") is not None
    assert found.named("ConfigMap", "other", "llama-70b-settings") is None


def test_the_newest_version_is_the_one_asked_for() -> None:
    assert Case(evidence_of_text("", "a.yaml"), "0.20.0").newest_version == "0.20.0"


def test_a_script_in_a_container_starts_one_engine_only() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n    - name: v\n      image: x:1\n      command: [sh, -c, 'exec vllm serve a/b --max-num-seqs 4']\n"

    assert [e.form for e in Case(evidence_of_text(text, "a.yaml")).engines] == ["container"]
