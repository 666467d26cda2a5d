"""Following a cluster through everything that an API server does: on real sockets, against the fake one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fakes.upstream import eventually
from penstock.errors import UsageError
from penstock.operate.testing import Cluster, User
from penstock.operate.testing.io import ApiServer
from penstock.plan.manifests.access import render_access
from penstock.serve.io import discovery as module
from penstock.serve.io.discovery import ClusterAccess, Discovery, in_cluster
from plan.manifests.sites import site_from

PATH = "/apis/discovery.k8s.io/v1/namespaces/llm/endpointslices"


def slice_of(
    name: str, *pods: str, model: str = "demo-chat", fleet: str = "demo", **conditions: bool
) -> dict[str, Any]:
    endpoints = [
        {
            "addresses": [f"10.0.0.{ord(pod[-1])}"],
            "targetRef": {"kind": "Pod", "name": pod, "namespace": "llm"},
            "conditions": {"ready": True},
        }
        for pod in pods
    ]
    labels = {"kubernetes.io/service-name": model, "penstock.dev/fleet": fleet, "penstock.dev/model": model}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "llm", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


def new_cluster(*slices: dict[str, Any]) -> Cluster:
    cluster = Cluster()
    if cluster.get("v1", "Namespace", "llm", "") is None:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm"}})
    for body in slices:
        cluster.create(body)
    return cluster


class Followed:
    """A discovery that runs, and what it has told."""

    def __init__(self, url: str, **access: Any) -> None:
        self.changes: list[set[str]] = []
        where = ClusterAccess(url=url, namespace="llm", **access)
        self.discovery = Discovery(where, "demo", self.changes.append, random=Random(1), pause_max_s=0.05)

    @property
    def pods(self) -> list[str]:
        return [address.id for address in self.discovery.slices.addresses("demo-chat")]

    async def until(self, holds: Callable[[], bool]) -> None:
        await eventually(holds)


@asynccontextmanager
async def following(url: str, **access: Any) -> AsyncIterator[Followed]:
    followed = Followed(url, **access)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(followed.discovery.run())
        try:
            yield followed
        finally:
            running.cancel()


def test_pods_come_and_go_as_the_cluster_says() -> None:
    async def main() -> None:
        cluster = new_cluster(slice_of("s", "chat-a"), slice_of("other", "x-a", fleet="another"))
        async with ApiServer(cluster) as server, following(server.url) as followed:
            await followed.until(lambda: followed.pods == ["chat-a"])
            cluster.update(_changed(cluster, "s", "chat-a", "chat-b"))
            await followed.until(lambda: followed.pods == ["chat-a", "chat-b"])
            cluster.delete("discovery.k8s.io/v1", "EndpointSlice", "s", "llm")
            await followed.until(lambda: followed.pods == [])
            assert followed.discovery.state.is_synced
            assert followed.discovery.state.lists_total == 1
            assert all(change <= {"demo-chat"} for change in followed.changes)

    asyncio.run(main())


def _changed(cluster: Cluster, name: str, *pods: str) -> dict[str, Any]:
    known = cluster.get("discovery.k8s.io/v1", "EndpointSlice", name, "llm")
    assert known is not None
    return {**known, "endpoints": slice_of(name, *pods)["endpoints"]}


def test_only_slices_of_its_own_fleet_are_asked_for() -> None:
    async def main() -> None:
        cluster = new_cluster(slice_of("s", "chat-a"))
        async with ApiServer(cluster) as server, following(server.url) as followed:
            await followed.until(lambda: followed.discovery.state.is_connected)
            asked = [entry for entry in server.requests if entry.path == PATH]
            assert {entry.query["labelSelector"] for entry in asked} == {"penstock.dev/fleet=demo,penstock.dev/model"}
            assert {entry.method for entry in asked} == {"GET"}

    asyncio.run(main())


def test_while_the_api_server_is_away_the_last_known_endpoints_stay() -> None:
    async def main() -> None:
        cluster = new_cluster(slice_of("s", "chat-a"))
        async with ApiServer(cluster) as server:
            port = server.port
            async with following(server.url) as followed:
                await followed.until(lambda: followed.pods == ["chat-a"])
                await server.__aexit__(None, None, None)
                await followed.until(lambda: followed.discovery.state.failures_total > 2)
                assert followed.pods == ["chat-a"]
                state = followed.discovery.state
                assert (state.is_synced, state.is_connected) == (True, False)
                assert state.error
                cluster.update(_changed(cluster, "s", "chat-b"))
                async with ApiServer(cluster, port=port):
                    await followed.until(lambda: followed.pods == ["chat-b"])
                    assert followed.discovery.state.lists_total == 1  # it went on where it had been
                await server.__aenter__()

    asyncio.run(main())


def test_what_was_missed_for_too_long_is_listed_anew() -> None:
    async def main() -> None:
        cluster = new_cluster(slice_of("s", "chat-a"), slice_of("t", "chat-t"))
        async with ApiServer(cluster) as server, following(server.url) as followed:
            await followed.until(lambda: followed.pods == ["chat-a", "chat-t"])
            cluster.update(_changed(cluster, "s", "chat-c"))
            await followed.until(lambda: followed.pods == ["chat-c", "chat-t"])  # so the watch runs
            server.faults.hold(1, path="endpointslices")
            server.drop_watches()
            await followed.until(lambda: bool(server.faults.held))
            cluster.delete("discovery.k8s.io/v1", "EndpointSlice", "t", "llm")
            cluster.update(_changed(cluster, "s", "chat-b"))
            server.compact()
            server.faults.release()
            await followed.until(lambda: followed.pods == ["chat-b"])
            assert followed.discovery.state.lists_total == 2

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["fail", "reset"])
def test_a_start_in_trouble_is_tried_again(fault: str) -> None:
    async def main() -> None:
        cluster = new_cluster(slice_of("s", "chat-a"))
        async with ApiServer(cluster) as server:
            getattr(server.faults, fault)(3)
            async with following(server.url) as followed:
                assert not followed.discovery.state.is_synced
                await followed.until(lambda: followed.pods == ["chat-a"])
                assert followed.discovery.state.failures_total >= 1  # the client tries a closed connection again itself

    asyncio.run(main())


def test_the_role_that_is_rendered_is_enough_and_without_it_that_is_told(tmp_path: Path) -> None:
    """Also: the token is read anew, as the kubelet renews it."""

    async def main() -> None:
        cluster = new_cluster(slice_of("s", "chat-a"))
        token = tmp_path / "token"
        token.write_text("old\n")
        account = User.service_account("llm", "demo-gateway")
        async with (
            ApiServer(cluster, tokens={"new": account}) as server,
            following(server.url, token_file=token) as followed,
        ):
            await followed.until(lambda: "401" in followed.discovery.state.error)
            token.write_text("new\n")
            await followed.until(lambda: "403" in followed.discovery.state.error)
            assert "Role" in followed.discovery.state.error
            assert not followed.discovery.state.is_synced
            for manifest in render_access(site_from(namespace="llm")):
                cluster.create(manifest.object)
            await followed.until(lambda: followed.pods == ["chat-a"])

    asyncio.run(main())


def test_long_lists_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)

    async def main() -> None:
        cluster = new_cluster(*(slice_of(f"s{n}", f"chat-{n}") for n in range(5)))
        async with ApiServer(cluster) as server, following(server.url) as followed:
            await followed.until(lambda: len(followed.pods) == 5)
            assert len([e for e in server.requests if e.path == PATH and "watch" not in e.query]) == 3

    asyncio.run(main())


def test_an_answer_past_the_bound_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_BYTES_MAX", 100)

    async def main() -> None:
        async with ApiServer(new_cluster(slice_of("s", "chat-a"))) as server, following(server.url) as followed:
            await followed.until(lambda: "larger" in followed.discovery.state.error)
            assert followed.pods == []

    asyncio.run(main())


def test_a_pod_knows_its_cluster_by_what_the_kubelet_gives_it(tmp_path: Path) -> None:
    env = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert in_cluster(env, tmp_path) is None
    for name, text in (("token", "t"), ("ca.crt", "c"), ("namespace", "llm\n")):
        (tmp_path / name).write_text(text)

    access = in_cluster(env, tmp_path)
    assert access is not None
    assert (access.url, access.namespace) == ("https://[fd00::1]:6443", "llm")
    assert access.token_file == tmp_path / "token"
    assert in_cluster({}, tmp_path) is None


def test_a_certificate_authority_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("not a certificate")
    access = ClusterAccess(url="https://127.0.0.1:1", namespace="llm", authority_file=tmp_path / "ca.crt")
    with pytest.raises(UsageError, match=r"ca\.crt"):
        Discovery(access, "demo", lambda _: None)
