"""Watches: what a client is told, from when, and when no more."""

from __future__ import annotations

from operate.testing.api import MAPS, MERGE, Api, config_map
from penstock.operate.testing.watches import Watch


def watching(api: Api, path: str = MAPS, **query: str) -> Watch:
    watch = api.send("GET", path, watch="true", **query).watch
    assert watch is not None
    return watch


def told(watch: Watch) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in watch.poll()]


def test_a_watch_without_a_version_begins_with_what_is_there() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map("a"))
    watch = watching(api)

    assert told(watch) == [("ADDED", "a")]
    api.ok("POST", MAPS, config_map("b"))
    assert told(watch) == [("ADDED", "b")]
    assert told(watch) == []


def test_a_watch_from_a_version_tells_what_came_after() -> None:
    api = Api()
    api.ok("POST", MAPS, config_map("a"))
    revision = api.ok("GET", MAPS)["metadata"]["resourceVersion"]
    api.ok("PATCH", f"{MAPS}/a", {"data": {"n": "1"}}, kind=MERGE)
    api.ok("DELETE", f"{MAPS}/a")

    events = watching(api, resourceVersion=revision).poll()

    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(versions)
    assert versions[1] == api.cluster.store.revision
    assert events[1]["object"]["data"] == {"key": "value", "n": "1"}


def test_an_object_that_leaves_the_selector_is_deleted_for_the_watch() -> None:
    api = Api()
    watch = watching(api, labelSelector="tier=x")
    api.ok("POST", MAPS, config_map() | {"metadata": {"name": "a", "labels": {"tier": "x"}}})
    assert told(watch) == [("ADDED", "a")]

    api.ok("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"tier": "y"}}}, kind=MERGE)
    assert told(watch) == [("DELETED", "a")]
    api.ok("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"tier": "x"}}}, kind=MERGE)
    assert told(watch) == [("ADDED", "a")]


def test_a_watch_of_one_object_is_by_name() -> None:
    api = Api()
    watch = watching(api, fieldSelector="metadata.name=b")
    api.ok("POST", MAPS, config_map("a"))
    api.ok("POST", MAPS, config_map("b"))

    assert told(watch) == [("ADDED", "b")]


def test_bookmarks_move_the_version_of_those_that_ask() -> None:
    api = Api()
    watch, plain = watching(api, allowWatchBookmarks="true"), watching(api)
    api.ok(
        "POST", "/api/v1/namespaces/default/secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    )
    assert (told(watch), told(plain)) == ([], [])

    (event,) = watch.bookmark()

    assert event["type"] == "BOOKMARK"
    assert event["object"]["kind"] == "ConfigMap"
    assert event["object"]["metadata"]["resourceVersion"] == str(api.cluster.store.revision)
    assert watch.bookmark() == []
    assert plain.bookmark() == []


def test_a_version_that_was_compacted_is_gone() -> None:
    api = Api()
    revision = api.ok("POST", MAPS, config_map("a"))["metadata"]["resourceVersion"]
    api.ok("POST", MAPS, config_map("b"))
    api.cluster.compact()

    refused = api.refused("GET", MAPS, watch="true", resourceVersion=revision)

    assert (refused["code"], refused["reason"]) == (410, "Expired")
    assert refused["message"].startswith("too old resource version: ")


def test_a_running_watch_that_fell_behind_gets_410_in_its_stream() -> None:
    api = Api()
    watch = watching(api)
    api.ok("POST", MAPS, config_map("a"))
    api.cluster.compact()

    (event,) = watch.poll()

    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410
    assert event["object"]["reason"] == "Expired"
    assert watch.is_ended
    assert watch.poll() == []


def test_a_watch_that_read_on_outlives_a_compaction() -> None:
    api = Api()
    watch = watching(api)
    api.ok("POST", MAPS, config_map("a"))
    assert told(watch) == [("ADDED", "a")]
    api.cluster.compact()
    api.ok("POST", MAPS, config_map("b"))

    assert told(watch) == [("ADDED", "b")]


def test_a_watch_can_be_expired() -> None:
    (event,) = watching(Api()).expire()

    assert event["object"]["code"] == 410
