"""A pod that asks a GPU how it is, and what its words mean."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from operate.preflight.clusters import site
from penstock.operate.preflight import Status
from penstock.operate.preflight.smi import answer_of, gpu_test_pod, trouble_of

IMAGE = "vllm/vllm-openai:v0.32.0"
SMI = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 580.65.06              Driver Version: 580.65.06      CUDA Version: 13.0     |
|-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
|=========================================+========================+======================|
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:19:00.0 Off |                    0 |
"""


def test_a_gpu_that_answers_is_well() -> None:
    found = answer_of("chat", SMI, IMAGE)

    assert (found.status, found.message) == (Status.OK, "NVIDIA H100 80GB HBM3 with driver 580")


def test_a_driver_older_than_the_image_needs_is_told() -> None:
    found = answer_of("chat", SMI.replace("580.65.06", "550.90.07"), IMAGE)

    assert found.status is Status.FAILED
    assert "needs 580 or newer" in found.message


def test_an_image_of_an_older_cuda_is_content_with_it() -> None:
    assert answer_of("chat", SMI.replace("580.65.06", "550.90.07"), f"{IMAGE}-cu129").status is Status.OK


@pytest.mark.parametrize("log", ["", "Failed to initialize NVML: Driver/library version mismatch\n"])
def test_a_gpu_that_does_not_answer_is_told_in_its_words(log: str) -> None:
    found = answer_of("chat", log, IMAGE)

    assert found.status is Status.FAILED
    assert (log.strip() or "it said nothing") in found.message


def test_the_pod_runs_where_engines_would() -> None:
    classes = "{gpu: H100, nodeSelector: {pool: h100}, tolerations: [{key: team}], runtimeClass: nvidia}"
    fleet = site(top=f"  hardware: {{classes: [{classes}]}}\n")

    pod = gpu_test_pod(fleet, fleet.needs["chat"], "nvidia.com/gpu")

    kubernetes_validate.validate(pod, "1.32", strict=True)
    assert pod["spec"]["nodeSelector"] == {"pool": "h100"}
    assert pod["spec"]["runtimeClassName"] == "nvidia"
    assert [entry["key"] for entry in pod["spec"]["tolerations"]] == ["nvidia.com/gpu", "team"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            "0/3 nodes are available",
        ),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "denied"}}}]},
            "ErrImagePull: denied",
        ),
        ({}, ""),
    ],
)
def test_why_it_has_not_run_is_said(status: dict[str, Any], words: str) -> None:
    assert trouble_of({"status": status}) == words
