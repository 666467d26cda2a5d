"""From a file on disk to sites."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.rendering import load_sites
from penstock.errors import SpecError, UsageError

FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: demo}
spec:
  models: [{name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}]
"""
OPEN = "  gateway: {auth: {anonymous: true}}\n"


def _file(tmp_path: Path, text: str) -> str:
    (tmp_path / "fleet.yaml").write_text(text, encoding="utf-8")
    return str(tmp_path / "fleet.yaml")


def test_a_fleet_without_clusters_is_one_site(tmp_path: Path) -> None:
    sites = load_sites(_file(tmp_path, FLEET + OPEN), namespace="llm")

    assert [(site.cluster, site.namespace, list(site.needs)) for site in sites] == [(None, "llm", ["chat"])]


def test_every_refusal_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = FLEET.replace("gpu: H100", "gpu: L4, count: 1").replace("Qwen3-8B", "Qwen3-32B")
    with pytest.raises(SpecError) as raised:
        load_sites(_file(tmp_path, text + "  gateway: {accessLog: /a.log}\n"))

    fields = [problem.field for problem in raised.value.problems]
    assert fields[0].startswith("spec.models[0]")
    assert fields[1:] == ["spec.gateway", "spec.gateway.accessLog"]
    assert all(problem.line for problem in raised.value.problems)


def test_a_trace_is_read_from_beside_the_file(tmp_path: Path) -> None:
    text = FLEET.replace("hardware:", "demand: {trace: t.csv}, hardware:")
    with pytest.raises(UsageError, match=r"t\.csv"):
        load_sites(_file(tmp_path, text + OPEN))


def test_an_unknown_cluster_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        load_sites(_file(tmp_path, FLEET + OPEN + "  clusters: [{name: eu}]\n"), cluster="mars")
    assert "eu" in (raised.value.hint or "")


def test_a_namespace_that_none_may_be_called_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--namespace"):
        load_sites(_file(tmp_path, FLEET + OPEN), namespace="Not One")
