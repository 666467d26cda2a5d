"""The fake API server on a port, with the clients that people use: aiohttp, kr8s, kopf, kubectl."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from operate.testing.api import FLEETS, MAPS, T0, config_map, crd, deployment, fleet, needs_schemas
from penstock.errors import StartError
from penstock.operate.testing import Cluster, User
from penstock.operate.testing.io.server import ApiServer, running_api_server

WAIT_S = 20.0


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(WAIT_S):
            await work()

    asyncio.run(bounded())


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[ApiServer, aiohttp.ClientSession]]:
    async with (
        ApiServer(Cluster(seed=1), clock=lambda: T0, **options) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        yield server, session


async def ask(request: Any) -> tuple[int, Any]:
    """Status and body of a request's answer."""
    async with request as answer:
        return answer.status, await answer.json(content_type=None)


async def next_event(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The next event of a watch that is no bookmark."""
    while True:
        line = await answer.content.readline()
        event: dict[str, Any] = json.loads(line)
        if event["type"] != "BOOKMARK":
            return event


def test_objects_are_served_over_http() -> None:
    async def work() -> None:
        async with serving() as (server, session):
            assert (await ask(session.post(MAPS, json=config_map())))[0] == 201
            _, listed = await ask(session.get(MAPS))
            assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
            code, refused = await ask(session.post(MAPS, json=config_map()))
            assert (code, refused["reason"]) == (409, "AlreadyExists")
            assert [request.code for request in server.requests] == [201, 200, 409]

    run(work)


def test_a_watch_streams_events_as_they_come() -> None:
    async def work() -> None:
        async with serving() as (_, session):
            watch = await session.get(MAPS, params={"watch": "true"})
            for name in ("a", "b"):
                await ask(session.post(MAPS, json=config_map(name)))
                assert (await next_event(watch))["object"]["metadata"]["name"] == name
            watch.close()

    run(work)


def test_a_watch_ends_after_its_time() -> None:
    async def work() -> None:
        async with serving() as (_, session):
            watch = await session.get(MAPS, params={"watch": "true", "timeoutSeconds": "1"})
            assert await watch.read() == b""

    run(work)


def test_watches_can_be_dropped_and_history_compacted() -> None:
    async def work() -> None:
        async with serving() as (server, session):
            watch = await session.get(MAPS, params={"watch": "true"})
            server.drop_watches()
            assert await watch.read() == b""

            await ask(session.post(MAPS, json=config_map()))
            server.compact()
            code, gone = await ask(session.get(MAPS, params={"watch": "true", "resourceVersion": "1"}))
            assert (code, gone["reason"]) == (410, "Expired")

    run(work)


def test_the_next_requests_fail_as_a_test_wants() -> None:
    async def work() -> None:
        async with serving() as (server, session):
            server.faults.fail(1, code=500)
            server.faults.fail(1, code=429, retry_after_s=3)
            assert (await ask(session.get(MAPS)))[0] == 500
            async with session.get(MAPS) as busy:
                assert (busy.status, busy.headers["Retry-After"]) == (429, "3")
            assert (await ask(session.get(MAPS)))[0] == 200

            server.faults.reset(1, method="POST")
            with pytest.raises(aiohttp.ClientError):
                await session.post(MAPS, json=config_map())
            assert server.cluster.get("v1", "ConfigMap", "a") is None
            assert server.requests[-1].code == 0

    run(work)


def test_a_held_request_waits_until_it_is_released() -> None:
    async def work() -> None:
        async with serving() as (server, session):
            server.faults.hold(1, method="POST")
            async with asyncio.TaskGroup() as tasks:
                held = tasks.create_task(ask(session.post(MAPS, json=config_map("held"))))
                while not server.faults.held:  # noqa: ASYNC110 — nothing tells of a request that came
                    await asyncio.sleep(0)
                assert (await ask(session.post(MAPS, json=config_map("other"))))[0] == 201
                assert server.cluster.get("v1", "ConfigMap", "held") is None
                server.faults.release()
                assert (await held)[0] == 201

    run(work)


def test_tokens_are_asked_for() -> None:
    async def work() -> None:
        tokens = {"t": User(name="root", groups=("system:masters",))}
        async with serving(tokens=tokens) as (_, session):
            assert (await ask(session.get(MAPS)))[0] == 403
            assert (await ask(session.get(MAPS, headers={"Authorization": "Bearer wrong"})))[0] == 401
            assert (await ask(session.get(MAPS, headers={"Authorization": "Bearer t"})))[0] == 200

    run(work)


def test_a_taken_port_is_a_start_error() -> None:
    async def work() -> None:
        async with serving() as (server, _):
            with pytest.raises(StartError, match="cannot listen"):
                async with ApiServer(Cluster(), port=server.port):
                    pass

    run(work)


def test_another_thread_steps_the_cluster_between_requests() -> None:
    cluster = Cluster(seed=1)
    with running_api_server(cluster) as server:
        server.run(lambda: cluster.apply(deployment(replicas=1), now=T0))
        assert server.run(lambda: cluster.step(T0))
        assert len(server.run(lambda: cluster.list("v1", "Pod"))) == 1
        with pytest.raises(ZeroDivisionError):
            server.run(lambda: 1 / 0)


def test_kr8s_reads_writes_and_watches(tmp_path: Path) -> None:
    import kr8s
    from kr8s.asyncio.objects import ConfigMap

    async def work() -> None:
        async with serving() as (server, _):
            config = server.kubeconfig(tmp_path / "config")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # kr8s warns of Kubernetes versions newer than itself
                api = await kr8s.asyncio.api(kubeconfig=str(config))
                found = await ConfigMap(config_map(), api=api)
                await found.create()
                events = []
                async for kind, obj in api.watch("configmaps"):
                    events.append((kind, obj.name))
                    if kind == "ADDED":
                        await found.patch({"data": {"more": "1"}})
                    elif kind == "MODIFIED":
                        await found.delete()
                    else:
                        break
                assert events == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
                assert not await found.exists()
                await api._session.aclose()  # kr8s keeps its client for the life of the process

    run(work)


def test_a_kopf_operator_reconciles() -> None:
    import kopf

    registry = kopf.OperatorRegistry()
    seen: list[str] = []

    async def work() -> None:
        async with serving() as (server, session):
            server.cluster.create(crd(), now=T0)

            @kopf.on.login(registry=registry)
            def login(**_: object) -> kopf.ConnectionInfo:
                return kopf.ConnectionInfo(server=server.url)

            @kopf.on.create("penstock.dev", "v1", "fleets", registry=registry)
            async def reconcile(patch: kopf.Patch, spec: kopf.Spec, **_: object) -> None:
                patch.status["replicas"] = spec["replicas"]

            @kopf.on.delete("penstock.dev", "v1", "fleets", registry=registry)
            async def forget(name: str, **_: object) -> None:
                seen.append(name)

            settings = kopf.OperatorSettings()
            settings.posting.enabled = False
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(
                    kopf.operator(
                        registry=registry, settings=settings, clusterwide=True, standalone=True, stop_flag=stop
                    )
                )
                watch = await session.get(FLEETS, params={"watch": "true"})
                await ask(session.post(FLEETS, json=fleet()))
                while (event := await next_event(watch))["object"].get("status", {}).get("replicas") != 2:
                    pass
                assert event["object"]["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
                await ask(session.delete(f"{FLEETS}/a"))
                while (await next_event(watch))["type"] != "DELETED":
                    pass
                watch.close()
                stop.set()
            assert seen == ["a"]

    run(work)


Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kubectl(tmp_path: Path) -> Iterator[tuple[ApiServer, Kubectl]]:
    """A running server, and `kubectl` that talks to it."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed")
    with running_api_server(Cluster(seed=1)) as server:
        config = server.kubeconfig(tmp_path / "config")

        def call(*words: str, body: object = None, code: int = 0) -> subprocess.CompletedProcess[str]:
            command = [program, "--kubeconfig", str(config), "--cache-dir", str(tmp_path / "cache"), *words]
            text = None if body is None else json.dumps(body)
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == code, done.stdout + done.stderr
            return done

        yield server, call


