"""The verbs: what a client reads, and what it may write when."""

from __future__ import annotations

from operate.testing.api import (
    APPLY,
    DEPLOYMENTS,
    JSON_PATCH,
    MAPS,
    MERGE,
    PODS,
    STRATEGIC,
    Api,
    config_map,
    deployment,
    fleet,
    needs_schemas,
    pod,
    with_fleets,
)


def test_an_update_of_an_old_version_is_a_conflict() -> None:
    api = Api()
    first = api.ok("POST", MAPS, config_map())
    api.ok("PUT", f"{MAPS}/a", first | {"data": {"key": "second"}})

    refused = api.refused("PUT", f"{MAPS}/a", first | {"data": {"key": "third"}})

    assert (refused["code"], refused["reason"]) == (409, "Conflict")
    assert refused["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )
    assert refused["details"] == {"name": "a", "kind": "configmaps"}


def test_a_patch_may_insist_on_a_version() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map())

    refused = api.refused("PATCH", f"{MAPS}/a", {"metadata": {"resourceVersion": "1"}}, kind=MERGE)

    assert refused["reason"] == "Conflict"


def test_what_is_not_there_is_not_found() -> None:
    refused = Api().refused("GET", f"{DEPLOYMENTS}/none")

    assert (refused["code"], refused["reason"]) == (404, "NotFound")
    assert refused["message"] == 'deployments.apps "none" not found'
    assert refused["details"] == {"name": "none", "group": "apps", "kind": "deployments"}


def test_a_name_is_taken_once() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map())

    refused = api.refused("POST", MAPS, config_map())

    assert (refused["code"], refused["reason"]) == (409, "AlreadyExists")
    assert refused["message"] == 'configmaps "a" already exists'


def test_a_body_that_does_not_fit_its_path_is_a_bad_request() -> None:
    api = Api()
    elsewhere = config_map() | {"metadata": {"name": "a", "namespace": "other"}}

    assert "does not match the namespace" in api.refused("POST", MAPS, elsewhere)["message"]
    assert api.refused("POST", MAPS, pod() | {"apiVersion": "v2"})["message"] == (
        "the API version in the data (v2) does not match the expected API version (v1)"
    )
    assert api.refused("POST", MAPS, b"{")["code"] == 400
    api.ok("POST", MAPS, config_map())
    assert api.refused("PUT", f"{MAPS}/a", config_map("b"))["message"] == (
        "the name of the object (b) does not match the name on the URL (a)"
    )


def test_lists_are_paged() -> None:
    # given five objects
    api = Api()
    for name in "abcde":
        api.ok("POST", MAPS, config_map(name))

    # when they are read two at a time
    first = api.ok("GET", MAPS, limit="2")
    second = api.ok("GET", MAPS, limit="2", **{"continue": first["metadata"]["continue"]})
    third = api.ok("GET", MAPS, limit="2", **{"continue": second["metadata"]["continue"]})

    # then each is there once, and the pages know how many are left
    names = [item["metadata"]["name"] for page in (first, second, third) for item in page["items"]]
    assert names == list("abcde")
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in third["metadata"]
    assert first["metadata"]["resourceVersion"] == third["metadata"]["resourceVersion"]


def test_a_page_of_a_compacted_list_is_gone() -> None:
    api = Api()
    for name in "ab":
        api.ok("POST", MAPS, config_map(name))
    first = api.ok("GET", MAPS, limit="1")
    api.ok("POST", MAPS, config_map("c"))
    api.cluster.compact()

    refused = api.refused("GET", MAPS, limit="1", **{"continue": first["metadata"]["continue"]})

    assert (refused["code"], refused["reason"]) == (410, "Expired")


def test_lists_are_chosen_by_label_and_field() -> None:
    api = Api()
    for name, tier in (("a", "x"), ("b", "y"), ("c", "x")):
        api.ok("POST", PODS, pod(name) | {"metadata": {"name": name, "labels": {"tier": tier}}})

    def names(**query: str) -> list[str]:
        return [item["metadata"]["name"] for item in api.ok("GET", PODS, **query)["items"]]

    assert names(labelSelector="tier=x") == ["a", "c"]
    assert names(labelSelector="tier in (y,z)") == ["b"]
    assert names(fieldSelector="metadata.name!=a") == ["b", "c"]
    assert names(fieldSelector="status.phase=Pending,metadata.name=b") == ["b"]
    assert names(fieldSelector="spec.nodeName=n1") == []
    assert api.refused("GET", PODS, fieldSelector="spec.nope=1")["code"] == 400


