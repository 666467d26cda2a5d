"""What the server itself fills in, keeps and checks in a write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operate.testing.api import DEPLOYMENTS, MAPS, MERGE, Api, config_map, deployment
from penstock.operate.testing import Cluster
from penstock.operate.testing.writing import rfc3339


def test_the_server_gives_uid_version_and_time() -> None:
    api = Api()

    created = api.ok("POST", MAPS, config_map() | {"metadata": {"name": "a", "uid": "mine", "generation": 7}})

    metadata = created["metadata"]
    assert metadata["uid"] != "mine"
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert int(metadata["resourceVersion"]) == api.cluster.store.revision
    assert "generation" not in metadata
    assert metadata["namespace"] == "default"


def test_generation_moves_with_the_desired_state_only() -> None:
    api = Api()
    created = api.ok("POST", DEPLOYMENTS, deployment())

    labelled = api.ok("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}}, kind=MERGE)
    status = api.ok("PATCH", f"{DEPLOYMENTS}/web/status", {"status": {"replicas": 1}}, kind=MERGE)
    scaled = api.ok("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 9}}, kind=MERGE)

    generations = [each["metadata"]["generation"] for each in (created, labelled, status, scaled)]
    assert generations == [1, 1, 1, 2]


def test_generate_name_adds_five_characters() -> None:
    body = config_map() | {"metadata": {"generateName": "run-"}}

    one, two = (Api().ok("POST", MAPS, body)["metadata"]["name"] for _ in range(2))
    other = Api(Cluster(seed=2)).ok("POST", MAPS, body)["metadata"]["name"]

    assert one == two  # the same seed
    assert one != other
    assert one.startswith("run-")
    assert len(one) == len("run-") + 5
    assert set(one.removeprefix("run-")) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_namespaces_must_exist() -> None:
    refused = Api().refused("POST", "/api/v1/namespaces/none/configmaps", config_map())

    assert (refused["code"], refused["message"]) == (404, 'namespaces "none" not found')


def test_nothing_is_created_in_a_namespace_that_ends() -> None:
    api = Api()
    api.cluster.is_collecting = False
    api.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "old"}})
    api.ok("DELETE", "/api/v1/namespaces/old")

    refused = api.refused("POST", "/api/v1/namespaces/old/configmaps", config_map())

    assert (refused["code"], refused["reason"]) == (403, "Forbidden")
    assert refused["message"] == (
        'configmaps "a" is forbidden: unable to create new content in namespace old because it is being terminated'
    )
    assert refused["details"]["causes"][0]["reason"] == "NamespaceTerminating"


def test_a_write_that_changes_nothing_is_no_write() -> None:
    api = Api()
    created = api.ok("POST", MAPS, config_map())
    watch = api.send("GET", MAPS, watch="true", resourceVersion=created["metadata"]["resourceVersion"]).watch
    assert watch is not None
    api.now += 100

    again = api.ok("PUT", f"{MAPS}/a", created)

    assert again == created
    assert watch.poll() == []


def test_another_object_of_the_name_is_a_conflict() -> None:
    api = Api()
    created = api.ok("POST", MAPS, config_map())
    api.ok("DELETE", f"{MAPS}/a")
    api.ok("POST", MAPS, config_map())
    stale = {key: value for key, value in created["metadata"].items() if key != "resourceVersion"}

    refused = api.refused("PUT", f"{MAPS}/a", created | {"metadata": stale})

    assert refused["code"] == 409
    assert "Precondition failed: UID in precondition" in refused["message"]


def test_an_object_that_is_created_has_no_version_yet() -> None:
    body = config_map() | {"metadata": {"name": "a", "resourceVersion": "1"}}

    assert "resourceVersion should not be set" in Api().refused("POST", MAPS, body)["message"]


@given(st.integers(0, 4_000_000_000))
def test_times_are_whole_seconds_in_utc(second: int) -> None:
    assert rfc3339(second + 0.9) == rfc3339(second)
    assert rfc3339(second).endswith("Z")
    assert len(rfc3339(second)) == len("2026-01-01T00:00:00Z")
