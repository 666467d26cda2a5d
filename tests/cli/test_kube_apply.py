"""Several clusters, each applied in turn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.cluster_command import FLEET, command, penstock
from penstock.operate.testing import Cluster
from penstock.operate.testing.io.server import running_api_server


def test_every_cluster_is_applied_and_one_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clusters = "  clusters: [{name: away}, {name: eu, context: fake}]\n"
    with command(tmp_path, monkeypatch) as here:
        path = tmp_path / "config"
        config = json.loads(path.read_text(encoding="utf-8"))
        with running_api_server(Cluster()) as other:
            away = {"name": "away", "cluster": {"server": other.url}}
        config["clusters"].append(away)
        config["contexts"].append({"name": "away", "context": {"cluster": "away", "user": "fake"}})
        path.write_text(json.dumps(config), encoding="utf-8")

        code = penstock("apply", here.file(text=FLEET + clusters), "--all-clusters", "--no-wait", "--output", "json")

        assert code == 1
        away_record, eu_record = json.loads(capsys.readouterr().out)
        assert "cannot be reached" in away_record["error"]
        assert (eu_record["cluster"], eu_record["written"] > 5) == ("eu", True)
        assert here.cluster.get("apps/v1", "Deployment", "demo-gateway", "llm") is not None