def test_initial_events_are_refused_as_by_a_server_without_them() -> None:
    refused = Api().refused("GET", MAPS, watch="true", sendInitialEvents="true", resourceVersionMatch="NotOlderThan")

    assert (refused["code"], refused["reason"]) == (422, "Invalid")
    assert refused["details"]["causes"][0]["field"] == "sendInitialEvents"


def test_a_dry_run_changes_nothing() -> None:
    # given one object
    api = Api()
    api.ok("POST", MAPS, config_map())
    before = api.cluster.store.revision

    # when every verb is tried on it and others
    created = api.ok("POST", MAPS, config_map("b"), dryRun="All")
    patched = api.ok("PATCH", f"{MAPS}/a", {"data": {"new": "1"}}, kind=MERGE, dryRun="All")
    applied = api.ok("PATCH", f"{MAPS}/c", config_map("c"), kind=APPLY, fieldManager="m", dryRun="All")
    api.ok("DELETE", f"{MAPS}/a", dryRun="All")
    api.ok("DELETE", MAPS, dryRun="All")

    # then each answers what would be, and nothing is
    assert created["metadata"]["uid"]
    assert patched["data"] == {"key": "value", "new": "1"}
    assert applied["metadata"]["managedFields"]
    assert api.cluster.store.revision == before
    assert api.refused("POST", MAPS, config_map("b"), dryRun="Some")["code"] == 400


def test_a_merge_patch_merges_objects_and_replaces_lists() -> None:
    api = Api()
    api.ok("POST", DEPLOYMENTS, deployment())

    patched = api.ok("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 5, "paused": None}}, kind=MERGE)

    assert patched["spec"]["replicas"] == 5
    assert patched["metadata"]["generation"] == 2


def test_a_json_patch_tests_before_it_writes() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map())
    good = [{"op": "test", "path": "/data/key", "value": "value"}, {"op": "add", "path": "/data/b", "value": "2"}]
    bad = [{"op": "test", "path": "/data/key", "value": "other"}, {"op": "remove", "path": "/data/b"}]

    assert api.ok("PATCH", f"{MAPS}/a", good, kind=JSON_PATCH)["data"] == {"key": "value", "b": "2"}
    assert api.refused("PATCH", f"{MAPS}/a", bad, kind=JSON_PATCH)["code"] == 422


@needs_schemas
def test_a_strategic_patch_merges_containers_by_name() -> None:
    api = Api()
    api.ok("POST", DEPLOYMENTS, deployment())
    containers = [{"name": "engine", "image": "vllm:2"}, {"name": "side", "image": "side:1"}]

    patched = api.ok(
        "PATCH", f"{DEPLOYMENTS}/web", {"spec": {"template": {"spec": {"containers": containers}}}}, kind=STRATEGIC
    )

    found = {each["name"]: each for each in patched["spec"]["template"]["spec"]["containers"]}
    assert found["engine"]["image"] == "vllm:2"
    assert found["engine"]["ports"] == [{"containerPort": 8000, "protocol": "TCP"}]
    assert found["side"]["image"] == "side:1"


def test_custom_resources_take_no_strategic_patch() -> None:
    api = with_fleets()
    api.ok("POST", "/apis/penstock.dev/v1/namespaces/default/fleets", fleet())

    refused = api.refused(
        "PATCH", "/apis/penstock.dev/v1/namespaces/default/fleets/a", {"spec": {"replicas": 3}}, kind=STRATEGIC
    )

    assert (refused["code"], refused["reason"]) == (415, "UnsupportedMediaType")


def test_an_apply_needs_a_field_manager() -> None:
    refused = Api().refused("PATCH", f"{MAPS}/a", config_map(), kind=APPLY)

    assert refused["code"] == 422
    assert refused["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )


def test_force_is_for_applies_only() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map())

    assert api.refused("PATCH", f"{MAPS}/a", {}, kind=MERGE, force="true")["code"] == 422


def test_a_version_from_the_future_is_a_timeout() -> None:
    refused = Api().refused("GET", MAPS, resourceVersion="99999")

    assert (refused["code"], refused["reason"]) == (504, "Timeout")
    assert refused["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
