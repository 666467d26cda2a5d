"""Discovery, version and health."""

from __future__ import annotations

from operate.testing.api import Api, with_fleets
from penstock.operate.testing.discovery import AGGREGATED, api_versions, version_of_server


def test_discovery_lists_groups_versions_and_resources() -> None:
    api = with_fleets()

    core = api.ok("GET", "/api/v1")
    groups = {group["name"]: group for group in api.ok("GET", "/apis")["groups"]}
    fleets = api.ok("GET", "/apis/penstock.dev/v1")["resources"]

    pods = {row["name"]: row for row in core["resources"]}
    assert pods["pods"]["shortNames"] == ["po"]
    assert pods["pods"]["verbs"] == ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    assert (pods["pods/eviction"]["group"], pods["pods/eviction"]["kind"]) == ("policy", "Eviction")
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert [row["name"] for row in fleets] == ["fleets", "fleets/scale", "fleets/status"]
    assert api.ok("GET", "/apis/apps")["kind"] == "APIGroup"
    assert api.refused("GET", "/apis/none/v1")["code"] == 404


def test_discovery_is_also_one_answer() -> None:
    api = with_fleets()

    core = api.send("GET", "/api", accept=AGGREGATED)
    rest = api.ok("GET", "/apis", accept=f"{AGGREGATED},application/json")

    assert core.content_type == AGGREGATED
    names = [row["resource"] for row in core.body["items"][0]["versions"][0]["resources"]]
    assert "pods" in names
    fleet = next(item for item in rest["items"] if item["metadata"]["name"] == "penstock.dev")
    resource = fleet["versions"][0]["resources"][0]
    assert resource["responseKind"] == {"group": "penstock.dev", "version": "v1", "kind": "Fleet"}
    assert [each["subresource"] for each in resource["subresources"]] == ["scale", "status"]


def test_the_server_says_its_version_and_health() -> None:
    api = Api()

    assert api.ok("GET", "/version") == version_of_server()
    assert version_of_server()["gitVersion"] == "v1.36.0"
    for path in ("/healthz", "/readyz", "/livez"):
        assert api.send("GET", path).text == "ok"
    assert api_versions("h")["versions"] == ["v1"]
    assert api.refused("GET", "/nowhere")["code"] == 404
