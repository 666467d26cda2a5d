"""CustomResourceDefinitions: what one serves, and what it must say."""

from __future__ import annotations

from operate.testing.api import FLEETS, MERGE, T0, Api, crd, fleet, with_fleets
from penstock.operate.testing.crds import crd_causes, customs_of, established

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def test_a_definition_serves_its_resource() -> None:
    api = Api()
    assert api.refused("GET", FLEETS)["code"] == 404

    api.ok("POST", CRDS, crd())

    live = api.ok("GET", f"{CRDS}/fleets.penstock.dev")
    assert [(each["type"], each["status"]) for each in live["status"]["conditions"]] == [
        ("NamesAccepted", "True"),
        ("Established", "True"),
    ]
    assert api.ok("POST", FLEETS, fleet())["kind"] == "Fleet"
    assert api.ok("GET", FLEETS)["kind"] == "FleetList"


def test_a_definition_that_goes_takes_its_resources_with_it() -> None:
    api = with_fleets()
    api.ok("POST", FLEETS, fleet())

    api.ok("DELETE", f"{CRDS}/fleets.penstock.dev")

    assert api.refused("GET", FLEETS)["code"] == 404
    api.ok("POST", CRDS, crd())
    assert api.ok("GET", FLEETS)["items"] == []


def test_a_definition_without_a_schema_is_refused() -> None:
    body = crd()
    del body["spec"]["versions"][0]["schema"]

    refused = Api().refused("POST", CRDS, body)

    assert refused["details"]["causes"][0]["field"] == "spec.versions[0].schema.openAPIV3Schema"


def test_a_definition_is_named_for_what_it_defines() -> None:
    body = crd()
    body["metadata"]["name"] = "other.penstock.dev"

    assert [cause.field for cause in crd_causes(body)] == ["metadata.name"]
    assert crd_causes(crd()) == []


def test_status_is_written_by_its_own_path() -> None:
    api = with_fleets()
    created = api.ok("POST", FLEETS, fleet() | {"status": {"ready": "5/5"}})
    assert "status" not in created

    both = {"spec": {"replicas": 7}, "status": {"ready": "1/2"}}
    main = api.ok("PATCH", f"{FLEETS}/a", both, kind=MERGE)
    status = api.ok("PATCH", f"{FLEETS}/a/status", both | {"spec": {"replicas": 1}}, kind=MERGE)

    assert (main["spec"]["replicas"], main.get("status")) == (7, None)
    assert (status["spec"]["replicas"], status["status"]) == (7, {"ready": "1/2"})
    assert status["metadata"]["generation"] == main["metadata"]["generation"] == 2
    assert [row.get("subresource") for row in status["metadata"]["managedFields"]] == [None, "status"]


def test_versions_are_served_under_their_own_name() -> None:
    body = crd()
    older = body["spec"]["versions"][0] | {"name": "v1alpha1", "storage": False}
    body["spec"]["versions"].append(older)
    api = Api()
    api.cluster.create(body, now=T0)
    api.ok("POST", FLEETS, fleet())

    assert api.ok("GET", FLEETS.replace("v1/", "v1alpha1/", 1) + "/a")["apiVersion"] == "penstock.dev/v1alpha1"
    assert [custom.resource.version for custom in customs_of(body)] == ["v1", "v1alpha1"]


def test_what_is_established_stays_so() -> None:
    first = established(crd(), "2026-01-01T00:00:00Z")

    assert established(crd() | {"status": first}, "2027-01-01T00:00:00Z") == first
    assert first["storedVersions"] == ["v1"]
