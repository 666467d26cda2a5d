"""The cluster as a value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operate.testing.api import DEPLOYMENTS, MAPS, MERGE, T0, Api, config_map, deployment
from penstock.operate.testing import Cluster, Refusal


def test_every_request_is_logged() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map(), fieldManager="me")
    api.refused("GET", f"{MAPS}/none")

    first, second = api.cluster.requests

    assert (first.method, first.path, first.code, first.is_write) == ("POST", MAPS, 201, True)
    assert first.query == {"fieldManager": "me"}
    assert first.body["metadata"] == {"name": "a"}
    assert (second.code, second.is_write) == (404, False)


def test_the_same_seed_gives_the_same_cluster() -> None:
    def run(seed: int) -> list:
        api = Api(Cluster(seed=seed))
        api.ok("POST", DEPLOYMENTS, deployment())
        api.cluster.step(T0)
        return api.cluster.list("v1", "Pod")

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_what_is_handed_out_is_a_copy() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map())["data"]["key"] = "spoiled"
    found = api.cluster.get("v1", "ConfigMap", "a")
    assert found is not None
    found["data"]["key"] = "spoiled too"

    assert api.ok("GET", f"{MAPS}/a")["data"] == {"key": "value"}


def test_a_test_writes_without_http() -> None:
    cluster = Cluster()
    cluster.apply(config_map("a", x="1"), manager="one")
    with pytest.raises(Refusal, match='conflict with "one"'):
        cluster.apply(config_map("a", x="2"), manager="two")
    cluster.apply(config_map("a", x="2"), manager="two", is_forced=True)

    found = cluster.get("v1", "ConfigMap", "a")
    assert found is not None
    assert found["data"] == {"x": "2"}
    assert cluster.update(found | {"data": {"x": "3"}})["data"] == {"x": "3"}
    assert cluster.delete("v1", "ConfigMap", "a")
    assert cluster.get("v1", "ConfigMap", "a") is None
    with pytest.raises(Refusal, match="not found"):
        cluster.list("v1", "Unknown")


def test_methods_that_a_path_does_not_have_are_refused() -> None:
    api = Api()

    assert api.refused("PUT", MAPS, config_map())["code"] == 405
    assert api.refused("POST", f"{MAPS}/a", config_map())["code"] == 405
    assert api.refused("GET", f"{MAPS}/a/scale")["code"] == 404


@settings(deadline=None)  # a cluster for each example
@given(st.lists(st.tuples(st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]), st.sampled_from("ab")), max_size=12))
def test_a_watcher_knows_what_a_reader_sees(writes: list[tuple[str, str]]) -> None:
    """Whoever lists once and then follows the watch has, after any writes, what a list shows."""
    api = Api()
    watch = api.send("GET", MAPS, watch="true").watch
    assert watch is not None
    for number, (method, name) in enumerate(writes):
        path = MAPS if method == "POST" else f"{MAPS}/{name}"
        body = config_map(name, n=str(number)) if method != "DELETE" else None
        api.send(method, path, body, kind=MERGE if method == "PATCH" else "application/json")

    known: dict = {}
    for event in watch.poll():
        obj = event["object"]
        if event["type"] == "DELETED":
            del known[obj["metadata"]["name"]]
        else:
            assert (event["type"] == "ADDED") is (obj["metadata"]["name"] not in known)
            known[obj["metadata"]["name"]] = obj
    assert [known[name] for name in sorted(known)] == api.ok("GET", MAPS)["items"]
