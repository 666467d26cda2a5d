"""What `penstock up` shows while it runs: a live table for a terminal, a line per change for a file, JSON for programs.

Words and tables go to stderr; the address, key and command to paste, and JSON, go to stdout. A reader of stdout that
goes away, or stops reading, ends the output, not the fleet: everything is printed by a thread.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
from rich.console import Console
from rich.live import Live
from rich.text import Text

from penstock.cli.fleet_table import fleet_table
from penstock.cli.output import stderr_console
from penstock.cli.paste import curl_command, key_to_show
from penstock.cli.printer import Printer
from penstock.errors import PenstockError
from penstock.operate.events import ModelTarget, ReplicaChanged
from penstock.operate.replicas import Phase
from penstock.serve.state import rfc3339
from penstock.spec import Fleet

__all__ = ["JsonScreen", "PeopleScreen", "Screen"]

_REFRESH_S = 0.5
_TROUBLE = (Phase.BACKOFF, Phase.RECYCLING, Phase.KILLING)


class Screen(Protocol):
    """What happens, told to whoever started `up`."""

    def listening(self, announcement: dict[str, Any], fleet: Fleet) -> None:
        """The gateway listens."""

    def engines_chosen(self, targets: Sequence[ModelTarget]) -> None:
        """Which engine runs each model, and why."""

    def replica_changed(self, change: ReplicaChanged, log: Path) -> None:
        """A replica entered a phase."""

    def all_ready(self, seconds: float) -> None:
        """Every replica that is wanted is ready, for the first time."""

    def file_taken(self, notes: Sequence[str]) -> None:
        """The changed file holds now, but for the notes."""

    def file_refused(self, error: PenstockError) -> None:
        """The changed file is wrong; the last good one still holds."""

    def stopping(self, *, is_hurried: bool) -> None:
        """The end has begun."""

    def stopped(self) -> None:
        """Nothing runs any more."""

    def close(self) -> None:
        """Prints what still waits."""

    async def show(self, state: Callable[[], dict[str, Any]], dashboard: str) -> None:
        """Shows the state as long as it runs; until cancelled."""


class PeopleScreen:
    """Words, and on a terminal a live table below them."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console if console is not None else stderr_console()
        self._printer = Printer()
        self._told: dict[str, tuple[str, ...]] = {}
        """Last lines of each replica as told: a crash loop repeats them, we do not."""

    def listening(self, announcement: dict[str, Any], fleet: Fleet) -> None:
        self._say(f"fleet {announcement['fleet']}: the gateway listens; engines are starting")
        key = key_to_show(fleet)
        lines = [f"url        {announcement['url']}"]
        if key is not None:
            lines.append(f"key        {key}")
        lines += [f"dashboard  {announcement['dashboard']}", "", curl_command(fleet, announcement["url"]), ""]
        self._printer.do(partial(_print_data, "\n".join(lines)))

    def engines_chosen(self, targets: Sequence[ModelTarget]) -> None:
        for target in targets:
            if target.plan is None:
                self._say(f"{target.name}: {len(target.addresses)} endpoints that run elsewhere; nothing is started")
                continue
            count = f"{target.replicas} replica{'' if target.replicas == 1 else 's'}"
            self._say(f"{target.name}: {count} of the {target.plan.kind} engine: {target.plan.reason}")
            for note in target.plan.notes:
                self._say(f"{target.name}: {note}")

    def replica_changed(self, change: ReplicaChanged, log: Path) -> None:
        is_trouble = change.phase in _TROUBLE
        if self._console.is_terminal and not is_trouble:
            return  # the table shows it
        words = f"{change.id}: {change.phase.value}: {change.reason}"
        if change.is_crash_looping:
            words = f"{change.id}: crash loop: {change.reason}"
        if change.restart_in_s is not None:
            words += f"; starts again in {change.restart_in_s:g} s"
        if is_trouble:
            words += f"; log: {log}"
        if change.phase is Phase.RECYCLING:
            words += "\n  hint: if it only needs longer to load, raise engine.startTimeoutS; else its log tells why"
        self._say(words, "red" if is_trouble else None)
        if change.last_lines and self._told.get(change.id) != change.last_lines:
            self._told[change.id] = change.last_lines
            self._say("\n".join(f"    {line}" for line in change.last_lines))

    def all_ready(self, seconds: float) -> None:
        self._say(f"all replicas are ready after {seconds:.1f} s", "green")

    def file_taken(self, notes: Sequence[str]) -> None:
        self._say("the fleet file changed: taken")
        for note in notes:
            self._say(f"  {note}")

    def file_refused(self, error: PenstockError) -> None:
        self._say(f"the fleet file changed and is wrong; the last good one still holds:\n{error}", "red")

    def stopping(self, *, is_hurried: bool) -> None:
        self._say("stopping now" if is_hurried else "draining, then stopping (Ctrl-C again stops now)")

    def stopped(self) -> None:
        self._say("stopped")

    def close(self) -> None:
        self._printer.close()

    async def show(self, state: Callable[[], dict[str, Any]], dashboard: str) -> None:
        if not self._console.is_terminal:
            await asyncio.Event().wait()
        live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._printer.do(live.start)
        try:
            while True:
                if not self._printer.is_behind:
                    table = fleet_table(state(), dashboard)
                    self._printer.do(partial(live.update, table, refresh=True))
                await asyncio.sleep(_REFRESH_S)
        finally:
            self._printer.do(live.stop)

    def _say(self, words: str, style: str | None = None) -> None:
        self._printer.do(partial(self._console.print, Text(words, style=style or "")))


class JsonScreen:
    """One JSON object a line on stdout; the first one says where it listens."""

    def __init__(self) -> None:
        self._printer = Printer()

    def listening(self, announcement: dict[str, Any], fleet: Fleet) -> None:
        self._printer.do(partial(_print_data, orjson.dumps(announcement).decode()))

    def engines_chosen(self, targets: Sequence[ModelTarget]) -> None:
        for target in targets:
            plan = target.plan
            self._event(
                "engine",
                model=target.name,
                engine="external" if plan is None else plan.kind,
                reason="" if plan is None else plan.reason,
                notes=[] if plan is None else plan.notes,
                replicas=len(target.addresses) if plan is None else target.replicas,
            )

    def replica_changed(self, change: ReplicaChanged, log: Path) -> None:
        self._event(
            "replica",
            replica=change.id,
            model=change.model,
            phase=change.phase.value,
            reason=change.reason,
            attempt=change.attempt,
            is_crash_looping=change.is_crash_looping,
            restart_in_s=change.restart_in_s,
            last_lines=change.last_lines,
            log=str(log),
        )

    def all_ready(self, seconds: float) -> None:
        self._event("ready", after_s=round(seconds, 3))

    def file_taken(self, notes: Sequence[str]) -> None:
        self._event("file", is_taken=True, notes=list(notes))

    def file_refused(self, error: PenstockError) -> None:
        self._event("file", is_taken=False, error=str(error))

    def stopping(self, *, is_hurried: bool) -> None:
        self._event("stopping", is_hurried=is_hurried)

    def stopped(self) -> None:
        self._event("stopped")

    async def show(self, state: Callable[[], dict[str, Any]], dashboard: str) -> None:
        await asyncio.Event().wait()

    def close(self) -> None:
        self._printer.close()

    def _event(self, name: str, **fields: object) -> None:
        line = orjson.dumps({"event": name, "at": rfc3339(time.time()), **fields}).decode()
        self._printer.do(partial(_print_data, line))


def _print_data(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None  # nothing is flushed at exit
        raise
