"""Mending by `penstock doctor --fix`: shown first, asked, written whole, and idempotent."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.doctor_run import Asked
from penstock.cli.main import main
from penstock.operate.doctor import RULES, Severity, evidence_of_text

BAD = "# mine\nargs:\n  - --max-num-seqs=4\n  - --disable-log-requests  # quiet\n  - --swap-space=4\n"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(BAD, encoding="utf-8")
    path.chmod(0o640)
    return path


def test_a_diff_only_prints(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(bad), "--fix", "--diff"]) == 1

    assert "\n-  - --disable-log-requests  # quiet\n" in capsys.readouterr().out
    assert bad.read_text(encoding="utf-8") == BAD


def test_without_an_answer_nothing_is_written(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(bad), "--fix"]) == 1

    assert "nothing was changed" in capsys.readouterr().err
    assert bad.read_text(encoding="utf-8") == BAD


def test_agreed_it_is_written_with_its_mode_and_what_is_left_is_told(
    bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(bad), "--fix", "--yes"]) == 1

    out, err = capsys.readouterr()
    assert bad.read_text(encoding="utf-8") == BAD.replace("  - --disable-log-requests  # quiet\n", "")
    assert bad.stat().st_mode & 0o777 == 0o640
    assert "mended 1 finding" in err
    assert "PS101-gone-engine-flag" in out
    assert [p.name for p in bad.parent.iterdir()] == ["a.yaml"]


def test_a_second_time_there_is_nothing_to_mend(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", str(bad), "--fix", "--yes"])
    once = bad.read_text(encoding="utf-8")
    capsys.readouterr()

    main(["doctor", str(bad), "--fix", "--yes"])

    assert bad.read_text(encoding="utf-8") == once
    assert "nothing that can be mended safely" in capsys.readouterr().err


def test_only_chosen_rules_mend(bad: Path) -> None:
    main(["doctor", str(bad), "--fix", "--yes", "--select", "PS003"])

    assert bad.read_text(encoding="utf-8") == BAD


def test_windows_line_ends_stay(bad: Path) -> None:
    bad.write_bytes(BAD.replace("\n", "\r\n").encode())

    main(["doctor", str(bad), "--fix", "--yes"])

    assert bad.read_bytes() == BAD.replace("  - --disable-log-requests  # quiet\n", "").replace("\n", "\r\n").encode()


def test_never_is_a_bar_that_nothing_reaches() -> None:
    asked = Asked(paths=(), rules=RULES, engine_version="", least="warning", fail_on="never", output="table")

    report = asked.judge(evidence_of_text(BAD, "a.yaml"))

    assert asked.threshold is None
    assert not report.fails(asked.threshold)
    assert report.count(Severity.ERROR) == 2
