"""`penstock spec`: what it says of a good file and of a bad one, on which stream, with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from penstock.cli.main import main
from penstock.spec.crd import fleet_crd
from penstock.spec.reference import reference_page
from penstock.spec.schema import fleet_schema

GOOD = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: a}
spec:
  models:
    - {name: chat, replicas: 2}
    - {name: far, aliases: [away], endpoints: ["http://a:1"]}
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    return str(tmp_path / "good.yaml")


@pytest.fixture
def bad(tmp_path: Path) -> str:
    (tmp_path / "bad.yaml").write_text(GOOD.replace("replicas: 2", "replica: 2"), encoding="utf-8")
    return str(tmp_path / "bad.yaml")


def test_a_good_file_is_told_in_one_line_on_stdout(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "check", good]) == 0

    out, err = capsys.readouterr()
    assert out == (
        f"{good}: ok: 2 models (chat ×2, far ×1), 0 tenants, gateway on 127.0.0.1:8080, admin on 127.0.0.1:8081\n"
    )
    assert err == ""


def test_a_good_file_is_told_as_json(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "check", good, "--output", "json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["is_valid"] is True
    assert told["problems"] == []
    assert told["models"][1] == {"name": "far", "aliases": ["away"], "replicas": 1, "endpoints": ["http://a:1"]}


def test_a_bad_file_is_told_on_stderr_with_exit_code_2(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "check", bad]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"{bad}:6:20: spec.models[0].replica: is not a field here\n"
        "  hint: did you mean `replicas`?\n"
        "error: 1 problem in the fleet file\n"
    )


def test_a_bad_file_is_told_as_json_with_the_same_exit_code(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "check", bad, "-o", "json"]) == 2

    told = json.loads(capsys.readouterr().out)
    assert told["is_valid"] is False
    (problem,) = told["problems"]
    assert (problem["line"], problem["column"], problem["field"]) == (6, 20, "spec.models[0].replica")


def test_a_missing_file_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "check", str(tmp_path / "none.yaml")]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == fleet_schema()


def test_the_reference_is_printed_as_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "reference"]) == 0
    assert capsys.readouterr().out == reference_page()


def test_the_definition_is_printed_for_kubectl_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "crd"]) == 0
    text = capsys.readouterr().out
    assert main(["spec", "crd", "--output", "json"]) == 0

    assert json.loads(capsys.readouterr().out) == YAML(typ="safe", pure=True).load(text) == fleet_crd()
