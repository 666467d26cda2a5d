"""`penstock gateway` in a cluster: the real process, a fake API server, real engines that come and go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from cli.fleet_command import KEY, PATIENCE_S, Command, ended, running
from fakes.engine import FakeEngine, serving
from penstock.cli.discovering import choose_access
from penstock.cli.rendering import load_sites
from penstock.errors import UsageError
from penstock.operate.testing import Cluster
from penstock.operate.testing.io import running_api_server
from penstock.plan.manifests.render import render
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: demo, namespace: llm}\nspec:\n"
FLEET = f"{HEAD}  models: [{{name: chat}}]\n  gateway: {{tenants: [{{name: a, keys: [{{value: {KEY}}}]}}]}}\n"


def slice_of(engines: dict[str, FakeEngine], **conditions: bool) -> dict[str, Any]:
    """One slice with the engines' pods. All of them have one port in a cluster; here each slice has one engine."""
    ((pod, engine),) = engines.items()
    host, _, port = engine.origin.removeprefix("http://").rpartition(":")
    labels = {
        "kubernetes.io/service-name": "demo-chat",
        "penstock.dev/fleet": "demo",
        "penstock.dev/model": "demo-chat",
    }
    target = {"kind": "Pod", "name": pod, "namespace": "llm"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"slice-{pod}", "namespace": "llm", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": int(port), "protocol": "TCP"}],
        "endpoints": [{"addresses": [host], "targetRef": target, "conditions": {"ready": True, **conditions}}],
    }


def new_cluster() -> Cluster:
    cluster = Cluster()
    if cluster.get("v1", "Namespace", "llm", "") is None:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm"}})
    return cluster


def until(holds: Callable[[], bool]) -> None:
    """Asks another process, within bounds, until it knows: each question takes a round trip."""
    ends_at = monotonic() + PATIENCE_S
    while not holds():
        assert monotonic() < ends_at, "it never came to be"


def readiness(gateway: Command) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{gateway.announced['admin']}/readyz", timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)["reason"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)["reason"]


def endpoints(gateway: Command) -> dict[str, str]:
    """Health by pod."""
    (model,) = gateway.state()["models"]
    return {entry["id"]: entry["health"] for entry in model["endpoints"]}


def metrics(gateway: Command) -> str:
    with urllib.request.urlopen(f"http://{gateway.announced['admin']}/metrics", timeout=PATIENCE_S) as answer:
        text: str = answer.read().decode()
        return text


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    (tmp_path / "fleet.yaml").write_text(FLEET, encoding="utf-8")
    return tmp_path / "fleet.yaml"


def test_engines_are_used_as_the_cluster_tells_them_also_while_it_is_away(fleet: Path) -> None:
    cluster = new_cluster()
    with (
        serving(FakeEngine(models=["chat"])) as one,
        serving(FakeEngine(models=["chat"])) as two,
        running_api_server(cluster) as server,
        running("gateway", fleet, "--discover", server.url) as gateway,
    ):
        until(lambda: readiness(gateway) == (200, ""))  # ready without any engine: requests wait for one
        with ThreadPoolExecutor() as clients:
            early = clients.submit(gateway.ask)
            until(lambda: gateway.state()["models"][0]["in_flight"] == 1)
            cluster.create(slice_of({"chat-one": one}))
            assert early.result() == " word" * 16
        assert endpoints(gateway) == {"chat-one": "ready"}
        cluster.create(slice_of({"chat-two": two}))
        cluster.update(_ending(cluster, slice_of({"chat-one": one}, ready=False, serving=True, terminating=True)))
        until(lambda: endpoints(gateway) == {"chat-one": "draining", "chat-two": "ready"})
        assert gateway.ask() == " word" * 16
        assert "penstock_discovery_connected 1.0" in metrics(gateway)
        server.drop_watches()
        cluster.delete("discovery.k8s.io/v1", "EndpointSlice", "slice-chat-one", "llm")
        until(lambda: endpoints(gateway) == {"chat-two": "ready"})
        _away(server)
        until(lambda: gateway.state()["gateway"]["discovery"]["is_connected"] is False)
        assert gateway.ask() == " word" * 16
        assert readiness(gateway) == (200, "")
        assert any("last known" in problem["message"] for problem in gateway.state()["problems"])
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end() == 0


def _away(server: Any) -> None:
    """Refuses everything from now on, and ends what runs."""
    server.faults.reset(100_000)
    server.drop_watches()


