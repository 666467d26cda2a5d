"""Runs simulations one after another under a progress bar on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from penstock.cli.output import stderr_console
from penstock.cli.simulate_asks import SimulateAsks
from penstock.simulate.fleet import FleetReport, Scenario, Traffic, draw_up, simulate

__all__ = ["run_all"]

_REFRESH_S = 0.25


def run_all(asked: SimulateAsks) -> list[FleetReport]:
    """The report of each scenario, in order."""
    with _bar() as progress:
        return [_run(asked, scenario, progress) for scenario in asked.scenarios]


def _run(asked: SimulateAsks, scenario: Scenario, progress: Progress) -> FleetReport:
    workload = asked.open_workload()
    watch = _Watch(asked, scenario, progress)
    traffic = Traffic(sessions=workload.sessions, duration_s=workload.duration_s, requests_max=workload.requests)
    report = draw_up(simulate(traffic, scenario, on_tick=watch.note))
    progress.remove_task(watch.task)
    return report


class _Watch:
    """Moves the bar, a few times a second at most."""

    def __init__(self, asked: SimulateAsks, scenario: Scenario, progress: Progress) -> None:
        self.task: TaskID = progress.add_task(scenario.words, total=1.0, words="")
        self._progress = progress
        self._requests = asked.requests_known
        self._seconds = scenario.until_s or asked.duration_s
        self._drawn_at = 0.0

    def note(self, now_s: float, ended: int) -> None:
        """The simulation reached a moment."""
        at = time.monotonic()
        if at - self._drawn_at < _REFRESH_S:
            return
        self._drawn_at = at
        shares = [0.0]
        if self._requests:
            shares.append(ended / self._requests)
        if self._seconds:
            shares.append(now_s / self._seconds)
        words = f"{ended:,} requests, {now_s / 3600:.1f} h" if now_s >= 3600 else f"{ended:,} requests, {now_s:.0f} s"
        self._progress.update(self.task, completed=min(1.0, max(shares)), words=words)
        self._progress.refresh()


@contextmanager
def _bar() -> Iterator[Progress]:
    console = stderr_console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield progress
