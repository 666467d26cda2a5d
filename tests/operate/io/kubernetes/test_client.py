"""The client speaks to an API server that fails, expires, restarts and forgets."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from operate.io.kubernetes.clusters import ADMIN, FAST, config, deployment, namespace, run, serving, writes
from penstock.errors import UsageError
from penstock.operate.apply.failures import Busy, Denied, FieldConflict, Invalid, KindAbsent, Stale, Unreachable
from penstock.operate.apply.objects import Ref, ref_of
from penstock.operate.apply.port import Event
from penstock.operate.io.kubernetes.client import Client, open_client
from penstock.operate.testing import Cluster, User

SETTINGS = Ref(api_version="v1", kind="ConfigMap", name="settings", namespace="llm")


def with_namespace() -> Cluster:
    cluster = Cluster(seed=1)
    cluster.create(namespace())
    return cluster


def test_an_object_is_applied_read_and_deleted() -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (server, client):
            assert (client.context, client.url, client.namespace) == ("fake", server.url, "llm")

            first = await client.apply(config())
            again = await client.apply(config(value="2"))
            found = await client.get(SETTINGS)

            assert (first.is_new, again.is_new) == (True, False)
            assert found is not None
            assert found["data"] == {"value": "2"}
            assert found["metadata"]["managedFields"][0]["manager"] == "penstock"
            assert await client.delete(SETTINGS, uid=found["metadata"]["uid"])
            assert await client.get(SETTINGS) is None
            assert not await client.delete(SETTINGS, uid=found["metadata"]["uid"])

    run(work)


def test_an_object_that_was_made_anew_is_not_deleted_for_the_old_one() -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (_, client):
            await client.apply(config())

            assert not await client.delete(SETTINGS, uid="the-one-before")
            assert await client.get(SETTINGS) is not None

    run(work)


def test_a_dry_run_writes_nothing() -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (server, client):
            found = await client.apply(config(), is_dry_run=True)

            assert found.object["data"] == {"value": "1"}
            assert writes(server) == []
            assert await client.get(SETTINGS) is None

    run(work)


def test_lists_come_page_by_page_and_items_say_their_kind() -> None:
    async def work() -> None:
        cluster = with_namespace()
        for number in range(1203):
            cluster.create(config(f"c{number:04}"))
        async with serving(cluster) as (server, client):
            found = await client.list("v1", "ConfigMap", namespace="llm", labels={"penstock.dev/fleet": "demo"})

            assert len(found.items) == 1203
            assert {(item["kind"], item["apiVersion"]) for item in found.items} == {("ConfigMap", "v1")}
            assert sum(r.path.endswith("/configmaps") for r in server.requests) == 3

    run(work)


@pytest.mark.parametrize("code", [429, 500, 503])
def test_what_passes_is_tried_again(code: int) -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (server, client):
            server.faults.fail(3, code=code)

            assert (await client.apply(config())).is_new

    run(work)


def test_broken_connections_are_tried_again_and_in_the_end_told() -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (server, client):
            server.faults.reset(3)
            assert (await client.apply(config())).is_new

            server.faults.reset(50)
            with pytest.raises(Busy, match="broke off while it was asked to get ConfigMap llm/settings"):
                await client.get(SETTINGS)
            server.faults.clear()

    run(work)


def test_tries_are_bounded() -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (server, client):
            await client.resource("v1", "ConfigMap")
            before = len(server.requests)
            server.faults.fail(50, code=503)

            with pytest.raises(Busy, match="503"):
                await client.get(SETTINGS)
            assert len(server.requests) - before == FAST.tries

    run(work)


def test_a_conflict_names_the_other_manager_and_its_fields() -> None:
    async def work() -> None:
        cluster = with_namespace()
        cluster.apply(config(value="theirs"), manager="kubectl-client-side-apply")
        async with serving(cluster) as (_, client):
            with pytest.raises(FieldConflict) as caught:
                await client.apply(config(value="ours"))

            assert [(c.manager, c.field) for c in caught.value.causes] == [("kubectl-client-side-apply", ".data.value")]
            assert "kubectl-client-side-apply" in caught.value.message
            assert "--force-conflicts" in (caught.value.hint or "")
            assert not (await client.apply(config(value="ours"), is_forced=True)).is_new

    run(work)


def test_an_unknown_field_and_a_wrong_value_are_refused_by_name() -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (_, client):
            wrong = deployment()
            wrong["spec"]["replica"] = 3
            with pytest.raises(Invalid, match="replica"):
                await client.apply(wrong)

    run(work)


def test_a_kind_that_nobody_installed_says_what_brings_it() -> None:
    async def work() -> None:
        async with serving() as (_, client):
            with pytest.raises(KindAbsent, match="no kind ScaledObject") as caught:
                await client.resource("keda.sh/v1alpha1", "ScaledObject")
            assert "KEDA" in (caught.value.hint or "")

    run(work)


def test_what_we_may_not_is_told_with_the_way_to_check() -> None:
    async def work() -> None:
        tokens = {"t": User(name="ann")}
        async with serving(with_namespace(), token="t", tokens=tokens) as (_, client):
            with pytest.raises(Denied) as caught:
                await client.apply(config())

            assert "'ann' may not patch configmaps in namespace llm" in caught.value.message
            assert "kubectl auth can-i patch configmaps -n llm" in (caught.value.hint or "")

    run(work)


def test_an_expired_token_is_read_anew_once_and_then_told(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(with_namespace(), token="old", tokens={"old": ADMIN}) as (server, _):
            path = server.kubeconfig(tmp_path / "config", "llm", token="old")
            async with open_client(kubeconfig=str(path), patience=FAST) as client:
                server.cluster.access.tokens = {"new": ADMIN}
                server.kubeconfig(path, "llm", token="new")  # as a login or an exec plugin gives another
                assert await client.get(SETTINGS) is None

                server.cluster.access.tokens = {}
                with pytest.raises(Denied, match="does not know who we are"):
                    await client.get(SETTINGS)

    run(work)


async def heard(client: Client, since: str, count: int) -> list[tuple[str, str]]:
    """The next events: type and value."""
    found: list[tuple[str, str]] = []
    changes = client.watch("v1", "ConfigMap", namespace="llm", since=since)
    async with aclosing(changes) as events:  # type: ignore[type-var]
        async for event in events:
            assert isinstance(event, Event)
            assert event.object["kind"] == "ConfigMap"
            found.append((event.type, event.object["data"]["value"]))
            if len(found) == count:
                break
    return found


def test_a_watch_goes_on_where_it_broke_and_misses_nothing() -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (server, client):
            since = (await client.list("v1", "ConfigMap", namespace="llm")).resource_version
            async with asyncio.TaskGroup() as group:
                task = group.create_task(heard(client, since, 4))
                await client.apply(config(value="1"))
                server.drop_watches()
                await client.apply(config(value="2"))
                server.faults.reset(2, method="GET", path="/configmaps")
                server.faults.fail(1, code=500, method="GET", path="/configmaps")
                server.drop_watches()
                await client.apply(config(value="3"))
                server.cluster.delete("v1", "ConfigMap", "settings", "llm")

            assert task.result() == [("ADDED", "1"), ("MODIFIED", "2"), ("MODIFIED", "3"), ("DELETED", "3")]

    run(work)


def test_a_watch_whose_place_is_forgotten_says_so() -> None:
    async def work() -> None:
        async with serving(with_namespace()) as (server, client):
            await client.apply(config())
            await client.apply(config(value="2"))
            server.compact()

            with pytest.raises(Stale):
                await heard(client, "1", 1)

    run(work)


def test_nobody_there_is_told_with_the_address(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving() as (server, _):
            path = server.kubeconfig(tmp_path / "config")
        with pytest.raises(Unreachable, match=r"cannot be reached at http://127\.0\.0\.1"):
            async with open_client(kubeconfig=str(path), patience=FAST):
                pass

    run(work)


@pytest.mark.parametrize(
    ("text", "context", "words"),
    [
        ("{}", None, "cannot be used"),
        ("a: [", None, "cannot be used"),
        (None, None, "names none, and this is no pod"),
        ("good", "other", "no context 'other'"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_a_mistake_with_words(
    tmp_path: Path, text: str | None, context: str | None, words: str
) -> None:
    async def work() -> None:
        path = tmp_path / "config"
        if text == "good":
            async with serving() as (server, _):
                server.kubeconfig(path)
        elif text is not None:
            path.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=words):
            async with open_client(kubeconfig=str(path), context=context, patience=FAST):
                pass

    run(work)


def test_a_plugin_gives_the_token_and_one_that_fails_is_named(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(with_namespace(), token="t", tokens={"t": ADMIN}) as (server, _):
            plugin = tmp_path / "plugin"
            answer = '{"kind":"ExecCredential","status":{"token":"t"}}'
            plugin.write_text(f"#!/bin/sh\necho '{answer}'\n", encoding="utf-8")
            plugin.chmod(0o700)
            path = server.kubeconfig(tmp_path / "config", "llm")
            run_it = f'"exec": {{"apiVersion": "client.authentication.k8s.io/v1", "command": "{plugin}"}}'
            path.write_text(path.read_text(encoding="utf-8").replace('"token": "t"', run_it), encoding="utf-8")
            async with open_client(kubeconfig=str(path), patience=FAST) as client:
                assert (await client.apply(config())).is_new

            plugin.write_text("#!/bin/sh\necho no luck >&2\nexit 3\n", encoding="utf-8")
            with pytest.raises(UsageError, match=r"credential plugin failed(.|\n)*no luck"):
                async with open_client(kubeconfig=str(path), patience=FAST):
                    pass

    run(work)


def test_the_status_alone_is_applied_to_the_status() -> None:
    async def work() -> None:
        cluster = with_namespace()
        async with serving(cluster) as (_, client):
            await client.apply(deployment())
            status = {"replicas": 2, "conditions": [{"type": "Progressing", "status": "True"}]}
            bare = {**deployment(), "status": status, "metadata": {"name": "chat", "namespace": "llm"}}
            del bare["spec"]

            await client.apply_status(bare)

            found = await client.get(ref_of(deployment()))
            assert found is not None
            assert found["status"]["replicas"] == 2
            assert found["spec"]["replicas"] == 2

    run(work)
