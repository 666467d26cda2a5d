"""The plan on a terminal: bars that fill, columns that fit, words without colour."""

from __future__ import annotations

import pytest

from penstock.cli.plan_asks import Asks
from penstock.cli.plan_screen import _cells, print_plans
from penstock.plan import Objectives
from plan.asks import a_plan


@pytest.mark.parametrize("width", [72, 80, 100, 140])
@pytest.mark.parametrize("rate", [0.5, 2000.0])
def test_nothing_is_wider_than_the_terminal(
    width: int, rate: float, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    plans = [a_plan(rate=rate, objectives=Objectives(ttft_ms=5000)), a_plan("Qwen/Qwen3-Embedding-0.6B", rate)]

    print_plans(plans, Asks(fleet="f"), is_explained=True)

    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= width
    assert not [line for line in lines if line != line.rstrip()]
    assert not [line for line in lines if "…" in line]


def test_the_bar_fills_and_shows_every_part() -> None:
    assert _cells([100, 1, 0, 50], 30) == [19, 1, 0, 10]
    assert sum(_cells([3, 3, 3], 10)) == 10


def test_the_demand_and_what_may_not_hold_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    print_plans([a_plan(rate=20, gpus="H100", objectives=Objectives(itl_ms=15))], Asks(fleet=""), is_explained=False)

    out = capsys.readouterr().out
    assert "▸ the demand; ✗ the objectives may not" in out.replace("\n  ", " ")
    assert out.count("▸") == 2
    assert out.count("✗") >= 2


def test_a_fleet_ends_with_its_total(capsys: pytest.CaptureFixture[str]) -> None:
    plans = [a_plan(rate=1), a_plan("Qwen/Qwen3-Embedding-0.6B", 1)]
    print_plans(plans, Asks(fleet=""), is_explained=False)

    out = capsys.readouterr().out
    assert "The fleet" in out
    total = sum((plan.choice.price or 0) / 1e6 for plan in plans)
    assert f"{total:,.2f}" in out


def test_explaining_names_the_calibration_and_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    plan = a_plan(rate=5)
    print_plans([plan], Asks(fleet=""), is_explained=True)

    out = capsys.readouterr().out
    assert plan.choice.estimate.calibration.name in out
    assert "configurations were compared" in out
    assert all(option.layout.words in out for option in plan.runners_up)
