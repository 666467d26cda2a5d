"""What fits and what does not, by model, GPU and flags."""

from __future__ import annotations

import pytest

from operate.doctor.faults import MEMORY, Fault, assert_found_alone, codes, examined
from penstock.operate.doctor import Severity


@pytest.mark.parametrize("fault", MEMORY, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def deployment(args: str, *, gpus: int = 1, product: str = "") -> str:
    selector = f"\n      nodeSelector: {{nvidia.com/gpu.product: {product}}}" if product else ""
    return f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: a}}
spec:
  template:
    spec:{selector}
      containers:
        - name: b
          image: vllm/vllm-openai:v0.32.0
          args: [{args}]
          resources: {{limits: {{nvidia.com/gpu: {gpus}}}}}
          volumeMounts: [{{name: shm, mountPath: /dev/shm}}]
      volumes: [{{name: shm, emptyDir: {{medium: Memory}}}}]
"""


@pytest.mark.parametrize(
    ("args", "gpus", "product", "expected"),
    [
        ("Qwen/Qwen3-8B", 1, "", []),
        ("Qwen/Qwen3-8B", 1, "NVIDIA-L4", ["PS022"]),  # 16 GB of weights leave less than one request of 40k
        ("Qwen/Qwen3-8B, --max-model-len, '4096'", 1, "NVIDIA-L4", []),
        ("Qwen/Qwen3-8B", 1, "Tesla-T4", ["PS019"]),
        ("meta-llama/Llama-3.1-70B", 1, "", ["PS019"]),
        ("meta-llama/Llama-3.1-70B, --quantization, fp8", 1, "NVIDIA-H200", []),
        ("org/Somebody-70B-Chat", 1, "", ["PS019"]),  # judged by the size in its name
        ("org/somebody", 1, "", []),  # nothing is known of it
        ("org/Somebody-7B", 1, "", []),
        ("meta-llama/Llama-3.1-70B, --tensor-parallel-size=4", 4, "", []),
        ("meta-llama/Llama-3.1-70B, -tp, '2'", 2, "NVIDIA-L40S", ["PS021"]),
        ("Qwen/Qwen3-8B, -tp, '2', --max-model-len, '8192'", 2, "", []),  # which GPU is not said: may be small ones
        ("Qwen/Qwen3-8B, -tp, '4', --max-model-len, '8192'", 4, "", ["PS020"]),  # two of 24 GB would do
        ("Qwen/Qwen3-8B, -tp, '2', --max-model-len, '8192'", 2, "NVIDIA-H100-80GB-HBM3", ["PS020"]),
        ("Qwen/Qwen3-8B, -tp, '2', -pp, '2'", 4, "NVIDIA-L4", []),
        ("Qwen/Qwen3-8B, -tp, '4', -pp, '2'", 4, "NVIDIA-L4", ["PS033"]),
        ("openai/gpt-oss-120b", 1, "NVIDIA-H200", []),
    ],
)
def test_sizes_are_judged_by_model_gpu_and_flags(args: str, gpus: int, product: str, expected: list[str]) -> None:
    assert codes(examined(deployment(args, gpus=gpus, product=product), "a.yaml")) == expected


def test_a_size_that_a_larger_gpu_would_hold_is_a_warning_where_none_is_named() -> None:
    args = "Qwen/Qwen3-VL-235B-A22B-Instruct, -tp, '4'"

    (unnamed,) = examined(deployment(args, gpus=4), "a.yaml").findings
    (named,) = examined(deployment(args, gpus=4, product="NVIDIA-H100-80GB-HBM3"), "a.yaml").findings

    assert (unnamed.severity, named.severity) == (Severity.WARNING, Severity.ERROR)
    assert "H200" in unnamed.message


def test_a_group_of_pods_shares_the_ranks() -> None:
    text = """apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: a}
spec:
  leaderWorkerTemplate:
    size: 2
    leaderTemplate:
      spec:
        hostIPC: true
        containers:
          - name: leader
            image: vllm/vllm-openai:v0.32.0
            command: [sh, -c, "ray start --head; vllm serve deepseek-ai/DeepSeek-R1 -tp 8 -pp 2"]
            resources: {limits: {nvidia.com/gpu: 8}}
    workerTemplate:
      spec:
        containers:
          - name: worker
            image: vllm/vllm-openai:v0.32.0
            command: [sh, -c, "ray start --address=$(LWS_LEADER_ADDRESS) --block"]
            resources: {limits: {nvidia.com/gpu: 8}}
"""

    assert codes(examined(text, "a.yaml")) == []
    assert codes(examined(text.replace("size: 2", "size: 1"), "a.yaml")) == ["PS033"]
