"""The benchmark's tables: medians, ratios, Markdown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import report
from bench.workloads import WORKLOADS

PLAIN = next(load for load in WORKLOADS if load.name == "plain")
BEGIN, END = report.marks(report.MARKER)


def sample(peer: str = "penstock", cpu: float | None = 20.0, **fields: Any) -> dict[str, Any]:
    head = {"peer": peer, "workload": "plain", "figure": "cpu_us_per_request", "failures": {}}
    return {**head, "cpu_us_per_request": cpu, **fields}


def row(peer: str, cpu: float | None) -> dict[str, Any]:
    return report.medians([sample(peer, cpu)])


def test_a_row_holds_the_median_and_the_range_of_its_figure() -> None:
    taken = report.medians([sample(cpu=30.0), sample(cpu=20.0), sample(cpu=100.0)])
    assert taken["cpu_us_per_request"] == 30.0
    assert taken["figure_range"] == [20.0, 100.0]
    assert taken["repeats"] == 3


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=9))
def test_a_median_lies_within_its_range(figures: list[float]) -> None:
    taken = report.medians([sample(cpu=figure) for figure in figures])
    low, high = taken["figure_range"]
    assert low <= taken["cpu_us_per_request"] <= high


def test_failures_of_all_repeats_are_summed_by_kind() -> None:
    taken = report.medians([sample(failures={"cut": 1}), sample(failures={"cut": 2, "order": 3}), sample()])
    assert taken["failures"] == {"cut": 3, "order": 3}


def test_a_figure_that_one_repeat_lacks_is_not_averaged_over_the_others() -> None:
    taken = report.medians([sample(cpu=None), sample(cpu=20.0)])
    assert taken["cpu_us_per_request"] is None
    assert taken["figure_range"] == [20.0, 20.0]


def test_the_ratio_says_how_many_times_ours_a_peer_takes() -> None:
    assert report.ratio(row("nginx", 10.0), row("penstock", 20.0)) == 0.5


@pytest.mark.parametrize("ours", [None, row("penstock", 0.0), row("penstock", None)])
def test_there_is_no_ratio_to_a_figure_we_lack(ours: dict[str, Any] | None) -> None:
    assert report.ratio(row("nginx", 10.0), ours) is None


@pytest.mark.parametrize("load", WORKLOADS, ids=lambda load: load.name)
def test_every_load_has_as_many_cells_as_heads(load: Any) -> None:
    taken = report.medians([{"peer": "penstock", "workload": load.name, "figure": load.figure, "failures": {}}])
    assert len(report.table_cells(load, taken, taken)) == len(report.table_heads(load))


def test_a_row_measured_while_others_worked_is_marked() -> None:
    quiet = report.table_cells(PLAIN, report.medians([sample(others_cpu_pct=3.0)]), None)
    noisy = report.table_cells(PLAIN, report.medians([sample(others_cpu_pct=80.0)]), None)
    assert "3.00" in quiet
    assert "80.0*" in noisy


def a_run() -> dict[str, Any]:
    return {
        "at": "2026-11-20T12:00:00+00:00",
        "command": "python -m bench.run",
        "revision": "abc1234",
        "machine": {"cpu": "a CPU", "cores": 2, "kernel": "6.1", "python": "3.11.7"},
        "repeats": 1,
        "peers": [{"name": "penstock", "does": "all"}, {"name": "nginx", "does": "little"}],
        "rows": [row("penstock", 20.0), row("nginx", 10.0)],
    }


def test_markdown_has_one_table_per_measured_load() -> None:
    text = report.markdown(a_run())
    assert text.count("| gateway |") == 1
    assert "| nginx | 10.0 | 10.0-10.0 | 0.50 |" in text


def test_the_marked_part_is_replaced_and_the_rest_kept() -> None:
    page = f"# Speed\n\n{BEGIN}\nold\n{END}\n\n## Notes\n"
    replaced = report.replace_marked(page, "new\n")
    assert replaced == f"# Speed\n\n{BEGIN}\nnew\n{END}\n\n## Notes\n"
    assert report.replace_marked(replaced, "new\n") == replaced


def test_a_page_without_markers_gets_the_part_at_its_end() -> None:
    assert report.replace_marked("# Speed\n", "new\n") == f"# Speed\n\n{BEGIN}\nnew\n{END}\n"
    assert report.replace_marked("", "new\n").startswith(BEGIN)


def test_tables_of_another_name_stand_between_marks_of_their_own() -> None:
    page = f"{BEGIN}\nall\n{END}\n"
    both = report.replace_marked(page, "limits\n", "limits")
    assert both == f"{page}\n<!-- limits:begin -->\nlimits\n<!-- limits:end -->\n"
    assert report.replace_marked(both, "all\n") == both
