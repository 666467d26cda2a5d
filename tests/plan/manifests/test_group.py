"""A replica over several nodes: one engine, several pods, all or none."""

from __future__ import annotations

from typing import Any

from plan.manifests.engines import objects_of, one

MODEL = (
    "{name: big, source: deepseek-ai/DeepSeek-V3, replicas: 2, hardware: {gpu: H100, count: 16, pipelineParallel: 2}%s}"
)


def objects(fields: str = "", more: str = "") -> list[dict[str, Any]]:
    return objects_of(MODEL % fields, more=more)


def templates(found: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    template = one(found, "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]
    return template["leaderTemplate"], template["workerTemplate"]


def engine(template: dict[str, Any]) -> dict[str, Any]:
    (container,) = template["spec"]["containers"]
    return dict(container)


def test_a_replica_with_more_gpus_than_a_node_is_a_group_and_not_a_deployment() -> None:
    kinds = {body["kind"] for body in objects()}
    assert "LeaderWorkerSet" in kinds
    assert "Deployment" not in kinds
    body = one(objects(), "LeaderWorkerSet")["spec"]
    assert (body["replicas"], body["leaderWorkerTemplate"]["size"]) == (2, 2)
    assert body["leaderWorkerTemplate"]["restartPolicy"] == "RecreateGroupOnPodRestart"


def test_the_first_pod_answers_and_the_others_lend_their_gpus() -> None:
    leader, worker = map(engine, templates(objects()))
    place = ["--nnodes=$(LWS_GROUP_SIZE)", "--node-rank=$(LWS_WORKER_INDEX)", "--master-addr=$(LWS_LEADER_ADDRESS)"]
    assert leader["args"][-3:] == place
    assert worker["args"][-4:] == [*place, "--headless"]
    assert any(word.startswith("--shutdown-timeout=") for word in leader["args"])
    assert not any(word.startswith("--shutdown-timeout=") for word in worker["args"])
    assert {"--tensor-parallel-size=8", "--pipeline-parallel-size=2"} <= set(leader["args"]) & set(worker["args"])
    assert "startupProbe" in leader
    assert not {"startupProbe", "readinessProbe", "livenessProbe", "ports"} & set(worker)


def test_the_gpus_of_all_pods_are_those_of_the_layout() -> None:
    leader, worker = map(engine, templates(objects()))
    counts = [int(each["resources"]["limits"]["nvidia.com/gpu"]) for each in (leader, worker)]
    assert counts == [8, 8]


def test_the_others_keep_their_gpus_until_the_first_has_finished() -> None:
    leader, worker = templates(objects(", engine: {stopTimeoutS: 200}"))
    sleeps = [engine(each)["lifecycle"]["preStop"]["sleep"]["seconds"] for each in (leader, worker)]
    assert sleeps == [15, 15 + 200]
    assert leader["spec"]["terminationGracePeriodSeconds"] == worker["spec"]["terminationGracePeriodSeconds"]


def test_the_service_finds_first_pods_only() -> None:
    selector = one(objects(), "Service")["spec"]["selector"]
    assert selector["leaderworkerset.sigs.k8s.io/worker-index"] == "0"


def test_pods_are_spread_by_the_revision_label_that_groups_have() -> None:
    (constraint,) = templates(objects())[0]["spec"]["topologySpreadConstraints"]
    assert constraint["matchLabelKeys"] == ["leaderworkerset.sigs.k8s.io/template-revision-hash"]


def test_an_autoscaler_sets_the_number_of_groups_too() -> None:
    assert "replicas" not in one(objects(", autoscaling: {maxReplicas: 3}"), "LeaderWorkerSet")["spec"]


def test_a_group_surges_only_with_gpus_for_all_its_pods() -> None:
    def surge(spare: int) -> int:
        more = f"hardware: {{classes: [{{gpu: H100, spareGpus: {spare}}}]}}"
        body = one(objects(more=more), "LeaderWorkerSet")
        return int(body["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]["maxSurge"])

    assert (surge(8), surge(16)) == (0, 1)
