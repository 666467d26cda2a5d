"""What a node's labels say of its GPU."""

from __future__ import annotations

import pytest

from penstock.facts.node_labels import gpu_of_label, is_spot_label


@pytest.mark.parametrize(
    ("label", "value", "gpu"),
    [
        ("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3", "H100"),
        ("nvidia.com/gpu.product", "NVIDIA-A100-SXM4-80GB", "A100-80GB"),
        ("nvidia.com/gpu.product", "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "A100-80GB-1g.10gb"),
        ("nvidia.com/gpu.product", "Tesla-T4-SHARED", "T4"),
        ("cloud.google.com/gke-accelerator", "nvidia-tesla-a100", "A100-40GB"),
        ("karpenter.k8s.aws/instance-gpu-name", "l40s", "L40S"),
        ("node.kubernetes.io/instance-type", "g5.12xlarge", "A10G"),
        ("node.kubernetes.io/instance-type", "p5en.48xlarge", "H200"),
        ("node.kubernetes.io/instance-type", "Standard_NC24ads_A100_v4", "A100-80GB"),
        ("node.kubernetes.io/instance-type", "a3-highgpu-8g", "H100"),
    ],
)
def test_a_label_names_its_gpu(label: str, value: str, gpu: str) -> None:
    found = gpu_of_label(label, value)

    assert found is not None
    assert found.name == gpu


@pytest.mark.parametrize(
    ("label", "value"),
    [("nvidia.com/gpu.product", "NVIDIA-XYZ"), ("node.kubernetes.io/instance-type", "m5.large"), ("app", "H100")],
)
def test_what_is_not_known_is_not_guessed(label: str, value: str) -> None:
    assert gpu_of_label(label, value) is None


def test_spot_is_a_label_with_the_value_that_says_so() -> None:
    assert is_spot_label("karpenter.sh/capacity-type", "spot")
    assert not is_spot_label("karpenter.sh/capacity-type", "on-demand")
    assert not is_spot_label("node.kubernetes.io/spot", "true")
