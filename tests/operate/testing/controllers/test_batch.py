"""Jobs."""

from __future__ import annotations

from operate.testing.api import T0, Json
from operate.testing.controllers.cluster_of import cluster_of, pods
from penstock.operate.testing.controllers.world import ANNOTATION


def job(annotations: Json | None = None, **spec: object) -> Json:
    containers = [{"name": "c", "image": "i:1"}]
    template = {
        "metadata": {"annotations": annotations or {}},
        "spec": {"restartPolicy": "Never", "containers": containers},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template} | spec}


def test_a_job_completes_when_its_pods_did() -> None:
    cluster = cluster_of()
    cluster.create(job(completions=2, parallelism=1), now=T0)
    cluster.step(T0)
    assert len(pods(cluster)) == 1

    cluster.step(T0 + 10)
    cluster.step(T0 + 20)

    found = cluster.get("batch/v1", "Job", "j")
    assert found is not None
    assert (found["status"]["succeeded"], len(pods(cluster))) == (2, 2)
    assert {each["type"] for each in found["status"]["conditions"]} == {"Complete", "SuccessCriteriaMet"}


def test_a_job_fails_when_its_pods_failed_too_often() -> None:
    cluster = cluster_of()
    cluster.create(job({f"{ANNOTATION}/fails": "Error"}, backoffLimit=2), now=T0)

    cluster.step(T0)

    found = cluster.get("batch/v1", "Job", "j")
    assert found is not None
    assert found["status"]["failed"] == 3
    (failed,) = [each for each in found["status"]["conditions"] if each["type"] == "Failed"]
    assert failed["reason"] == "BackoffLimitExceeded"
