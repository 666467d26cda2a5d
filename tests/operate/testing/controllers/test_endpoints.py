"""Services and their EndpointSlices."""

from __future__ import annotations

from operate.testing.api import T0, deployment
from operate.testing.controllers.cluster_of import cluster_of


def test_a_service_has_the_addresses_of_its_ready_pods() -> None:
    # given a service with a named port, and a deployment that has it
    cluster = cluster_of()
    body = deployment(replicas=2)
    body["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"] = "http"
    cluster.apply(body, now=T0)
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
    cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}, now=T0)

    # when the pods start, then they are listed and not ready
    cluster.step(T0)
    (slice_,) = cluster.list("discovery.k8s.io/v1", "EndpointSlice")
    assert [each["conditions"]["ready"] for each in slice_["endpoints"]] == [False, False]

    # and when they are ready, then so are their addresses
    cluster.step(T0 + 5)
    (slice_,) = cluster.list("discovery.k8s.io/v1", "EndpointSlice")
    assert [each["conditions"]["ready"] for each in slice_["endpoints"]] == [True, True]
    assert slice_["ports"][0]["port"] == 8000
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
    assert not cluster.step(T0 + 5)
