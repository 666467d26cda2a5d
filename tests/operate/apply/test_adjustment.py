"""What is not ours alone is handed over and shared without loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operate.apply.made import Json, deployment, live
from penstock.operate.apply.adjustment import (
    USED_BY,
    adjusted,
    is_orphaned,
    is_shared,
    scaled_by,
    users_of,
    without_user,
    yielded,
)
from penstock.operate.apply.failures import Cause, FieldConflict
from penstock.operate.apply.objects import ref_of


def wanted_deployment(replicas: int | None = None) -> Json:
    spec: Json = {"template": {}} | ({} if replicas is None else {"replicas": replicas})
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "namespace": "llm"}, "spec": spec}


def priority(**metadata: object) -> Json:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "p", "labels": {"penstock.dev/fleet": "demo"}, **metadata},
        "value": 1,
    }


def test_replicas_that_we_set_and_say_nothing_of_now_are_held() -> None:
    there = deployment()
    there["spec"]["replicas"] = 5

    assert adjusted(wanted_deployment(), there, "llm/demo")["spec"]["replicas"] == 5
    assert adjusted(wanted_deployment(3), there, "llm/demo")["spec"]["replicas"] == 3


def test_replicas_that_another_set_are_left_alone() -> None:
    there = deployment()
    there["metadata"]["managedFields"] = [{"manager": "kube-controller-manager", "operation": "Update"}]

    assert "replicas" not in adjusted(wanted_deployment(), there, "llm/demo")["spec"]
    assert adjusted(wanted_deployment(), None, "llm/demo") == wanted_deployment()


def conflict(*fields: str, manager: str = "m") -> FieldConflict:
    return FieldConflict("no", causes=[Cause(field=field, message="", manager=manager) for field in fields])


@pytest.mark.parametrize("manager", ["kube-controller-manager", "keda-operator"])
def test_replicas_of_a_scaler_that_is_gone_are_nobodys(manager: str) -> None:
    found = conflict(".spec.replicas", manager=manager)
    scalers = {("Deployment", "x", "llm"): "ScaledObject s"}

    assert is_orphaned(wanted_deployment(2), found, {})
    assert not is_orphaned(wanted_deployment(2), found, scalers)
    assert not is_orphaned(wanted_deployment(2), conflict(".spec.replicas", ".spec.paused", manager=manager), {})
    assert not is_orphaned(wanted_deployment(2), conflict(".spec.replicas", manager="kubectl"), {})


def test_replicas_are_yielded_to_a_scaler_and_to_nobody_else() -> None:
    target = {"kind": "Deployment", "name": "x"}
    scaler = {"kind": "ScaledObject", "metadata": {"name": "s", "namespace": "llm"}, "spec": {"scaleTargetRef": target}}
    scalers = scaled_by([scaler, deployment()])

    found = yielded(wanted_deployment(2), conflict(".spec.replicas"), scalers)

    assert found == (wanted_deployment(), "ScaledObject s sets its replicas")
    assert yielded(wanted_deployment(2), conflict(".spec.replicas"), {}) is None
    assert yielded(wanted_deployment(2), conflict(".spec.replicas", ".spec.paused"), scalers) is None


@given(st.sets(st.sampled_from(["a/x", "b/y", "c/z"])), st.sampled_from(["a/x", "d/w"]))
def test_a_shared_object_keeps_every_user_and_goes_with_the_last(users: set[str], me: str) -> None:
    there = priority(annotations={USED_BY: ",".join(sorted(users))}) if users else None

    sent = adjusted(priority(), there, me)

    assert set(users_of(sent)) == users | {me}
    assert adjusted(priority(), sent, me) == sent
    rest = without_user(sent, me)
    assert (rest is None) == (users <= {me})
    if rest is not None:
        assert set(users_of(rest)) == users - {me}


def test_the_first_fleets_label_stays_on_a_shared_object() -> None:
    there = priority(labels={"penstock.dev/fleet": "first"})

    assert adjusted(priority(), there, "llm/demo")["metadata"]["labels"]["penstock.dev/fleet"] == "first"


def test_a_namespace_is_nobodys() -> None:
    assert not is_shared(ref_of(live("Namespace", namespace=None)))
    assert not is_shared(ref_of(live("CustomResourceDefinition", namespace=None)))
    assert not is_shared(ref_of(live("ConfigMap")))
    assert is_shared(ref_of(priority()))
