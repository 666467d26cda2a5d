from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from penstock.cli.bench_workload import Workload, WorkloadOptions, build_workload
from penstock.errors import UsageError


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("t_ms,input_tokens,output_tokens\n" + "".join(f"{n * 1000},{n + 1},1\n" for n in range(10)))
    return path


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    path = tmp_path / "r.csv"
    path.write_text("t_s,a,b\n0,10,0\n600,30,0\n")
    return path


def times(workload: Workload, n: int = 5) -> list[float]:
    return [s.at_s for s in islice(workload.sessions, n)]


def test_nothing_asked_is_a_short_closed_loop() -> None:
    workload = build_workload(WorkloadOptions())

    assert (workload.concurrency, workload.duration_s, workload.requests) == (8, 30.0, None)


def test_a_rate_is_an_open_poisson_loop() -> None:
    workload = build_workload(WorkloadOptions(rate=5.0))

    assert workload.concurrency is None
    assert workload.words == "profile poisson, 5 requests/s, open loop"


def test_a_number_of_requests_needs_no_duration() -> None:
    assert build_workload(WorkloadOptions(requests=10)).duration_s is None


def test_a_profile_runs_open_unless_a_concurrency_is_asked_for() -> None:
    assert build_workload(WorkloadOptions(profile="chat")).concurrency is None
    assert build_workload(WorkloadOptions(profile="agent", concurrency=3)).concurrency == 3


def test_speed_makes_time_run_faster_for_traces_and_profiles(trace: Path) -> None:
    assert times(build_workload(WorkloadOptions(trace=trace, speed=4.0)), 3) == [0.0, 0.25, 0.5]
    slow = times(build_workload(WorkloadOptions(profile="poisson")))
    assert times(build_workload(WorkloadOptions(profile="poisson", speed=2.0))) == [t / 2 for t in slow]


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, 10),
        ({"duration_s": 2.5}, 3),
        ({"duration_s": 2.5, "speed": 2.0}, 5),
        ({"requests": 4}, 4),
        ({"concurrency": 2, "duration_s": 2.5}, 10),
    ],
)
def test_how_many_requests_of_a_trace_will_be_sent_is_known(trace: Path, options: dict[str, float], known: int) -> None:
    assert build_workload(WorkloadOptions(trace=trace, **options)).requests_known == known  # type: ignore[arg-type]


def test_a_table_of_rates_is_scaled_to_the_rate_asked_for(rates: Path) -> None:
    workload = build_workload(WorkloadOptions(trace=rates, rate=0.5))

    sent = list(workload.sessions)

    assert "mean 0.5 requests/s" in workload.words
    assert len(sent) == pytest.approx(600, rel=0.2)
    assert sum(s.at_s < 600 for s in sent) / len(sent) == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 0.0}, "sends nothing"),
        ({"rate": 1.0, "concurrency": 1}, "contradict"),
        ({"profile": "none"}, "no workload profile"),
        ({"column": "a"}, "give the file with --trace"),
        ({"input_tokens": "x"}, "--input-tokens: 'x'"),
        ({"output_tokens": "-1"}, "--output-tokens: '-1'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build_workload(WorkloadOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"rate": 1.0}, {"input_tokens": "5"}, {"output_tokens": "5"}, {"column": "a"}])
def test_a_trace_of_requests_brings_its_own_rate_and_lengths(trace: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="does not go with a trace of requests"):
        build_workload(WorkloadOptions(trace=trace, **options))  # type: ignore[arg-type]


def test_a_trace_and_a_profile_contradict_one_another(trace: Path) -> None:
    with pytest.raises(UsageError, match="contradict"):
        build_workload(WorkloadOptions(trace=trace, profile="chat"))


def test_a_column_without_traffic_is_refused(rates: Path) -> None:
    with pytest.raises(UsageError, match="no traffic"):
        build_workload(WorkloadOptions(trace=rates, column="b"))