@needs_schemas
def test_kubectl_applies_scales_and_is_told_of_conflicts(kubectl: tuple[ApiServer, Kubectl]) -> None:
    _, call = kubectl

    assert call("apply", "--server-side", "-f", "-", body=deployment()).stdout == (
        "deployment.apps/web serverside-applied\n"
    )
    call("scale", "deployment/web", "--replicas=5")
    refused = call("apply", "--server-side", "-f", "-", body=deployment(), code=1).stderr
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused
    call("apply", "--server-side", "--force-conflicts", "-f", "-", body=deployment())
    call("patch", "deployment", "web", "-p", '{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":60}}}}')

    live = json.loads(call("get", "deployment", "web", "-o", "json").stdout)
    assert (live["spec"]["replicas"], live["metadata"]["generation"]) == (2, 4)
    assert "READY" in call("get", "deployments").stdout
    assert call("diff", "--server-side", "-f", "-", body=deployment()).stdout == ""
    call("delete", "deployment", "web")


@needs_schemas
def test_kubectl_applies_on_the_clients_side_and_prunes_its_fields(kubectl: tuple[ApiServer, Kubectl]) -> None:
    _, call = kubectl

    call("apply", "-f", "-", body=config_map("a", one="1"))
    assert call("apply", "-f", "-", body=config_map("a", one="1")).stdout == "configmap/a unchanged\n"
    call("apply", "-f", "-", body=config_map("a", two="2"))

    assert json.loads(call("get", "cm", "a", "-o", "json").stdout)["data"] == {"two": "2"}
    assert call("create", "configmap", "b", "--from-literal=k=v").stdout == "configmap/b created\n"
    assert call("auth", "can-i", "create", "pods").stdout == "yes\n"


