"""A fake cluster on a port, a small fleet's file, and commands that are run against them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.operate.testing import Cluster, Logged
from penstock.operate.testing.io.server import ApiServer, running_api_server

T0 = 1_767_225_600.0
FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: demo, namespace: llm}
spec:
  models:
    - {name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, replicas: REPLICAS, storage: {mode: none}}
  gateway: {auth: {anonymous: true}}
  kubernetes: {networkPolicies: NETWORK}
"""
ARGS = ("--no-wait", "--output", "json")


class Command:
    """A fleet's file beside a cluster."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.cluster = server.cluster
        self.folder = folder

    def file(self, *, replicas: int = 2, network: bool = True, text: str = FLEET) -> str:
        path = self.folder / "fleet.yaml"
        said = text.replace("REPLICAS", str(replicas)).replace("NETWORK", str(network).lower())
        path.write_text(said, encoding="utf-8")
        return str(path)

    def writes(self) -> list[Logged]:
        return [r for r in self.server.requests if r.is_write and r.query.get("dryRun") != "All" and r.code < 400]


@contextlib.contextmanager
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    with running_api_server(Cluster(seed=1), clock=lambda: T0) as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))
        monkeypatch.setenv("COLUMNS", "200")
        yield Command(server, tmp_path)


def penstock(*args: str) -> int:
    return main(list(args))
