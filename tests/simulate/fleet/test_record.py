"""A simulation as JSON: the same bytes each time; `make golden` writes the files in `golden/`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import orjson
import pytest

from penstock.simulate.fleet import FleetReport, cheapest_held, draw_up, fleet_record, run_record, simulate
from penstock.simulate.fleet.run import Traffic
from penstock.simulate.workload import Objectives, read_trace, sessions_of
from simulate.fleet.rig import ask, reported, scenario

GOLDEN = Path(__file__).parent / "golden"
CSV = ["t_ms,input_tokens,output_tokens", *(f"{n * 90},{40 + 37 * n % 900},{1 + 13 * n % 70}" for n in range(60))]
MOONCAKE = [
    f'{{"timestamp": {3000 * (n // 4)}, "input_length": {1100 + n}, "output_length": {5 + n}, "hash_ids": {ids}}}'
    for n, ids in enumerate([0, n % 3, n] for n in range(24))
]
TRACES = {"csv": CSV, "prefixes": MOONCAKE}


def report_of(name: str) -> FleetReport:
    requests = read_trace(TRACES[name], file="trace")
    assert isinstance(requests, list)
    run = scenario(objectives=Objectives(ttft_ms=200, itl_ms=30), usd_micro_per_gpu_hour=7_910_000)
    return draw_up(simulate(Traffic(sessions=sessions_of(requests)), run))


@pytest.mark.parametrize("name", TRACES)
def test_a_simulation_is_as_it_was_reviewed(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    record = json.dumps(run_record(report_of(name)), indent=1) + "\n"
    if os.environ.get("PENSTOCK_WRITE_GOLDEN"):
        path.write_text(record, encoding="utf-8")

    assert json.loads(record) == json.loads(path.read_text(encoding="utf-8")), "review it, then `make golden`"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(TRACES)


def test_the_same_call_gives_the_same_bytes() -> None:
    one, two = (
        orjson.dumps(fleet_record([report_of("prefixes")], fleet="shop", workload="trace", seed=3)) for _ in range(2)
    )

    assert one == two


def test_the_cheapest_run_that_holds_is_named() -> None:
    requests = [ask(at_s=n / 50, output=100) for n in range(400)]
    limits = Objectives(e2e_ms=1500.0)
    reports = [
        reported(
            requests, replicas=n, objectives=limits, usd_micro_per_gpu_hour=1_000_000, settings={"max_num_seqs": 24}
        )
        for n in (4, 3, 1)
    ]

    assert [report.is_held for report in reports] == [True, True, False]
    assert cheapest_held(reports) is reports[1]
    record = fleet_record(reports, fleet="shop", workload="w", seed=0)
    assert record["cheapest_that_holds"] == 1
    assert [run["replicas"] for run in record["runs"]] == [4, 3, 1]


def test_none_is_named_where_none_holds() -> None:
    record = fleet_record([reported([ask()], objectives=Objectives(ttft_ms=0.1))], fleet="shop", workload="w", seed=0)

    assert record["cheapest_that_holds"] is None
    assert record["runs"][0]["objectives"][0]["is_held"] is False
    assert record["runs"][0]["usd"] is None
