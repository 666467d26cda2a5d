"""`penstock doctor`: its options, its outputs and its exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from penstock.cli.main import main

BAD = "# mine\nargs:\n  - --max-num-seqs=4\n  - --disable-log-requests  # quiet\n  - --no-enable-prefix-caching\n"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(BAD, encoding="utf-8")
    return path


def test_findings_are_told_with_place_consequence_and_fix(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(bad)]) == 1

    out, err = capsys.readouterr()
    assert f"{bad}:4:5  error  PS002-disable-log-requests" in out
    assert "consequence: The engine exits with 2" in out
    assert "(--fix does it)" in out
    assert err == "1 error, 1 warning (1 file, 0 objects)\n"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--fail-on", "never"], 0),
        (["--ignore", "PS002"], 0),
        (["--ignore", "PS002", "--fail-on", "warning"], 1),
        (["--select", "PS039"], 0),
        (["--engine-version", "0.9.0"], 0),
        (["--select", "PS999"], 2),
        (["--engine-version", "new"], 2),
        (["--diff"], 2),
        (["--severity", "never"], 2),
        (["--output", "xml"], 2),
    ],
)
def test_exit_codes(bad: Path, options: list[str], code: int) -> None:
    assert main(["doctor", str(bad), *options]) == code


def test_nothing_to_look_at_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 2
    assert main(["doctor", str(tmp_path / "absent")]) == 2
    assert "there is no file or folder" in capsys.readouterr().err


def test_a_clean_file_exits_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\n", encoding="utf-8")

    assert main(["doctor", str(tmp_path)]) == 0

    assert capsys.readouterr() == ("", "nothing found (1 file, 0 objects)\n")


def test_json_has_one_record_for_each_finding(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(bad), "-o", "json"]) == 1

    told = json.loads(capsys.readouterr().out)
    assert [(f["rule"], f["line"], f["is_fixable"]) for f in told["findings"]] == [
        ("PS002-disable-log-requests", 4, True),
        ("PS004-caching-turned-off", 5, True),
    ]
    assert told["counts"] == {"error": 1, "warning": 1, "info": 0}


def test_sarif_goes_to_stdout(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(bad), "-o", "sarif"]) == 1

    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"


def test_stdin_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(BAD.encode()), isatty=lambda: False))

    assert main(["doctor", "-"]) == 1
    assert "<stdin>:4:5" in capsys.readouterr().out


def test_rules_are_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--list"]) == 0
    assert "PS053-wrong-facts" in capsys.readouterr().out
    assert main(["doctor", "--explain", "PS002"]) == 0
    assert "Fix: Delete it" in capsys.readouterr().out
    assert main(["doctor", "--list", "-o", "json", "--select", "PS002"]) == 0
    assert [r["id"] for r in json.loads(capsys.readouterr().out)] == ["PS002-disable-log-requests"]
    assert main(["doctor", "--page"]) == 0
    assert capsys.readouterr().out.startswith("# penstock doctor\n")
