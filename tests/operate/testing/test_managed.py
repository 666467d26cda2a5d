"""Server-side apply: who owns which field, and what that does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from operate.testing.api import APPLY, DEPLOYMENTS, MAPS, MERGE, Api, Json, config_map, deployment, needs_schemas
from penstock.operate.testing.fieldsets import decode_fields


def entries(obj: Json) -> dict[tuple[str, str, str], Json]:
    return {
        (row["manager"], row["operation"], row.get("subresource", "")): row["fieldsV1"]
        for row in obj["metadata"]["managedFields"]
    }


@needs_schemas
def test_an_apply_owns_what_it_says_in_fields_v1() -> None:
    applied = Api().apply(f"{DEPLOYMENTS}/web", deployment())

    row = applied["metadata"]["managedFields"][0]
    assert {key: row[key] for key in ("manager", "operation", "apiVersion", "fieldsType", "time")} == {
        "manager": "penstock",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "time": "2026-01-01T00:00:00Z",
    }
    container = {
        ".": {},
        "f:image": {},
        "f:name": {},
        "f:ports": {'k:{"containerPort":8000,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
    }
    assert row["fieldsV1"] == {
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {"f:containers": {'k:{"name":"engine"}': container}},
            },
        }
    }


def test_an_apply_of_anothers_field_is_a_conflict() -> None:
    api = Api()
    api.ok("POST", DEPLOYMENTS, deployment(), fieldManager="kubectl-client-side-apply")

    refused = api.refused("PATCH", f"{DEPLOYMENTS}/web", deployment(replicas=7), kind=APPLY, fieldManager="penstock")

    assert (refused["code"], refused["reason"]) == (409, "Conflict")
    assert refused["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
            "field": ".spec.replicas",
        }
    ]


def test_many_conflicts_are_told_by_manager() -> None:
    api = Api()
    api.apply(f"{MAPS}/a", config_map(one="1", two="2"), manager="other")

    refused = api.refused("PATCH", f"{MAPS}/a", config_map(one="x", two="y"), kind=APPLY, fieldManager="penstock")

    assert refused["message"] == ('Apply failed with 2 conflicts: conflicts with "other":\n- .data.one\n- .data.two')


def test_force_takes_the_field() -> None:
    api = Api()
    api.apply(f"{MAPS}/a", config_map(one="1", two="2"), manager="other")

    taken = api.apply(f"{MAPS}/a", config_map(one="x"), force="true")

    assert taken["data"] == {"one": "x", "two": "2"}
    assert entries(taken) == {
        ("other", "Apply", ""): {"f:data": {"f:two": {}}},
        ("penstock", "Apply", ""): {"f:data": {"f:one": {}}},
    }


def test_the_same_value_is_owned_together() -> None:
    api = Api()
    api.apply(f"{MAPS}/a", config_map(one="1"), manager="other")

    shared = api.apply(f"{MAPS}/a", config_map(one="1"))
    released = api.apply(f"{MAPS}/a", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})

    assert set(entries(shared)) == {("other", "Apply", ""), ("penstock", "Apply", "")}
    assert released["data"] == {"one": "1"}
    assert set(entries(released)) == {("other", "Apply", "")}


def test_what_is_applied_no_more_goes() -> None:
    api = Api()
    api.apply(f"{MAPS}/a", config_map(one="1", two="2"))

    applied = api.apply(f"{MAPS}/a", config_map(two="2"))

    assert applied["data"] == {"two": "2"}


@needs_schemas
def test_a_container_that_is_applied_no_more_goes_with_its_defaults() -> None:
    api = Api()
    body = deployment()
    body["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "side:1"})
    api.apply(f"{DEPLOYMENTS}/web", body)

    applied = api.apply(f"{DEPLOYMENTS}/web", deployment())

    assert [each["name"] for each in applied["spec"]["template"]["spec"]["containers"]] == ["engine"]


def test_applying_the_same_again_changes_nothing() -> None:
    api = Api()
    first = api.apply(f"{DEPLOYMENTS}/web", deployment())
    watch = api.send("GET", DEPLOYMENTS, watch="true", resourceVersion=first["metadata"]["resourceVersion"]).watch
    assert watch is not None
    api.now += 3600

    again = api.apply(f"{DEPLOYMENTS}/web", deployment())

    assert again == first
    assert watch.poll() == []


def test_updates_and_patches_own_what_they_change() -> None:
    api = Api()
    api.apply(f"{MAPS}/a", config_map(one="1"))

    patched = api.ok("PATCH", f"{MAPS}/a", {"data": {"one": "2", "new": "3"}}, kind=MERGE, fieldManager="editor")

    assert entries(patched) == {("editor", "Update", ""): {"f:data": {"f:new": {}, "f:one": {}}}}


def test_a_manager_without_a_name_is_the_client() -> None:
    created = Api().ok("POST", MAPS, config_map())

    assert list(entries(created)) == [("tests", "Update", "")]
    assert entries(created)[("tests", "Update", "")] == {"f:data": {".": {}, "f:key": {}}}


def test_the_scale_is_owned_apart() -> None:
    api = Api()
    api.apply(f"{DEPLOYMENTS}/web", deployment())

    api.ok("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 5}}, kind=MERGE, fieldManager="hpa")

    live = api.ok("GET", f"{DEPLOYMENTS}/web")
    assert entries(live)[("hpa", "Update", "scale")] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in entries(live)[("penstock", "Apply", "")]["f:spec"]
    refused = api.refused("PATCH", f"{DEPLOYMENTS}/web", deployment(), kind=APPLY, fieldManager="penstock")
    assert refused["message"] == (
        'Apply failed with 1 conflict: conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas'
    )


def test_an_object_without_owners_was_there_before_the_first_apply() -> None:
    api = Api()
    created = api.ok("POST", MAPS, config_map(one="1"))
    api.ok("PUT", f"{MAPS}/a", created | {"metadata": created["metadata"] | {"managedFields": []}})
    bare = api.cluster.get("v1", "ConfigMap", "a")
    assert bare is not None
    bare = bare | {"metadata": {k: v for k, v in bare["metadata"].items() if k != "managedFields"}}
    api.cluster.store.put(api.cluster.catalog.built_in("configmaps"), bare)

    applied = api.apply(f"{MAPS}/a", config_map(two="2"))

    assert ("before-first-apply", "Update", "") in entries(applied)
    assert applied["data"] == {"one": "1", "two": "2"}


def test_an_apply_does_not_send_managed_fields() -> None:
    body = config_map() | {"metadata": {"name": "a", "managedFields": [{"manager": "x"}]}}

    refused = Api().refused("PATCH", f"{MAPS}/a", body, kind=APPLY, fieldManager="penstock")

    assert (refused["code"], refused["message"]) == (400, "metadata.managedFields must be nil")


@needs_schemas
def test_a_field_that_no_schema_has_cannot_be_applied() -> None:
    body = deployment(replicsa=3)

    refused = Api().refused("PATCH", f"{DEPLOYMENTS}/web", body, kind=APPLY, fieldManager="penstock")

    assert refused["code"] == 500
    assert refused["message"] == (
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replicsa: field not "
        "declared in schema"
    )


keys = st.sampled_from("abcd")
configs = st.dictionaries(keys, st.sampled_from("12"), max_size=4)


@settings(deadline=None)  # a cluster for each example
@given(st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), configs), max_size=8))
def test_a_forced_apply_always_wins_and_fields_live_while_owned(steps: list[tuple[str, dict[str, str]]]) -> None:
    """After any history, the object has exactly the fields that its managers' last applies say."""
    api = Api()
    last: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    for manager, wanted in steps:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": wanted}
        applied = api.apply(f"{MAPS}/a", body, manager=manager, force="true")

        for other in [each for each in last if each != manager]:
            last[other] = {k: v for k, v in last[other].items() if k not in wanted or wanted[k] == v}
        last[manager] = wanted
        values = {key: value for each in last.values() for key, value in each.items()}
        assert applied.get("data", {}) == values
        owned = {
            row["manager"]: {path[1][2:] for path in decode_fields(row["fieldsV1"]) if len(path) == 2}
            for row in applied["metadata"].get("managedFields", [])
        }
        assert {k: v for k, v in owned.items() if v} == {k: set(v) for k, v in last.items() if v}
