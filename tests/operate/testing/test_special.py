"""Evicting, binding, logs."""

from __future__ import annotations

from operate.testing.api import PODS, Api, Json, pod
from penstock.operate.testing.controllers.world import ANNOTATION

BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}


def running(allowed: int) -> Api:
    """A ready pod on a node, and a budget that allows so many disruptions."""
    api = Api()
    api.ok("POST", PODS, pod(nodeName="n1"))
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    live = api.ok("GET", f"{PODS}/p")
    api.ok("PUT", f"{PODS}/p/status", live | {"status": ready})
    budget: Json = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}},
    }
    created = api.ok("POST", BUDGETS, budget)
    counts = {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    api.ok("PUT", f"{BUDGETS}/b/status", created | {"status": counts | {"observedGeneration": 1}})
    return api


def test_an_eviction_that_the_budget_forbids_is_told_to_wait() -> None:
    refused = running(allowed=0).refused("POST", f"{PODS}/p/eviction", EVICTION)

    assert (refused["code"], refused["reason"]) == (429, "TooManyRequests")
    assert refused["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
        }
    ]


def test_an_eviction_is_taken_from_the_budget() -> None:
    api = running(allowed=1)

    api.ok("POST", f"{PODS}/p/eviction", EVICTION)

    assert api.ok("GET", f"{PODS}/p")["metadata"]["deletionTimestamp"]
    assert api.ok("GET", f"{BUDGETS}/b")["status"]["disruptionsAllowed"] == 0


def test_a_pod_that_does_not_run_may_always_go() -> None:
    api = running(allowed=0)
    api.ok("POST", PODS, pod("q") | {"metadata": {"name": "q", "labels": {"app": "p"}}})

    api.ok("POST", f"{PODS}/q/eviction", EVICTION)

    assert api.refused("GET", f"{PODS}/q")["code"] == 404


def test_two_budgets_for_one_pod_are_an_error() -> None:
    api = running(allowed=1)
    second = {"minAvailable": 0, "selector": {"matchLabels": {"app": "p"}}}
    api.ok(
        "POST",
        BUDGETS,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "c"}, "spec": second},
    )

    assert api.refused("POST", f"{PODS}/p/eviction", EVICTION)["code"] == 500


def test_a_pod_is_bound_once() -> None:
    api = Api()
    api.ok("POST", PODS, pod())
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n1"}}

    api.ok("POST", f"{PODS}/p/binding", binding)

    assert api.ok("GET", f"{PODS}/p")["spec"]["nodeName"] == "n1"
    assert 'already assigned to node "n1"' in api.refused("POST", f"{PODS}/p/binding", binding)["message"]


def test_a_test_writes_the_log_of_a_pod() -> None:
    api = Api()
    body = pod()
    body["metadata"]["annotations"] = {f"{ANNOTATION}/log": "loading weights\n"}
    api.ok("POST", PODS, body)

    assert api.send("GET", f"{PODS}/p/log").text == "loading weights\n"
    assert api.refused("GET", f"{PODS}/none/log")["code"] == 404
