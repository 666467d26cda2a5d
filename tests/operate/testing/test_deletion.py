"""Deleting: finalizers, grace, preconditions, propagation and what is collected."""

from __future__ import annotations

from operate.testing.api import DEPLOYMENTS, MAPS, MERGE, PODS, T0, Api, Json, config_map, deployment, owner, pod


def owned(name: str, by: Json, **more: bool) -> Json:
    return config_map(name) | {"metadata": {"name": name, "ownerReferences": [owner(by, **more)]}}


def names(api: Api) -> list[str]:
    return [obj["metadata"]["name"] for obj in api.cluster.list("v1", "ConfigMap")]


def test_a_deletion_answers_a_status_with_the_uid() -> None:
    api = Api()
    created = api.ok("POST", MAPS, config_map())

    answer = api.ok("DELETE", f"{MAPS}/a")

    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"] == {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    assert api.refused("GET", f"{MAPS}/a")["code"] == 404


def test_finalizers_hold_an_object_until_they_are_gone() -> None:
    # given an object with a finalizer
    api = Api()
    api.ok("POST", MAPS, config_map() | {"metadata": {"name": "a", "finalizers": ["penstock.dev/held"]}})

    # when it is deleted, then it is marked and stays
    api.now += 5
    marked = api.ok("DELETE", f"{MAPS}/a")["metadata"]
    assert marked["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    assert marked["deletionGracePeriodSeconds"] == 0

    # and takes no new finalizer
    refused = api.refused("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": ["x.io/a", "x.io/b"]}}, kind=MERGE)
    assert "no new finalizers can be added if the object is being deleted" in refused["message"]

    # and goes with its last one
    api.ok("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}}, kind=MERGE)
    assert api.refused("GET", f"{MAPS}/a")["code"] == 404


def test_preconditions_guard_a_deletion() -> None:
    api = Api()
    created = api.ok("POST", MAPS, config_map())["metadata"]

    uid = api.refused("DELETE", f"{MAPS}/a", {"preconditions": {"uid": "other"}})
    version = api.refused("DELETE", f"{MAPS}/a", {"preconditions": {"resourceVersion": "1"}})

    assert (uid["code"], uid["reason"]) == (409, "Conflict")
    assert uid["message"].endswith(
        f"Precondition failed: UID in precondition: other, UID in object meta: {created['uid']}"
    )
    assert "ResourceVersion in precondition: 1" in version["message"]
    api.ok("DELETE", f"{MAPS}/a", {"preconditions": {"uid": created["uid"]}})


def test_what_lost_its_owners_is_collected() -> None:
    api = Api()
    top = api.ok("POST", MAPS, config_map("top"))
    middle = api.ok("POST", MAPS, owned("middle", top))
    api.ok("POST", MAPS, owned("low", middle))
    api.ok("POST", MAPS, config_map("apart"))

    api.ok("DELETE", f"{MAPS}/top", {"propagationPolicy": "Background"})

    assert names(api) == ["apart"]


def test_an_object_with_another_owner_stays_and_lets_the_lost_one_go() -> None:
    api = Api()
    one, two = api.ok("POST", MAPS, config_map("one")), api.ok("POST", MAPS, config_map("two"))
    both = config_map("both") | {"metadata": {"name": "both", "ownerReferences": [owner(one), owner(two)]}}
    api.ok("POST", MAPS, both)

    api.ok("DELETE", f"{MAPS}/one")

    assert [ref["name"] for ref in api.ok("GET", f"{MAPS}/both")["metadata"]["ownerReferences"]] == ["two"]


def test_foreground_waits_for_dependents_that_block() -> None:
    # given an owner and a dependent that blocks and is held
    api = Api()
    top = api.ok("POST", MAPS, config_map("top"))
    low = owned("low", top, blockOwnerDeletion=True)
    low["metadata"]["finalizers"] = ["penstock.dev/held"]
    api.ok("POST", MAPS, low)

    # when the owner is deleted in the foreground, then it waits
    api.ok("DELETE", f"{MAPS}/top", {"propagationPolicy": "Foreground"})
    waiting = api.ok("GET", f"{MAPS}/top")["metadata"]
    assert waiting["finalizers"] == ["foregroundDeletion"]
    assert api.ok("GET", f"{MAPS}/low")["metadata"]["deletionTimestamp"]

    # until the dependent is gone
    api.ok("PATCH", f"{MAPS}/low", {"metadata": {"finalizers": None}}, kind=MERGE)
    assert names(api) == []


def test_orphans_stay_without_their_owner() -> None:
    api = Api()
    top = api.ok("POST", MAPS, config_map("top"))
    api.ok("POST", MAPS, owned("low", top))

    api.ok("DELETE", f"{MAPS}/top", {"propagationPolicy": "Orphan"})

    assert names(api) == ["low"]
    assert "ownerReferences" not in api.ok("GET", f"{MAPS}/low")["metadata"]


def test_collection_can_be_left_to_the_test() -> None:
    api = Api()
    api.cluster.is_collecting = False
    top = api.ok("POST", MAPS, config_map("top"))
    api.ok("POST", MAPS, owned("low", top))
    api.ok("DELETE", f"{MAPS}/top")

    assert names(api) == ["low"]
    assert api.cluster.collect(T0)
    assert names(api) == []


def test_a_collection_of_objects_is_deleted_by_selector() -> None:
    api = Api()
    for name, tier in (("a", "x"), ("b", "y"), ("c", "x")):
        api.ok("POST", MAPS, config_map(name) | {"metadata": {"name": name, "labels": {"tier": tier}}})

    answer = api.ok("DELETE", MAPS, labelSelector="tier=x")

    assert [item["metadata"]["name"] for item in answer["items"]] == ["a", "c"]
    assert names(api) == ["b"]


def test_a_running_pod_ends_within_its_grace() -> None:
    # given a pod on a node
    api = Api()
    api.ok("POST", PODS, pod("p", nodeName="n1", terminationGracePeriodSeconds=60))

    # when it is deleted, then it is marked with the end of its grace
    marked = api.ok("DELETE", f"{PODS}/p")["metadata"]
    assert marked["deletionTimestamp"] == "2026-01-01T00:01:00Z"
    assert marked["deletionGracePeriodSeconds"] == 60

    # and a shorter grace shortens it, none ends it
    assert api.ok("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5})["metadata"]["deletionGracePeriodSeconds"] == 5
    api.ok("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert api.refused("GET", f"{PODS}/p")["code"] == 404


def test_a_pod_without_a_node_goes_at_once() -> None:
    api = Api()
    api.ok("POST", PODS, pod())

    assert api.ok("DELETE", f"{PODS}/p")["status"] == "Success"
    assert api.refused("GET", f"{PODS}/p")["code"] == 404


def test_a_namespace_takes_its_content_with_it() -> None:
    # given a namespace with an object that is held and one that is not
    api = Api()
    api.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "old"}})
    path = "/api/v1/namespaces/old/configmaps"
    api.ok("POST", path, config_map("free"))
    api.ok("POST", path, config_map("held") | {"metadata": {"name": "held", "finalizers": ["penstock.dev/held"]}})

    # when it is deleted, then it waits for what is held
    api.ok("DELETE", "/api/v1/namespaces/old")
    assert api.ok("GET", "/api/v1/namespaces/old")["status"]["phase"] == "Terminating"
    assert [item["metadata"]["name"] for item in api.ok("GET", path)["items"]] == ["held"]

    # and goes with it
    api.ok("PATCH", f"{path}/held", {"metadata": {"finalizers": None}}, kind=MERGE)
    assert api.refused("GET", "/api/v1/namespaces/old")["code"] == 404
    assert api.refused("DELETE", "/api/v1/namespaces/default")["code"] == 403


