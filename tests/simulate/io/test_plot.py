from __future__ import annotations

import sys
from array import array
from pathlib import Path

import pytest

from penstock.errors import UsageError
from penstock.simulate.io.plot import check_plot, write_plot
from penstock.simulate.workload import Answer, ClientHealth, Failure, Objectives, Report, Sample, Spread, summarize

CALM = ClientHealth(cpu_share=0.1, lag_ms=Spread(), late_ms=Spread())


def report(*, is_empty: bool = False) -> Report:
    answer = Answer(prompt_tokens=3, output_tokens=3, finish_reason="stop", has_text=True)
    good = [
        Sample(
            due_s=t,
            sent_s=t,
            first_s=t + 0.2,
            last_s=t + 0.4,
            done_s=t + 0.5,
            gaps_s=array("d", [0.1, 0.1]),
            answer=answer,
        )
        for t in (0.0, 0.7, 2.0)
    ]
    bad = Sample(due_s=1.0, sent_s=1.0, done_s=1.1, failure=Failure(kind="reset", detail="gone"))
    objectives = Objectives(ttft_ms=300, itl_ms=50, e2e_ms=1000)
    return summarize([] if is_empty else [*good, bad], objectives=objectives, client=CALM)


@pytest.mark.parametrize("is_empty", [False, True])
@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_plot_is_written_in_the_format_of_its_ending(
    tmp_path: Path, ending: str, magic: bytes, is_empty: bool
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"run.{ending}"
    check_plot(path)

    write_plot(report(is_empty=is_empty), path, title="a run")

    assert path.read_bytes().startswith(magic)


@pytest.mark.parametrize("name", ["run", "run.jpg", "run.txt"])
def test_an_ending_that_cannot_be_drawn_is_refused_before_the_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="png, svg, pdf"):
        check_plot(tmp_path / name)


def test_a_folder_that_is_not_there_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        check_plot(tmp_path / "absent" / "run.svg")


def test_without_matplotlib_the_line_that_installs_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.simulate.io.plot.find_spec", lambda _: None)

    with pytest.raises(UsageError, match=r"pip install 'penstock\[plot\]'"):
        check_plot(tmp_path / "run.svg")


def test_a_plot_needs_no_display(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    write_plot(report(), tmp_path / "run.svg", title="a run")

    assert "matplotlib.pyplot" not in sys.modules
