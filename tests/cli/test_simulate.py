"""`penstock simulate`: streams, exit codes, JSON, HTML, comparisons, refusals at their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.main import main

FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: shop}
spec:
  hardware: {usdPerGpuHour: {H100: 2.5}}
  models:
    - name: chat
      source: Qwen/Qwen3-8B
      replicas: 2
      contextLength: 4096
      hardware: {gpu: H100}
      objectives: {ttftMs: 500, itlMs: 50}
"""
TRACE = "t_ms,input_tokens,output_tokens\n" + "".join(f"{n * 50},{100 + n},{5 + n % 40}\n" for n in range(100))


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    (tmp_path / "shop.yaml").write_text(FLEET, encoding="utf-8")
    (tmp_path / "trace.csv").write_text(TRACE, encoding="utf-8")
    return str(tmp_path / "shop.yaml")


@pytest.fixture
def trace(tmp_path: Path) -> list[str]:
    return ["--trace", str(tmp_path / "trace.csv")]


def test_a_run_is_reported_on_stdout(fleet: str, trace: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", fleet, *trace]) == 0

    out, err = capsys.readouterr()
    for words in (
        "2 × H100, cost: 100 requests, 100 ok",
        "Comfortable",
        "TTFT ≤ 500 ms",
        "held",
        "GPU-hours",
        "$5.00 an hour",
        "the fleet file's",
        "chat-1",
    ):
        assert words in out
    assert err == ""


def test_two_runs_of_one_seed_are_the_same_bytes(
    fleet: str, trace: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, bytes]] = []
    for _ in range(2):
        page = tmp_path / "report.html"
        args = ["--policy", "random,least-load", "--seed", "4", "--html", str(page), "-o", "json"]
        assert main(["simulate", fleet, *trace, *args]) == 0
        seen.append((capsys.readouterr().out, page.read_bytes()))

    assert seen[0] == seen[1]


def test_generated_traffic_follows_its_seed(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    def ran(seed: str) -> dict[str, Any]:
        args = ["--profile", "chat", "--rate", "5", "--duration", "10", "--seed", seed, "-o", "json"]
        assert main(["simulate", fleet, *args]) == 0
        record: dict[str, Any] = json.loads(capsys.readouterr().out)
        return record

    assert ran("1") == ran("1")
    assert ran("1")["runs"] != ran("2")["runs"]


def test_replicas_and_policies_are_compared(fleet: str, trace: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--replicas", "1,2", "--policy", "least-load", "--policy", "round-robin"]

    assert main(["simulate", fleet, *trace, *args, "-o", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [(run["replicas"], run["policy"]) for run in record["runs"]] == [
        (1, "least-load"),
        (1, "round-robin"),
        (2, "least-load"),
        (2, "round-robin"),
    ]
    assert record["cheapest_that_holds"] == 0

    assert main(["simulate", fleet, *trace, *args]) == 0
    assert "The cheapest that holds its objectives: 1 × H100, least-load." in capsys.readouterr().out


def test_missed_objectives_are_exit_code_1_with_the_whole_report(
    fleet: str, trace: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", fleet, *trace, "--ttft-ms", "1"]) == 1

    assert "missed" in capsys.readouterr().out


def test_the_html_report_is_written(fleet: str, trace: list[str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"

    assert main(["simulate", fleet, *trace, "--html", str(page)]) == 0

    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_day_with_nothing_in_it_says_so(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", fleet, "--profile", "poisson", "--rate", "0.001", "--duration", "0.1"]) == 1

    assert "nothing was sent" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--replicas", "0"], "no replica answers anything"),
        (["--replicas", "many"], "a whole number from 1 to 1000"),
        (["--policy", "leastload"], "did you mean least-load"),
        (["--gpu", "H1000"], "no GPU is known"),
        (["--tp", "3"], "32 attention heads do not divide by 3"),
        (["--html", "report.pdf"], "the report is an HTML page"),
        (["--html", "/nowhere/report.html"], "there is no folder /nowhere"),
        (["--model", "chatty"], "it has chat"),
        (["--profile", "chat"], "contradict one another"),
        (["--gpu", "L4,H100,H200", "--replicas", "1,2,3,4,5,6,7,8,9"], "27 runs, more than 24"),
        (["--gpu", "L4", "--tp", "1", "--calibration", "/nowhere.json"], "there is no file /nowhere.json"),
        (["--calibration", "x.json"], "for which GPU?"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    args: list[str], words: str, fleet: str, trace: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", fleet, *trace, *args]) == 2

    out, err = capsys.readouterr()
    assert words in err
    assert out == ""


def test_a_wrong_row_of_the_trace_is_told_with_its_line(
    fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("t_ms,input_tokens,output_tokens\n0,10,x\n", encoding="utf-8")

    assert main(["simulate", fleet, "--trace", str(bad)]) == 2

    assert f"{bad}:2: output_tokens: 'x'" in capsys.readouterr().err.replace("\n", "")
