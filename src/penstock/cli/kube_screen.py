"""What a person sees of an apply: the plan, its differences, and a live table while objects become ready.

On a terminal a table that is drawn anew; else a line whenever something changes. All of it on stderr.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from penstock.cli.output import print_json, say, stderr_console
from penstock.operate.apply.comparison import difference
from penstock.operate.apply.objects import Ref
from penstock.operate.apply.planning import Action, ApplyPlan, Step

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from penstock.operate.io.kubernetes.applying import Outcome
    from penstock.operate.io.kubernetes.waiting import WaitingRow

__all__ = [
    "ApplyScreen",
    "comparing",
    "outcome_record",
    "plan_record",
    "print_records",
    "show_plan",
    "step_difference",
    "summary_words",
]

_SIGNS = {
    Action.CREATE: "+",
    Action.CHANGE: "~",
    Action.REPLACE: "±",
    Action.PRUNE: "-",
    Action.RELEASE: "<",
    Action.KEEP: "=",
    Action.CONFLICT: "!",
    Action.REFUSED: "!",
    Action.UNCHANGED: " ",
}
_VERBS = {
    Action.CREATE: "created",
    Action.CHANGE: "changed",
    Action.REPLACE: "made again",
    Action.PRUNE: "deleted",
    Action.RELEASE: "released",
}
_ROWS_MAX = 30
"""Rows of the live table: those that are not ready come first."""


def step_difference(step: Step, secrets: Sequence[str]) -> str:
    """The difference that a step makes, as a unified diff."""
    match step.action:
        case Action.CREATE:
            return difference(None, step.dry_run or step.wanted, secrets)
        case Action.PRUNE:
            return difference(step.live, None, secrets)
        case Action.REPLACE | Action.RELEASE:
            return difference(step.live, step.wanted, secrets)
        case _:
            return difference(step.live, step.dry_run, secrets)


def show_plan(plan: ApplyPlan, secrets: Sequence[str]) -> None:
    """Says what would be done to each object; unchanged ones are counted only."""
    for step in plan.steps:
        if step.action is Action.UNCHANGED:
            continue
        words = f": {step.reason}" if step.reason else ""
        say(f"  {_SIGNS[step.action]} {step.action} {step.ref}{words}")
        if step.hint:
            say(f"      hint: {step.hint}")
        if step.action is Action.CHANGE and step.fields:
            for line in step_difference(step, secrets).splitlines()[2:]:
                say(f"      {line}")


def summary_words(plan: ApplyPlan) -> str:
    """The plan in one line."""
    counts = [(action, plan.count(action)) for action in Action]
    return ", ".join(f"{count} {_counted(action)}" for action, count in counts if count) or "nothing"


def _counted(action: Action) -> str:
    match action:
        case Action.UNCHANGED:
            return "unchanged"
        case Action.CONFLICT:
            return "in conflict"
        case Action.REFUSED:
            return "refused"
        case _:
            return f"to {action}"


@contextlib.contextmanager
def comparing() -> Iterator[None]:
    """Shows that something goes on while a fleet is compared with its cluster: seconds, for a large one."""
    if not sys.stderr.isatty():
        yield
        return
    with stderr_console().status("comparing with the cluster"):
        yield


class ApplyScreen:
    """An observer that shows. Owns the live table while `live` is open."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._said: dict[Ref, str] = {}

    @contextlib.contextmanager
    def live(self) -> Iterator[ApplyScreen]:
        if not sys.stderr.isatty():
            yield self
            return
        from rich.live import Live  # noqa: PLC0415 — start-up time

        with Live(console=stderr_console(), transient=True, refresh_per_second=4) as shown:
            self._live = shown
            try:
                yield self
            finally:
                self._live = None

    def wrote(self, step: Step) -> None:
        self.says(f"  {step.ref.short} {_VERBS[step.action]}")

    def says(self, words: str) -> None:
        if self._live is not None:
            self._live.console.print(words, markup=False)
        else:
            say(words)

    def waits(self, rows: Sequence[WaitingRow]) -> None:
        if self._live is not None:
            self._live.update(_table(rows))
            return
        for row in rows:
            words = _state_words(row)
            if self._said.get(row.ref) != words and not (row.readiness.is_ready and row.ref not in self._said):
                say(f"  {row.ref.short}: {words}")
            if self._said.get(row.ref) != words:
                self._said[row.ref] = words


def _state_words(row: WaitingRow) -> str:
    found = row.readiness
    count = f" {found.ready}/{found.desired}" if found.desired is not None else ""
    return f"{found.state}{count}" + (f": {found.reason}" if found.reason and not found.is_ready else "")


def _table(rows: Sequence[WaitingRow]) -> Table:
    from rich import box  # noqa: PLC0415 — start-up time
    from rich.table import Table  # noqa: PLC0415 — start-up time
    from rich.text import Text  # noqa: PLC0415 — start-up time

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("object", "state", "ready", "since", "why"):
        table.add_column(name, overflow="fold")
    styles = {"ready": "green", "waiting": "yellow", "failed": "red"}
    for row in sorted(rows, key=lambda row: (row.readiness.is_ready, row.ref))[:_ROWS_MAX]:
        found = row.readiness
        count = f"{found.ready}/{found.desired}" if found.desired is not None else ""
        state = Text(found.state, style=styles[found.state])
        table.add_row(Text(row.ref.short), state, count, f"{row.since_s:.0f} s", Text(found.reason))
    return table


def plan_record(plan: ApplyPlan) -> list[dict[str, Any]]:
    """The plan for programs. Holds no values, so no secrets."""
    return [
        {
            "apiVersion": step.ref.api_version,
            "kind": step.ref.kind,
            "namespace": step.ref.namespace,
            "name": step.ref.name,
            "action": step.action.value,
            "reason": step.reason or None,
            "fields": list(step.fields),
        }
        for step in plan.steps
    ]


def outcome_record(cluster: str, namespace: str, outcome: Outcome, *, is_dry_run: bool) -> dict[str, Any]:
    """What came of it, for programs."""
    return {
        "cluster": cluster or None,
        "namespace": namespace,
        "is_dry_run": is_dry_run,
        "is_ready": outcome.is_ready,
        "written": len(outcome.written),
        "steps": plan_record(outcome.plan),
        "unready": [
            {"kind": row.ref.kind, "name": row.ref.name, "state": row.readiness.state, "reason": row.readiness.reason}
            for row in outcome.unready
        ],
        "notes": list(outcome.plan.notes),
    }


def print_records(records: Sequence[dict[str, Any]]) -> None:
    """One cluster as an object, several as a list."""
    print_json(records[0] if len(records) == 1 else list(records))