def _ending(cluster: Cluster, body: dict[str, Any]) -> dict[str, Any]:
    known = cluster.get("discovery.k8s.io/v1", "EndpointSlice", body["metadata"]["name"], "llm")
    assert known is not None
    return {**known, "endpoints": body["endpoints"]}


def test_until_the_cluster_has_told_once_it_is_not_ready_and_says_why(fleet: Path) -> None:
    with running_api_server(new_cluster()) as server:
        server.faults.fail(100_000, code=403)
        with running("gateway", fleet, "--discover", server.url) as gateway:
            until(lambda: "Role" in readiness(gateway)[1])
            assert readiness(gateway)[0] == 503


def test_a_model_that_a_changed_file_brings_gets_its_endpoints_at_once(fleet: Path) -> None:
    cluster = new_cluster()
    with serving(FakeEngine(models=["chat"])) as engine, running_api_server(cluster) as server:
        cluster.create(slice_of({"chat-one": engine}))
        fleet.write_text(FLEET.replace("name: chat", "name: other"), encoding="utf-8")
        with running("gateway", fleet, "--discover", server.url) as gateway:
            until(lambda: readiness(gateway)[0] == 200)
            draft = fleet.with_suffix(".draft")
            draft.write_text(FLEET, encoding="utf-8")
            draft.replace(fleet)
            until(lambda: gateway.state()["models"][0]["name"] == "chat")
            assert list(endpoints(gateway)) == ["chat-one"]


def test_keys_are_read_from_mounted_secrets_and_a_new_one_holds_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets" / "keys").mkdir(parents=True)
    mounted = tmp_path / "secrets" / "keys" / "acme"
    mounted.write_text("another-key-1\n")
    monkeypatch.setenv("PENSTOCK_SECRETS_DIR", str(tmp_path / "secrets"))
    with serving(FakeEngine(models=["chat"])) as engine:
        models = f"  models: [{{name: chat, endpoints: ['{engine.origin}']}}]\n"
        tenants = "  gateway: {tenants: [{name: a, keys: [{valueFrom: {secretKeyRef: {name: keys, key: acme}}}]}]}\n"
        (tmp_path / "fleet.yaml").write_text(HEAD + models + tenants, encoding="utf-8")
        with running("gateway", tmp_path / "fleet.yaml", "--discover", "off") as gateway:
            assert gateway.ask() == "401"
            draft = mounted.with_suffix(".draft")
            draft.write_text(KEY)
            draft.replace(mounted)
            until(lambda: gateway.ask() == " word" * 16)


def test_the_rendered_command_line_is_one_that_the_gateway_takes(fleet: Path) -> None:
    """Out of a cluster it goes as far as to miss the service account's token."""
    (site,) = load_sites(str(_kept_in_a_secret(fleet)))
    (deployment,) = [m.object for m in render(site).manifests if m.kind == "Deployment" and m.name == "demo-gateway"]
    name, _, *options = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    command = [sys.executable, "-m", "penstock", name, str(fleet), *options]
    outside = {name: value for name, value in os.environ.items() if name != "KUBERNETES_SERVICE_HOST"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=outside)

    assert result.returncode == 2
    assert "--discover kubernetes: this is no pod" in result.stderr


def _kept_in_a_secret(fleet: Path) -> Path:
    """The same fleet as one that may be rendered."""
    text = FLEET.replace(f"value: {KEY}", "valueFrom: {secretKeyRef: {name: keys, key: acme}}")
    other = fleet.with_name("rendered.yaml")
    other.write_text(text.replace("name: chat", "name: chat, source: Qwen/Qwen3-8B"), encoding="utf-8")
    return other


def test_outside_of_a_cluster_it_is_said_that_there_is_none(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = ended("gateway", fleet, "--discover", "kubernetes")

    assert result.returncode == 2
    assert "no pod of a cluster" in result.stderr


def test_what_discover_means() -> None:
    file = load_fleet(FLEET, "fleet.yaml")

    assert choose_access("off", {}, file) is None
    assert choose_access("auto", {}, file) is None
    proxied = choose_access("http://127.0.0.1:8001/", {}, file)
    assert proxied is not None
    assert (proxied.url, proxied.namespace, proxied.token_file) == ("http://127.0.0.1:8001", "llm", None)


@pytest.mark.parametrize("choice", ["kubernets", "", "http://", "ftp://a"])
def test_a_source_that_is_none_is_refused(choice: str) -> None:
    with pytest.raises(UsageError, match="--discover"):
        choose_access(choice, {}, load_fleet(FLEET, "fleet.yaml"))
