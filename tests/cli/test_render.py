"""`penstock render`: streams, exit codes, JSON, folders, refusals at their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from penstock.cli.main import main

FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: demo, namespace: llm}
spec:
  models:
    - {name: chat, source: Qwen/Qwen3-8B, replicas: 2, hardware: {gpu: H100}}
    - {name: embed, source: Qwen/Qwen3-Embedding-0.6B, hardware: {gpu: L4}}
  gateway:
    tenants:
      - {name: acme, keys: [{valueFrom: {secretKeyRef: {name: keys, key: acme}}}]}
"""
CLUSTERS = "  clusters: [{name: eu, models: [chat]}, {name: us}]\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET, encoding="utf-8")
    return path


def test_objects_go_to_stdout_and_notes_to_stderr(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet)]) == 0

    out, err = capsys.readouterr()
    kinds = [body["kind"] for body in yaml.safe_load_all(out)]
    assert kinds[0] == "Namespace"
    assert "Deployment" in kinds
    assert "Secret llm/keys must be there" in err


def test_json_is_the_same_objects(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet)]) == 0
    text = capsys.readouterr().out
    assert main(["render", str(fleet), "--output", "json"]) == 0

    assert json.loads(capsys.readouterr().out) == list(yaml.safe_load_all(text))


def test_what_cannot_be_rendered_is_told_at_its_line(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = FLEET.replace("valueFrom: {secretKeyRef: {name: keys, key: acme}}", "value: in-clear-text")
    fleet.write_text(text, encoding="utf-8")

    assert main(["render", str(fleet)]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert f"{fleet}:10:37: spec.gateway.tenants[0].keys[0].value" in err
    assert "in-clear-text" not in err


def test_a_folder_is_written_once_and_then_stays(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["render", str(fleet), "-o", str(out)]) == 0
    first = {path: path.read_bytes() for path in out.rglob("*.yaml")}
    capsys.readouterr()
    assert main(["render", str(fleet), "-o", str(out)]) == 0

    assert first
    assert {path: path.read_bytes() for path in out.rglob("*.yaml")} == first
    assert f"{len(first)} same" in capsys.readouterr().err


def test_each_cluster_has_a_folder(fleet: Path, tmp_path: Path) -> None:
    fleet.write_text(FLEET + CLUSTERS, encoding="utf-8")
    assert main(["render", str(fleet), "-o", str(tmp_path / "out")]) == 0

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["eu", "us"]


def test_one_cluster_is_rendered_into_its_folder_and_leaves_the_others(fleet: Path, tmp_path: Path) -> None:
    fleet.write_text(FLEET + CLUSTERS, encoding="utf-8")
    out = tmp_path / "out"
    assert main(["render", str(fleet), "-o", str(out)]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*.yaml")}
    assert main(["render", str(fleet), "-o", str(out), "--cluster", "eu"]) == 0

    assert {path: path.read_bytes() for path in out.rglob("*.yaml")} == before


def test_a_kustomization_holds_all_clusters(fleet: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fleet.write_text(FLEET + CLUSTERS, encoding="utf-8")
    assert main(["render", str(fleet), "-f", "kustomize", "-o", str(tmp_path / "out"), "--cluster", "eu"]) == 2
    assert "leave --cluster out" in capsys.readouterr().err


def test_stdout_holds_one_cluster(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.write_text(FLEET + CLUSTERS, encoding="utf-8")

    assert main(["render", str(fleet)]) == 2
    assert "--cluster (eu, us)" in capsys.readouterr().err
    assert main(["render", str(fleet), "--cluster", "eu"]) == 0


def test_an_unknown_cluster_or_model_is_told_with_those_there_are(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(fleet), "--model", "chta"]) == 2
    assert "it has chat, embed" in capsys.readouterr().err
    assert main(["render", str(fleet), "--cluster", "eu"]) == 2
    assert "leave --cluster out" in capsys.readouterr().err


def test_one_model_is_what_is_labelled_with_it(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "--model", "chat", "--output", "json"]) == 0

    labels = [body["metadata"]["labels"] for body in json.loads(capsys.readouterr().out)]
    assert {label.get("penstock.dev/model") for label in labels} <= {"demo-chat"}


def test_the_namespace_of_the_command_line_holds(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "-n", "other", "--output", "json"]) == 0

    spaces = {body["metadata"].get("namespace") for body in json.loads(capsys.readouterr().out)}
    assert spaces <= {"other", None}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("yaml", {"eu/gateway.yaml", "us/demo-embed/engine.yaml"}),
        ("kustomize", {"base/gateway.yaml", "overlays/us/demo-embed/engine.yaml", "overlays/eu/kustomization.yaml"}),
        ("helm", {"eu/Chart.yaml", "us/values.yaml", "us/templates/gateway.yaml"}),
    ],
)
def test_every_format_has_a_folder_and_stays_the_same(
    shape: str, expected: set[str], fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.write_text(FLEET + CLUSTERS, encoding="utf-8")
    out = tmp_path / "out"
    assert main(["render", str(fleet), "-f", shape, "-o", str(out)]) == 0
    assert expected <= {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()

    assert main(["render", str(fleet), "-f", shape, "-o", str(out)]) == 0
    assert "added" not in capsys.readouterr().err


def test_a_change_of_format_takes_the_former_away(fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["render", str(fleet), "-f", "helm", "-o", str(out)]) == 0
    assert main(["render", str(fleet), "-f", "kustomize", "-o", str(out)]) == 0

    assert sorted(path.name for path in out.iterdir()) == ["base", "overlays"]


@pytest.mark.parametrize("shape", ["kustomize", "helm"])
def test_a_folder_is_needed_for_a_format_of_files(shape: str, fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "-f", shape]) == 2
    assert "-o FOLDER" in capsys.readouterr().err


def test_definitions_and_sync_waves_are_added_when_asked_for(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(fleet), "--include-crds", "--sync-waves", "--output", "json"]) == 0
    objects = json.loads(capsys.readouterr().out)

    waves = {body["kind"]: body["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for body in objects}
    assert waves["CustomResourceDefinition"] == "0"
    assert waves["Service"] == "5"
