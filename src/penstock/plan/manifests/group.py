"""A replica over several nodes, as a LeaderWorkerSet: one pod on each, started and replaced together. Pure.

vLLM's own processes span the nodes (`--nnodes`, `--node-rank`, `--master-addr`), without Ray: the first pod has the API
and the scheduler, the others run without (`--headless`). Ranks are laid out node by node, so that tensor-parallel GPUs
are on one node wherever they fit and pipeline stages meet across.
"""

from __future__ import annotations

from typing import Any

from penstock.plan.manifests.gpu_sharing import pods_of_replica
from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.pod import Role, pod_template
from penstock.plan.manifests.rolling import rolling_of
from penstock.plan.manifests.site import Site

__all__ = ["REVISION_LABEL", "render_group"]

REVISION_LABEL = "leaderworkerset.sigs.k8s.io/template-revision-hash"


def render_group(site: Site, needs: ModelNeeds) -> Manifest:
    """The LeaderWorkerSet of a model; for LeaderWorkerSet 0.6 or newer."""
    name, size = site.names[needs.spec.name], pods_of_replica(site, needs)
    rolling = rolling_of(site, needs)
    count: dict[str, Any] = {} if needs.spec.autoscaling is not None else {"replicas": needs.replicas}
    scaled = (
        " The number of replicas is left out, as the autoscaler sets it." if needs.spec.autoscaling is not None else ""
    )
    body = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": site.metadata("engine", name, name),
        "spec": {
            **count,
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": Because(
                    {"maxSurge": rolling.surge, "maxUnavailable": rolling.unavailable}, rolling.reason
                ),
            },
            "startupPolicy": Because("LeaderCreated", "All start at once: each waits for the others anyway."),
            "leaderWorkerTemplate": {
                "size": Because(size, f"{needs.gpus} GPUs, {needs.gpus // size} on each node."),
                "restartPolicy": Because(
                    "RecreateGroupOnPodRestart",
                    "One process that is lost takes the whole engine with it: all start anew.",
                ),
                "leaderTemplate": pod_template(site, needs, _role(is_leader=True)),
                "workerTemplate": pod_template(site, needs, _role(is_leader=False)),
            },
        },
    }
    return Manifest(
        body=body,
        wave=Wave.SERVE,
        file=f"{name}/engine",
        heading=f"Engines of {needs.spec.name}: each on {size} nodes, {needs.gpus}× {needs.gpu.name}, that live and "
        f"die together (needs the LeaderWorkerSet controller).{scaled}",
    )


def _role(*, is_leader: bool) -> Role:
    words: list[Any] = [
        Because("--nnodes=$(LWS_GROUP_SIZE)", "Set by the LeaderWorkerSet controller in each pod."),
        "--node-rank=$(LWS_WORKER_INDEX)",
        "--master-addr=$(LWS_LEADER_ADDRESS)",
    ]
    if not is_leader:
        words.append(Because("--headless", "Its GPUs only: the API is the first pod's."))
    address = {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    env = (Because(address, "The address at which the other pods of the group find this one."),)
    return Role(words=tuple(words), env=env, answers=is_leader, revision_label=REVISION_LABEL)
