"""A model's engines as objects: whatever the file says, an API server takes them as they are."""

from __future__ import annotations

from plan.manifests.engines import objects_of

CHAT = "{name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}"


def test_a_model_is_a_deployment_a_service_a_claim_and_a_job_that_fills_it() -> None:
    kinds = [body["kind"] for body in objects_of(CHAT)]
    assert sorted(kinds) == ["Deployment", "Job", "PersistentVolumeClaim", "PriorityClass", "PriorityClass", "Service"]
