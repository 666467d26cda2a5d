"""`penstock bench`: what it prints and how it exits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fakes.engine import FakeEngine, Fault, serving
from penstock.cli.main import main

QUICK = ["--requests", "10", "--input-tokens", "20", "--output-tokens", "4"]


def test_a_closed_loop_prints_counts_latency_and_throughput(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine()) as engine:
        assert main(["bench", engine.origin, "--concurrency", "2", *QUICK]) == 0

    out, err = capsys.readouterr()
    assert "profile constant, closed loop of 2" in out
    assert re.search(r"10 requests in .* s: 10 ok, 0 failed", out)
    for row in ("TTFT ms", "ITL ms", "TPOT ms", "E2E ms"):
        assert row in out
    assert "output tokens/s" in out
    assert "answered" not in err  # no progress bar where stderr is no terminal


def test_json_is_the_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine()) as engine:
        objectives = ["--ttft-ms", "60000", "--itl-ms", "60000", "--e2e-ms", "60000"]
        assert main(["bench", engine.origin, "--rate", "200", "--output", "json", *objectives, *QUICK]) == 0

    report = json.loads(capsys.readouterr().out)
    assert (report["requests"], report["ok"], report["model"]) == (10, 10, "chat")
    assert report["url"] == engine.origin
    assert report["met_share"] == 1.0
    assert report["ttft_ms"]["count"] == 10
    assert report["output_tokens"]["mean"] == 4.0
    assert sum(report["timeline"]["ok"]) == 10


def test_a_trace_is_replayed_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("t_ms,input_tokens,output_tokens\n0,5,1\n400,6,2\n900,7,3\n")
    with serving(FakeEngine()) as engine:
        assert main(["bench", engine.origin, "--trace", str(trace), "--speed", "100"]) == 0

    assert "trace t.csv, 3 requests, 100 times as fast, open loop" in capsys.readouterr().out
    # each on a connection of its own, so that what was sent first may be read last
    sent = {(len(r["messages"][0]["content"].split()), r["max_tokens"]) for r in engine.requests}
    assert (len(engine.requests), sent) == (3, {(5, 1), (6, 2), (7, 3)})


def test_errors_are_listed_by_kind_and_exit_1_when_nothing_was_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine(fault=Fault.STATUS_429)) as engine:
        assert main(["bench", engine.origin, *QUICK]) == 1

    out, err = capsys.readouterr()
    assert re.search(r"http_429\s+10\s+too many requests", out)
    assert "every request failed" in err
    assert "p99" not in out  # no table of nothing


def test_a_window_in_which_nothing_was_due_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine()) as engine:
        assert main(["bench", engine.origin, "--rate", "0.0001", "--duration", "0.1"]) == 1

    assert "nothing was sent" in capsys.readouterr().err


def test_goodput_is_printed_against_its_objectives(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine()) as engine:
        assert main(["bench", engine.origin, "--e2e-ms", "0.0001", *QUICK]) == 0

    assert "0.0% met E2E ≤ 0.0001 ms" in capsys.readouterr().out


def test_a_plot_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "run.svg"
    with serving(FakeEngine()) as engine:
        assert main(["bench", engine.origin, "--plot", str(path), *QUICK]) == 0

    assert "<svg" in path.read_text()
    assert f"plot: {path}" in capsys.readouterr().err


def test_the_first_of_several_models_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine(models=["a", "b"])) as engine:
        assert main(["bench", engine.origin, *QUICK]) == 0
        assert "2 models are listed; loading the first, a" in capsys.readouterr().err
        assert main(["bench", engine.origin, "--model", "b", *QUICK]) == 0

    assert {r["model"] for r in engine.requests[10:]} == {"b"}


def test_profiles_are_listed_without_an_api(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "nowhere", "--profile", "list"]) == 0

    assert "code-burst" in capsys.readouterr().out


def test_a_wrong_key_is_told_with_where_to_give_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PENSTOCK_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(FakeEngine(key="secret")) as engine:
        assert main(["bench", engine.origin, *QUICK]) == 1
        assert "--key" in capsys.readouterr().err
        assert main(["bench", engine.origin, "--key", "secret", *QUICK]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rate", "1", "--concurrency", "2"], "contradict"),
        (["--profile", "chats"], "no workload profile 'chats'"),
        (["--no-stream", "--ttft-ms", "5"], "need streams"),
        (["--trace", "absent.csv"], "absent.csv: cannot be read"),
        (["--plot", "run.doc"], "png, svg, pdf"),
    ],
)
def test_a_wrong_option_exits_2_before_anything_is_sent(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "http://127.0.0.1:9", *arguments]) == 2

    assert said in capsys.readouterr().err


def test_prompts_have_the_wanted_tokens_where_the_engine_can_count(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine(tokens_per_word=2)) as engine:
        assert main(["bench", engine.origin, *QUICK]) == 0

    assert {len(r["messages"][0]["content"].split()) for r in engine.requests} == {10}
