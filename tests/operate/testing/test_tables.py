"""Tables, as `kubectl get` prints them."""

from __future__ import annotations

import pytest

from operate.testing.api import DEPLOYMENTS, FLEETS, MERGE, PODS, Api, deployment, fleet, pod, with_fleets
from penstock.operate.testing.kinds import BUILT_IN
from penstock.operate.testing.tables import duration, json_path, table_of

TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


def test_custom_resources_are_printed_by_their_columns() -> None:
    api = with_fleets()
    api.ok("POST", FLEETS, fleet())
    api.ok("PATCH", f"{FLEETS}/a/status", {"status": {"ready": "1/2"}}, kind=MERGE)
    api.now += 300

    table = api.ok("GET", FLEETS, accept=TABLE)

    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Ready", "Age"]
    assert table["rows"][0]["cells"] == ["a", "1/2", "5m"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_built_in_kinds_are_printed_by_theirs() -> None:
    api = Api()
    api.ok("POST", DEPLOYMENTS, deployment())
    api.ok("POST", PODS, pod())

    deployments = api.ok("GET", DEPLOYMENTS, accept=TABLE)
    one = api.ok("GET", f"{PODS}/p", accept=TABLE, includeObject="Object")

    assert deployments["rows"][0]["cells"] == ["web", "0/2", 0, 0, "0s"]
    assert one["rows"][0]["cells"][:4] == ["p", "0/1", "Pending", "0"]
    assert one["rows"][0]["object"]["kind"] == "Pod"


def test_a_watch_can_be_of_tables() -> None:
    watch = Api().send("GET", PODS, accept=TABLE, watch="true").watch

    assert watch is not None
    assert watch.is_table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (660, "11m"), (7200, "120m"), (3 * 3600, "3h"),
        (4 * 3600 + 60, "4h1m"), (30 * 3600, "30h"), (3 * 86400 + 7200, "3d2h"), (100 * 86400, "100d"),
        (3 * 365 * 86400, "3y"), (-5, "<invalid>"),
    ],
)  # fmt: skip
def test_spans_are_written_as_kubectl_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_paths_of_columns_find_fields_items_and_conditions() -> None:
    obj = {"a": {"b.c": 1, "l": [{"type": "X", "v": 5}, {"type": "Y", "v": 6}]}}

    assert json_path(obj, '.a.l[?(@.type=="Y")].v') == 6
    assert json_path(obj, ".a.l[0].v") == 5
    assert json_path(obj, ".a.l[*].type") == "X"
    assert json_path(obj, ".a.none.v") is None


def test_every_kind_can_be_printed() -> None:
    for resource in BUILT_IN:
        body = {
            "kind": resource.kind,
            "metadata": {"name": "n"},
            "spec": {"scaleTargetRef": {"kind": "K", "name": "n"}},
        }
        table = table_of(resource, body, 0.0, "None")
        assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])
        assert table["rows"][0]["object"] is None
