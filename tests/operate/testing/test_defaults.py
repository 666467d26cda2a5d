"""What the server fills into built-in kinds."""

from __future__ import annotations

from operate.testing.api import DEPLOYMENTS, PODS, Api, deployment, pod
from penstock.operate.testing.defaults import with_defaults
from penstock.operate.testing.kinds import BUILT_IN
from penstock.operate.testing.merge import clone


def test_deployments_get_the_defaults_of_apps_v1() -> None:
    body = deployment()
    del body["spec"]["replicas"]

    spec = Api().ok("POST", DEPLOYMENTS, body)["spec"]

    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    template = spec["template"]["spec"]
    assert template["restartPolicy"] == "Always"
    assert template["terminationGracePeriodSeconds"] == 30
    assert template["dnsPolicy"] == "ClusterFirst"
    container = template["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"containerPort": 8000, "protocol": "TCP"}]
    assert container["terminationMessagePolicy"] == "File"


def test_the_pull_policy_depends_on_the_tag() -> None:
    def policy(image: str) -> str:
        created = Api().ok("POST", PODS, pod(containers=[{"name": "a", "image": image}]))
        return str(created["spec"]["containers"][0]["imagePullPolicy"])

    assert policy("repo:5000/vllm") == "Always"
    assert policy("vllm:latest") == "Always"
    assert policy("vllm:v1") == "IfNotPresent"
    assert policy("vllm@sha256:0") == "IfNotPresent"


def test_requests_of_pods_follow_limits_and_those_of_templates_do_not() -> None:
    resources = {"limits": {"nvidia.com/gpu": "1"}}
    containers = [{"name": "a", "image": "i:1", "resources": resources}]
    body = deployment()
    body["spec"]["template"]["spec"]["containers"] = containers

    created = Api().ok("POST", PODS, pod(containers=containers))
    template = Api().ok("POST", DEPLOYMENTS, body)["spec"]["template"]

    assert created["spec"]["containers"][0]["resources"]["requests"] == {"nvidia.com/gpu": "1"}
    assert "requests" not in template["spec"]["containers"][0]["resources"]


def test_services_get_an_address_and_target_ports() -> None:
    api = Api()
    path = "/api/v1/namespaces/default/services"
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}

    first = api.ok("POST", path, body)["spec"]
    second = api.ok("POST", path, body | {"metadata": {"name": "b"}})["spec"]

    assert first["type"] == "ClusterIP"
    assert first["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert first["clusterIP"] != second["clusterIP"]
    assert first["clusterIPs"] == [first["clusterIP"]]
    assert api.ok("PUT", f"{path}/a", body)["spec"]["clusterIP"] == first["clusterIP"]


def test_filling_in_twice_is_filling_in_once() -> None:
    bodies = {
        "deployments": {"spec": deployment()["spec"]},
        "pods": {"spec": pod()["spec"]},
        "jobs": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        "horizontalpodautoscalers": {"spec": {"maxReplicas": 3, "behavior": {}}},
        "networkpolicies": {"spec": {"egress": [{"ports": [{"port": 53}]}]}},
        "statefulsets": {"spec": {}},
        "daemonsets": {"spec": {}},
        "cronjobs": {"spec": {}},
        "storageclasses": {},
        "rolebindings": {"subjects": [{"kind": "User", "name": "u"}]},
    }
    for resource in BUILT_IN:
        if resource.plural in bodies:
            once = with_defaults(resource, {"metadata": {"uid": "u", "name": "n"}} | clone(bodies[resource.plural]))
            assert with_defaults(resource, clone(once)) == once
            assert len(once) >= 2
