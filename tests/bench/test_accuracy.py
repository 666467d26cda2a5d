"""The tables of docs/accuracy.md can be made, and hold the bars."""

from __future__ import annotations

import gzip
import statistics
from pathlib import Path

from bench.accuracy import load_table, memory_table, step_tables, trace_table, window_errors
from perf.measured import NEEDS_H200


@NEEDS_H200
def test_every_measured_point_has_its_row() -> None:
    assert memory_table().count("\n") == 2 + 10
    steps = step_tables()
    assert (steps.count("| decode |"), steps.count("| prefill |")) == (3 + 4, 2 + 3)
    loads, covered = load_table().split("Share of these figures")
    assert loads.count("\n") == 2 + 6 + 1
    assert covered.count("| ttft |") == covered.count("| itl |") == covered.count("| throughput |") == 1


@NEEDS_H200
def test_stated_intervals_hold_85_to_95_percent_of_held_out_points_of_every_model() -> None:
    shares = [float(line.split("|")[4].strip(" %")) for line in step_tables().split("inside |")[1].splitlines()[2:]]
    assert len(shares) == 7
    assert all(85 <= share <= 95 for share in shares), shares


@NEEDS_H200
def test_windows_of_recorded_steps_are_as_measured() -> None:
    """Seen: median 2.6 %, 96 % within 20 %: the host is slow at other times than in the record."""
    errors = [abs(e) for e in window_errors()]
    assert len(errors) > 700
    assert statistics.median(errors) < 0.03
    assert sum(1 for e in errors if e < 0.20) > 0.95 * len(errors)


def test_trace_is_served_whole(tmp_path: Path) -> None:
    path = tmp_path / "day.csv.gz"
    lines = [f"{n * 40},1,{20 + n % 300},{1 + n % 50}" for n in range(300)]
    path.write_bytes(gzip.compress("\n".join(["t_ms,client,input_tokens,output_tokens", *lines]).encode()))
    assert trace_table(path, replicas=2).splitlines()[-1].startswith("| 300 | 2 | ")
