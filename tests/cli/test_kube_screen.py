"""What a person reads of a plan and of a wait."""

from __future__ import annotations

import pytest

from penstock.cli.kube_screen import ApplyScreen, comparing, plan_record, show_plan, step_difference, summary_words
from penstock.operate.apply.objects import Ref
from penstock.operate.apply.planning import Action, ApplyPlan, Step
from penstock.operate.apply.readiness import Readiness
from penstock.operate.io.kubernetes.waiting import WaitingRow

REF = Ref(api_version="v1", kind="ConfigMap", name="a", namespace="llm")


def config(value: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"v": value}}


CHANGE = Step(ref=REF, action=Action.CHANGE, live=config("1"), dry_run=config("my-key"), fields=(".data.v",))
PLAN = ApplyPlan(
    steps=(
        CHANGE,
        Step(ref=REF, action=Action.UNCHANGED),
        Step(ref=REF, action=Action.KEEP, reason="it holds data"),
        Step(ref=REF, action=Action.REFUSED, reason="no", hint="do this"),
    )
)


def test_a_plan_shows_changes_with_their_difference_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(PLAN, ["my-key"])

    words = capsys.readouterr().err
    assert "~ change ConfigMap llm/a" in words
    assert '-  v: "1"' in words
    assert "+  v: ***" in words.replace('"', "")
    assert "= keep ConfigMap llm/a: it holds data" in words
    assert "hint: do this" in words
    assert "unchanged" not in words
    assert "my-key" not in words


def test_a_plan_is_summed_up_in_one_line() -> None:
    assert summary_words(PLAN) == "1 to change, 1 unchanged, 1 to keep, 1 refused"
    assert summary_words(ApplyPlan(steps=())) == "nothing"


def test_each_action_has_its_difference() -> None:
    made = Step(ref=REF, action=Action.CREATE, wanted=config("1"))
    gone = Step(ref=REF, action=Action.PRUNE, live=config("1"))

    assert '+  v: "1"' in step_difference(made, ())
    assert '-  v: "1"' in step_difference(gone, ())
    assert "my-key" not in str(plan_record(PLAN))


def row(state: str, reason: str = "", ready: int = 0) -> WaitingRow:
    found = Readiness(state=state, ready=ready, desired=2, reason=reason)  # type: ignore[arg-type]
    return WaitingRow(ref=REF, readiness=found, since_s=1.0)


def test_without_a_terminal_a_line_is_said_whenever_something_changes(capsys: pytest.CaptureFixture[str]) -> None:
    screen = ApplyScreen()
    with screen.live():
        for rows in (
            [row("waiting", "why")],
            [row("waiting", "why")],
            [row("ready", ready=2)],
            [row("ready", ready=2)],
        ):
            screen.waits(rows)
        screen.wrote(CHANGE)

    assert capsys.readouterr().err.splitlines() == [
        "  ConfigMap a: waiting 0/2: why",
        "  ConfigMap a: ready 2/2",
        "  ConfigMap a changed",
    ]


def test_on_a_terminal_a_table_is_drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    screen = ApplyScreen()
    with screen.live():
        screen.waits([row("waiting", "why [not]")])
        screen.says("said [beside]")

    words = capsys.readouterr().err
    assert "why [not]" in words
    assert "said [beside]" in words


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_comparison_shows_that_it_goes_on_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with comparing():
        pass

    assert ("comparing with the cluster" in capsys.readouterr().err) == is_terminal
