"""What `penstock doctor` does once it knows what is asked: read files and a cluster, check, print; or mend."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from penstock.cli.doctor_screen import print_report, record
from penstock.cli.output import print_json, print_text, say, stderr_console
from penstock.errors import UsageError
from penstock.operate.doctor import (
    Evidence,
    Mended,
    Report,
    Rule,
    Severity,
    check,
    evidence_of_text,
    joined,
    mend,
    sarif,
    unified_diff,
)
from penstock.operate.io.evidence import read_evidence

__all__ = ["Asked", "LiveAsked", "run"]

_BAR_FILES = 50
"""Files past which reading may take over two seconds and a bar is drawn."""
_TRIES = 3
"""For each request to a cluster: a kind that is not answered is said to be unread, and the rest is checked."""


_SILENT_S = 2.0
"""A bar is drawn for what takes longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAsked:
    """Which part of which cluster."""

    context: str | None
    namespace: str | None
    is_everywhere: bool
    fleet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One command line, checked."""

    paths: tuple[str, ...]
    rules: tuple[Rule, ...]
    engine_version: str
    least: str
    fail_on: str
    output: str
    live: LiveAsked | None = None

    @property
    def threshold(self) -> Severity | None:
        return None if self.fail_on == "never" else Severity(self.fail_on)

    def judge(self, evidence: Evidence) -> Report:
        least = Severity(self.least)
        return check(evidence, rules=self.rules, engine_version=self.engine_version, least=least)


def run(asked: Asked, *, is_fixing: bool, is_diff_only: bool, is_agreed: bool) -> int:
    """Does it; returns the exit code."""
    parts = [_read(asked.paths)] if asked.paths else []
    if asked.live is not None:
        parts.append(_read_cluster(asked.live))
    report = asked.judge(joined(parts))
    if is_fixing:
        return _fix(asked, report, is_diff_only=is_diff_only, is_agreed=is_agreed)
    _print(asked, report)
    return int(report.fails(asked.threshold))


def _print(asked: Asked, report: Report) -> None:
    if asked.output == "sarif":
        print_json(sarif(report, asked.rules))
    elif asked.output == "json":
        print_json(record(report))
    else:
        print_report(report)


def _read(paths: tuple[str, ...]) -> Evidence:
    """All evidence, with a bar on a terminal where there is much."""
    if not sys.stderr.isatty():
        return read_evidence(list(paths))
    from rich.progress import Progress  # noqa: PLC0415 — start-up time

    with Progress(console=stderr_console(), transient=True) as progress:
        task = progress.add_task("reading", total=None, visible=False)

        def tick(name: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, description=name, visible=total > _BAR_FILES)

        return read_evidence(list(paths), tick=tick)


def _read_cluster(live: LiveAsked) -> Evidence:
    """A cluster's evidence, with a bar on a terminal once it takes long.

    Raises:
        UsageError: no such context, no credentials.
        ApiFailure: the cluster does not answer, or nothing may be read.
    """
    from rich.progress import Progress  # noqa: PLC0415 — start-up time

    from penstock.cli.kube_target import in_loop  # noqa: PLC0415 — start-up time
    from penstock.operate.io.kubernetes.evidence import Scope, read_cluster  # noqa: PLC0415 — start-up time
    from penstock.operate.io.kubernetes.session import Patience, open_session  # noqa: PLC0415 — start-up time

    with Progress(console=stderr_console(), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("reading the cluster", total=None, visible=False)

        def tick(name: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, description=f"reading the cluster: {name}")

        async def work() -> Evidence:
            asyncio.get_running_loop().call_later(_SILENT_S, lambda: progress.update(task, visible=True))
            async with open_session(context=live.context, patience=Patience(tries=_TRIES)) as session:
                namespace = None if live.is_everywhere else live.namespace or session.namespace
                scope = Scope(namespace=namespace, fleet=live.fleet)
                return await read_cluster(session, scope, now=time.time(), tick=tick)

        return in_loop(work)


def _fix(asked: Asked, report: Report, *, is_diff_only: bool, is_agreed: bool) -> int:
    """Mends what can be; what is left decides the exit code."""
    mended = [found for file in _mendable(report) if (found := mend(file, _text(file), _judge_of(asked, file)))]
    if not mended:
        say("nothing that can be mended safely")
        _print(asked, report)
        return int(report.fails(asked.threshold))
    for found in mended:
        print_text(unified_diff(found).rstrip("\n"))
    if is_diff_only:
        return int(report.fails(asked.threshold))
    if not is_agreed and not _agrees(mended):
        say("nothing was changed")
        return int(report.fails(asked.threshold))
    for found in mended:
        _write(found)
        say(f"{found.file}: mended {len(found.findings)} finding{'' if len(found.findings) == 1 else 's'}")
    left = asked.judge(_read(asked.paths))
    _print(asked, left)
    return int(left.fails(asked.threshold))


def _mendable(report: Report) -> list[str]:
    """Files with an edit, stdin left out: it cannot be written back."""
    found = {f.where.file for f in report.findings if f.edits and f.where.file and not f.where.file.startswith("<")}
    return sorted(found)


def _judge_of(asked: Asked, file: str) -> Callable[[str], Report]:
    return lambda text: asked.judge(evidence_of_text(text, file))


def _text(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error


def _agrees(mended: list[Mended]) -> bool:
    if not sys.stdin.isatty():
        say("  hint: --yes writes without asking")
        return False
    return typer.confirm(f"write {len(mended)} file{'' if len(mended) == 1 else 's'}?", err=True)


def _write(found: Mended) -> None:
    """Writes the file in one step, with the mode that it had."""
    path = Path(found.file).resolve()
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
                stream.write(found.after)
            Path(name).chmod(path.stat().st_mode & 0o7777)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise UsageError(f"{found.file} cannot be written: {error.strerror or error}") from error
