"""Engines in values files and fleet files."""

from __future__ import annotations

from penstock.operate.doctor import evidence_of_text
from penstock.operate.doctor.charts import chart_engines, fleet_engines, model_specs, spec_title

VALUES = """
servingEngineSpec:
  modelSpec:
    - name: a
      repository: vllm/vllm-openai
      tag: v0.32.0
      modelURL: a/b
      requestGPU: 2
      nodeSelectorTerms:
        - matchExpressions:
            - {key: nvidia.com/gpu.product, operator: In, values: [NVIDIA-L4]}
      vllmConfig:
        tensorParallelSize: 2
        maxModelLen: 4096
        extraArgs: ["--gpu-memory-utilization", "0.8"]
"""


def test_an_entry_of_the_chart_is_an_engine() -> None:
    (resource,) = evidence_of_text(VALUES, "values.yaml").resources
    (engine,) = chart_engines(resource, "")

    assert (engine.model, engine.gpus, engine.tensor, engine.version) == ("a/b", 2, 2, "0.32.0")
    assert engine.flags.number("gpu-memory-utilization") == 0.8
    assert engine.gpu is not None
    assert engine.gpu.name == "L4"


def test_values_of_a_subchart_are_found_too() -> None:
    text = "stack:\n" + "".join(f"  {line}\n" for line in VALUES.strip().split("\n"))
    (resource,) = evidence_of_text(text, "values.yaml").resources

    assert [spec_title(spec) for spec in model_specs(resource)] == ["model a"]


def test_arguments_of_a_fleet_file_are_flags() -> None:
    text = """
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: f}
spec:
  models:
    - name: a
      engine:
        args: {enforce-eager: true, max-num-seqs: 8, enable-lora: false}
"""
    (resource,) = evidence_of_text(text, "fleet.yaml").resources
    (engine,) = fleet_engines(resource, "")

    assert [f.shown for f in engine.flags] == ["--enforce-eager", "--max-num-seqs=8"]
    assert list(chart_engines(resource, "")) == []
