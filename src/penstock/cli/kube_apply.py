"""What `apply` and `diff` do for each cluster: plan, show, ask, carry out, tell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from penstock.cli.kube_screen import (
    ApplyScreen,
    comparing,
    outcome_record,
    print_records,
    show_plan,
    step_difference,
    summary_words,
)
from penstock.cli.kube_target import Place, in_loop, reached
from penstock.cli.output import print_error, print_text, say, warn
from penstock.errors import PenstockError
from penstock.operate.apply.bundle import literal_keys
from penstock.operate.apply.planning import Action, ApplyPlan, Options
from penstock.operate.io.kubernetes.applying import Outcome, carry_out
from penstock.operate.io.kubernetes.gathering import plan_apply

__all__ = ["ApplyWishes", "agreed", "run_apply", "run_diff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyWishes:
    """What the command line asks for."""

    options: Options
    is_dry_run: bool
    is_agreed: bool
    wait_s: float | None
    shown: str
    """The file, as the person named it."""


def run_apply(places: Sequence[Place], wishes: ApplyWishes, *, is_json: bool) -> int:
    """Applies to each cluster in turn; the worst exit code. The others are tried where one fails."""
    records: list[dict[str, Any]] = []
    worst = 0
    for place in places:
        try:
            code, record = _apply_to(place, wishes)
        except PenstockError as error:
            if len(places) == 1:
                raise
            print_error(error)
            code, record = error.exit_code, {"cluster": place.name, "error": error.message}
        worst = max(worst, code)
        records.append(record)
    if is_json:
        print_records(records)
    return worst


def _apply_to(place: Place, wishes: ApplyWishes) -> tuple[int, dict[str, Any]]:
    with comparing():
        plan, where, namespace = in_loop(lambda: _planned(place, wishes.options), resumes="Nothing was changed.")
    say(f"{where}:")
    for note in plan.notes:
        warn(note)
    show_plan(plan, literal_keys(place.site))

    def record(outcome: Outcome) -> dict[str, Any]:
        return outcome_record(place.name, namespace, outcome, is_dry_run=wishes.is_dry_run)

    if plan.problems:
        say(f"nothing was changed: {summary_words(plan)}")
        return 1, record(Outcome(plan=plan))
    if wishes.is_dry_run:
        say(f"would be done: {summary_words(plan)}" if plan.writes else "nothing to change")
        return 0, record(Outcome(plan=plan))
    if plan.writes:
        say(f"to do: {summary_words(plan)}")
    if plan.endings and not wishes.is_agreed and not agreed(f"{len(plan.endings)} objects are deleted. Go on?"):
        say("nothing was changed")
        return 1, record(Outcome(plan=plan))
    resumes = f"What was written stays; `penstock apply {wishes.shown}` goes on from there."
    outcome = in_loop(lambda: _carried_out(place, plan, wishes), resumes=resumes)
    return _told(outcome), record(outcome)


async def _planned(place: Place, options: Options) -> tuple[ApplyPlan, str, str]:
    async with reached(place) as here:
        where = f"fleet {here.target.fleet} in namespace {here.target.namespace} of {here.api.context or here.api.url}"
        return await plan_apply(here.api, here.target, options), where, here.target.namespace


async def _carried_out(place: Place, plan: ApplyPlan, wishes: ApplyWishes) -> Outcome:
    async with reached(place) as here:
        with ApplyScreen().live() as screen:
            return await carry_out(
                here.api, here.target, plan, options=wishes.options, observer=screen, wait_s=wishes.wait_s
            )


def _told(outcome: Outcome) -> int:
    """Says how it ended; the exit code."""
    for row in outcome.unready:
        warn(f"{row.ref.short} is not ready: {row.readiness.reason}")
    for pod, lines in outcome.logs.items():
        say(f"last lines of pod {pod}:")
        for line in lines.splitlines():
            say(f"    {line}")
    if outcome.is_ready is False:
        why = "the time is up" if outcome.is_timeout else "something failed"
        say(f"not ready: {why}. Mend it and apply again: it goes on from here")
        return 1
    if not outcome.written:
        say("nothing to change" + ("; all is ready" if outcome.is_ready else ""))
    elif outcome.is_ready:
        say("applied, and ready")
    else:
        say("applied; `penstock wait` tells when it is ready")
    return 0


def agreed(question: str) -> bool:
    """Asks a person; where nobody can answer, refuses.

    Raises:
        Exit: 2, stdin is no terminal.
    """
    if not sys.stdin.isatty():
        say(f"{question} Nobody is there to say: say --yes if it is meant")
        raise typer.Exit(2)
    return typer.confirm(question, err=True)


def run_diff(places: Sequence[Place], options: Options, *, is_json: bool) -> int:
    """Prints what an apply would change: 0 nothing, 1 something, 2 it cannot be said."""
    records: list[dict[str, Any]] = []
    worst = 0
    for place in places:
        with comparing():
            plan, _, namespace = in_loop(lambda place=place: _planned(place, options))  # type: ignore[misc]
        secrets = literal_keys(place.site)
        for step in plan.problems:
            say(f"{step.action}: {step.ref}: {step.reason}")
            if step.hint:
                say(f"  hint: {step.hint}")
        for step in plan.writes:
            text = step_difference(step, secrets)
            if not is_json and text:
                print_text(text)
            elif step.action is Action.CHANGE:
                say(f"{step.ref}: {step.reason}")
        worst = max(worst, 2 if plan.problems else 1 if plan.writes else 0)
        records.append(outcome_record(place.name, namespace, Outcome(plan=plan), is_dry_run=True))
    if is_json:
        print_records(records)
    return worst
