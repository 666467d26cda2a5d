"""Which GPU a node's labels promise: NVIDIA's feature discovery, the clouds' own labels, instance types.

Sources: GPU feature discovery (`nvidia.com/gpu.product`); GKE, EKS with Karpenter and AKS documentation; the clouds'
pages of instance types. A label that is not known says nothing: None, not a guess.
"""

from __future__ import annotations

import re

from penstock.errors import UsageError
from penstock.facts.gpus import Gpu, find_gpu
from penstock.facts.mig import mig_slice

__all__ = ["GPU_LABELS", "SPOT_LABELS", "gpu_of_label", "is_spot_label"]

GPU_LABELS = (
    "nvidia.com/gpu.product", "cloud.google.com/gke-accelerator", "karpenter.k8s.aws/instance-gpu-name",
    "k8s.amazonaws.com/accelerator", "node.kubernetes.io/instance-type", "karpenter.k8s.aws/instance-family",
    "beta.kubernetes.io/instance-type",
)  # fmt: skip
"""Labels that name a GPU or a machine with one."""

SPOT_LABELS: dict[str, str] = {
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-preemptible": "true",
    "cloud.google.com/gke-provisioning": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
}
"""Labels (most of them taints too) of machines that the cloud may take back, and the value that says so."""

_INSTANCES = (
    (r"p6-b200|p6e?\.", "B200"), (r"p5en?\.48xlarge\b.*", "H100"), (r"p4de\.|p4de$", "A100-80GB"),
    (r"p4d\.|p4d$", "A100-40GB"),
    (r"g6e\.|g6e$", "L40S"), (r"g6\.|g6$|gr6\.", "L4"), (r"g5\.|g5$", "A10G"), (r"g4dn\.|g4dn$", "T4"),
    (r"a2-ultragpu", "A100-80GB"), (r"a2-highgpu|a2-megagpu", "A100-40GB"), (r"a3-ultragpu", "H200"),
    (r"a3-(high|mega|edge)gpu", "H100"), (r"a4-highgpu", "B200"), (r"g2-standard", "L4"),
    (r"standard_nc\d+ads_a100_v4|standard_nd\d+am?sr_a100_v4|standard_nd96amsr", "A100-80GB"),
    (r"standard_nd\d+asr_v4", "A100-40GB"), (r"standard_nd\d+isr_h100_v5|standard_ncc?\d+adi?s_h100_v5", "H100"),
    (r"standard_nd\d+isr_h200_v5", "H200"), (r"standard_nc\d+as_t4_v3", "T4"),
    (r"standard_nv\d+ads_a10_v5", "A10G"),
)  # fmt: skip
_P5 = {"p5.48xlarge": "H100", "p5.4xlarge": "H100", "p5e.48xlarge": "H200", "p5en.48xlarge": "H200", "p5": "H100",
       "p5e": "H200", "p5en": "H200"}  # fmt: skip
_GKE = {
    "nvidia-tesla-t4": "T4", "nvidia-l4": "L4", "nvidia-tesla-a100": "A100-40GB", "nvidia-a100-80gb": "A100-80GB",
    "nvidia-h100-80gb": "H100", "nvidia-h100-mega-80gb": "H100", "nvidia-h200-141gb": "H200", "nvidia-b200": "B200",
}  # fmt: skip
_SLICE = re.compile(r"(.*)-MIG-(\d+g\.\d+gb)\Z", re.IGNORECASE)


def gpu_of_label(label: str, value: str) -> Gpu | None:
    """The GPU of a node with this label, or the slice of one; None where the label says nothing that is known."""
    text = value.strip()
    if label not in GPU_LABELS:
        return None
    if "instance-type" in label or label.endswith("instance-family"):
        return _known(_P5.get(text.lower()) or _of_instance(text.lower()))
    if label == "cloud.google.com/gke-accelerator":
        return _known(_GKE.get(text))
    text = text.removesuffix("-SHARED")  # time-slicing says so in the product
    sliced = _SLICE.match(text)
    if sliced is None:
        return _known(text)
    gpu = _known(sliced.group(1))
    try:
        return None if gpu is None else mig_slice(gpu.name, sliced.group(2).lower())
    except UsageError:
        return None


def is_spot_label(label: str, value: str) -> bool:
    """Whether a label means that the cloud may take the machine back."""
    return SPOT_LABELS.get(label, "-").lower() == value.strip().lower()


def _of_instance(name: str) -> str | None:
    return next((gpu for pattern, gpu in _INSTANCES if re.match(pattern, name)), None)


def _known(name: str | None) -> Gpu | None:
    try:
        return None if name is None else find_gpu(name)
    except UsageError:
        return None