def test_the_pods_of_a_job_stay_unless_asked_for() -> None:
    api = Api()
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template}}
    created = api.ok("POST", "/apis/batch/v1/namespaces/default/jobs", job)
    api.ok("POST", PODS, pod() | {"metadata": {"name": "p", "ownerReferences": [owner(created)]}})

    answer = api.send("DELETE", "/apis/batch/v1/namespaces/default/jobs/j")

    assert "child pods are preserved by default when jobs are deleted" in answer.headers["Warning"]
    assert "ownerReferences" not in api.ok("GET", f"{PODS}/p")["metadata"]


def test_a_claim_goes_when_no_pod_uses_it() -> None:
    api = Api()
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    api.ok(
        "POST", claims, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec}
    )
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    api.ok("POST", PODS, pod("p", volumes=volumes))

    api.ok("DELETE", f"{claims}/c")
    assert api.ok("GET", f"{claims}/c")["metadata"]["deletionTimestamp"]
    api.ok("DELETE", f"{PODS}/p")

    assert api.refused("GET", f"{claims}/c")["code"] == 404


def test_deleting_moves_the_generation() -> None:
    api = Api()
    body = deployment()
    body["metadata"]["finalizers"] = ["penstock.dev/held"]
    api.ok("POST", DEPLOYMENTS, body)

    assert api.ok("DELETE", f"{DEPLOYMENTS}/web")["metadata"]["generation"] == 2
