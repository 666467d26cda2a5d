"""What serves people goes before what can wait."""

from __future__ import annotations

from plan.manifests.engines import objects_of

CHAT = "{name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}"


def test_serving_is_above_batch_and_batch_takes_nothing_from_others() -> None:
    classes = {body["metadata"]["name"]: body for body in objects_of(CHAT) if body["kind"] == "PriorityClass"}
    serving, batch = classes["penstock-serving"], classes["penstock-batch"]
    assert serving["value"] > batch["value"] > 0
    assert serving["value"] < 1_000_000_000, "what is above belongs to the cluster"
    assert (serving["preemptionPolicy"], batch["preemptionPolicy"]) == ("PreemptLowerPriority", "Never")
    assert not any(body.get("globalDefault") for body in classes.values())


def test_no_fleet_owns_them_as_all_share_them() -> None:
    for body in objects_of(CHAT):
        if body["kind"] == "PriorityClass":
            assert "penstock.dev/fleet" not in body["metadata"]["labels"]
            assert "namespace" not in body["metadata"]


def test_where_they_are_there_already_they_are_not_made() -> None:
    kinds = [body["kind"] for body in objects_of(CHAT, more="kubernetes: {priorityClasses: false}")]
    assert "PriorityClass" not in kinds
