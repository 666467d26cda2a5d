"""Reports on a terminal: what a person must see is there, and nothing is cut."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.cli.simulate_screen import print_reports
from penstock.serve.flow import Capacity, QueueSettings
from penstock.simulate.workload import Objectives
from simulate.fleet.rig import ask, reported

REQUESTS = [ask(at_s=n / 10, output=5 + n % 40) for n in range(60)]


def _printed(capsys: pytest.CaptureFixture[str], *changes: dict[str, Any], requests: list[Any] = REQUESTS) -> str:
    print_reports([reported(requests, **one) for one in changes], "trace day.csv", price_words="list prices")
    return capsys.readouterr().out


def test_what_went_wrong_is_counted_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    requests = [*REQUESTS, ask(prompt=9000), ask(prompt=4000, output=900), ask(), ask(at_s=6.4, output=90)]

    out = _printed(capsys, {"until_s": 6.5, "in_flight_max": 3}, requests=requests)

    for words in ("1 refused as longer than the context", "shed", "unfinished", "Overloaded", "no price is known"):
        assert words in out
    assert "1 answers ended at the context" in out


def test_what_waited_in_the_gateway_and_who_got_what_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    requests = [ask(at_s=n / 200, output=60, tenant=f"t{n % 20}", traffic_class="batch") for n in range(300)]
    requests += [ask(at_s=n / 5, tenant="t0") for n in range(10)]
    change = {"settings": {"max_num_seqs": 4}, "capacity": Capacity(requests_max=4), "replicas": 1}

    out = _printed(capsys, change | {"queue": QueueSettings(requests_max=50)}, requests=requests)

    for words in (
        "requests waited in the gateway, at most 50 at once",
        "the gateway refused or dropped: ",
        "queue_full",
    ):
        assert words in out
    for words in (
        "gateway ms",
        "engine ms",
        "tenant",
        "t0",
        "class",
        "interactive",
        "batch",
        "and 4 more, in the JSON",
    ):
        assert words in out


def test_an_uneven_fleet_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "uneven: the busiest replica" in _printed(capsys, {"policy": "random", "replicas": 4})


def test_prefix_hits_are_unknown_where_the_workload_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert "prefix hits unknown" in _printed(capsys, {}).replace("\n  ", " ")


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_words_fit_and_tables_are_whole(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    out = _printed(capsys, {"objectives": Objectives(ttft_ms=500), "usd_micro_per_gpu_hour": 6_880_000})

    assert "…" not in out
    assert max(len(line) for line in out.splitlines()) <= max(int(columns), 80)
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


def test_many_replicas_are_left_to_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert "chat-1" in _printed(capsys, {"replicas": 16})
    assert "chat-1" not in _printed(capsys, {"replicas": 17})


def test_runs_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    out = _printed(capsys, {"replicas": 1}, {"replicas": 2, "policy": "random"})

    lines = out.splitlines()
    assert lines[3].startswith("1 × H200, cost")
    assert lines[4].startswith("2 × H200, random")
    assert "cheapest" not in out  # nothing is promised, so nothing is held


def test_when_none_holds_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    limits = {"objectives": Objectives(ttft_ms=0.1)}

    assert "No run holds every objective." in _printed(capsys, limits, limits | {"replicas": 3})
