"""The scale subresource."""

from __future__ import annotations

from operate.testing.api import DEPLOYMENTS, FLEETS, MERGE, Api, deployment, fleet, with_fleets


def test_workloads_have_a_scale() -> None:
    api = Api()
    api.ok("POST", DEPLOYMENTS, deployment(replicas=3))

    scale = api.ok("GET", f"{DEPLOYMENTS}/web/scale")
    scaled = api.ok("PUT", f"{DEPLOYMENTS}/web/scale", scale | {"spec": {"replicas": 5}})

    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, {"replicas": 0, "selector": "app=web"})
    assert scaled["spec"] == {"replicas": 5}
    assert api.ok("GET", f"{DEPLOYMENTS}/web")["spec"]["replicas"] == 5
    stale = api.refused("PUT", f"{DEPLOYMENTS}/web/scale", scale)
    assert stale["reason"] == "Conflict"


def test_a_custom_resource_is_scaled_by_its_paths() -> None:
    api = with_fleets()
    api.ok("POST", FLEETS, fleet())
    api.ok("PATCH", f"{FLEETS}/a/status", {"status": {"replicas": 1}}, kind=MERGE)

    scaled = api.ok("PATCH", f"{FLEETS}/a/scale", {"spec": {"replicas": 4}}, kind=MERGE)

    assert (scaled["spec"], scaled["status"]) == ({"replicas": 4}, {"replicas": 1})
    assert api.ok("GET", f"{FLEETS}/a")["spec"]["replicas"] == 4


def test_a_scale_is_not_negative() -> None:
    api = Api()
    api.ok("POST", DEPLOYMENTS, deployment())

    refused = api.refused("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, kind=MERGE)

    assert refused["details"]["causes"][0]["message"] == "Invalid value: -1: must be greater than or equal to 0"
    assert api.refused("PUT", f"{DEPLOYMENTS}/web/scale", deployment())["code"] == 400
