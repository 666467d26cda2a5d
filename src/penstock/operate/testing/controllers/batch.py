"""Jobs: pods until enough have succeeded or too many have failed. Pure. Source: `pkg/controller/job`."""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.controllers.workloads import owner_of
from penstock.operate.testing.controllers.world import World, condition, is_ready, with_condition
from penstock.operate.testing.merge import clone

__all__ = ["run_jobs"]

Json = dict[str, Any]


def run_jobs(world: World) -> None:
    for job in world.all("jobs", "batch"):
        is_over = any((condition(job, kind) or {}).get("status") == "True" for kind in ("Complete", "Failed"))
        if not is_over and not job["metadata"].get("deletionTimestamp"):
            _run_job(world, job)


def _run_job(world: World, job: Json) -> None:
    spec = job["spec"]
    pods = world.owned_by(job, "pods")
    succeeded = sum(pod["status"].get("phase") == "Succeeded" for pod in pods)
    failed = sum(pod["status"].get("phase") == "Failed" for pod in pods)
    active = [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]
    wanted = spec.get("completions", 1)
    is_failed = failed > spec["backoffLimit"]
    if not is_failed and not spec.get("suspend"):
        missing = min(spec["parallelism"], wanted - succeeded) - len(active)
        active += [_new_pod(world, job) for _ in range(missing)]
    counts = {
        "active": len(active),
        "ready": sum(is_ready(pod) for pod in active),
        "succeeded": succeeded,
        "failed": failed,
    }
    status: Json = {key: value for key, value in counts.items() if value}
    status["startTime"] = (job.get("status") or {}).get("startTime", world.time)
    if (job.get("status") or {}).get("conditions"):
        status["conditions"] = job["status"]["conditions"]
    if succeeded >= wanted:
        words = "Reached expected number of succeeded pods"
        status["completionTime"] = world.time
        for kind in ("SuccessCriteriaMet", "Complete"):
            status = with_condition(
                status, world.time, kind, "True", "CompletionsReached", words, lastProbeTime=world.time
            )
    elif is_failed:
        words = "Job has reached the specified backoff limit"
        for kind in ("FailureTarget", "Failed"):
            status = with_condition(
                status, world.time, kind, "True", "BackoffLimitExceeded", words, lastProbeTime=world.time
            )
        for pod in active:
            world.delete("pods", "", pod)
    world.set_status("jobs", "batch", job, status)


def _new_pod(world: World, job: Json) -> Json:
    template = clone(job["spec"]["template"])
    metadata = job["metadata"]
    return world.create(
        "pods",
        "",
        {
            "metadata": template["metadata"]
            | {
                "generateName": f"{metadata['name']}-",
                "namespace": metadata["namespace"],
                "ownerReferences": [owner_of(job)],
            },
            "spec": template["spec"],
        },
    )