@needs_schemas
def test_kubectl_knows_custom_resources(kubectl: tuple[ApiServer, Kubectl]) -> None:
    server, call = kubectl

    call("apply", "-f", "-", body=crd())
    call("wait", "--for=condition=Established", "crd/fleets.penstock.dev", "--timeout=10s")
    call("apply", "-f", "-", body=fleet())
    server.run(lambda: server.cluster.update(_with_status(server.cluster), subresource="status"))

    heading, row = (line.split() for line in call("get", "fl").stdout.splitlines())
    assert heading == ["NAME", "READY", "AGE"]
    assert row[:2] == ["a", "2/2"]
    assert row[2].endswith("s")  # it is some seconds old
    assert 'unknown field "spec.typo"' in call("apply", "-f", "-", body=fleet("b", typo=1), code=1).stderr
    assert "<integer>" in call("explain", "fleet.spec.replicas").stdout
    call("delete", "fleet", "a")


def _with_status(cluster: Cluster) -> dict[str, Any]:
    found = cluster.get("penstock.dev/v1", "Fleet", "a")
    assert found is not None
    return found | {"status": {"ready": "2/2"}}


@needs_schemas
def test_kubectl_follows_a_rollout_and_drains_a_node(kubectl: tuple[ApiServer, Kubectl]) -> None:
    server, call = kubectl
    cluster = server.cluster
    for name in ("n1", "n2"):
        status = {"capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}
        server.run(lambda node=node: cluster.create(node, now=T0))
    call("apply", "-f", "-", body=deployment(replicas=2))

    now = 4_000_000_000.0  # later than the machine's clock, which the server's own times come from

    def step(seconds: float) -> None:
        server.run(lambda: cluster.step(now + seconds))

    step(0)
    assert "Waiting for deployment" in call("rollout", "status", "deployment/web", "--watch=false").stdout
    step(10)
    assert "successfully rolled out" in call("rollout", "status", "deployment/web", "--timeout=10s").stdout

    call("cordon", "n1")
    assert "SchedulingDisabled" in call("get", "nodes").stdout
    (pod,) = [each for each in server.run(lambda: cluster.list("v1", "Pod")) if each["spec"]["nodeName"] == "n1"]
    call("drain", "n1", "--ignore-daemonsets", "--force", "--timeout=1s", code=1)  # the pod ends in the next step
    marked = server.run(lambda: cluster.get("v1", "Pod", pod["metadata"]["name"]))
    assert marked is not None
    assert marked["metadata"]["deletionTimestamp"]
