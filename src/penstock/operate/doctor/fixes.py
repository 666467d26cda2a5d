"""Mends files by the edits that findings carry, as far as that is safe. Pure: text in, text out.

Guarantees: comments and layout stay; a round's result is read again and judged again, so an edit that made a file
unreadable, or did not end its finding, is never offered; doing it twice changes nothing more.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from penstock.operate.doctor.check import Report
from penstock.operate.doctor.findings import Finding
from penstock.spec.edits import apply

__all__ = ["Mended", "mend", "unified_diff"]

_ROUNDS_MAX = 20
"""Edits that overlap wait for the next round; more than this many on one place is a rule that never ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """One file before and after."""

    file: str
    before: str
    after: str
    findings: tuple[Finding, ...]
    """What it no longer has."""


def mend(file: str, text: str, check: Callable[[str], Report]) -> Mended | None:
    """The file mended; None where nothing of it can be. `check` judges a text as this file."""
    before = check(text)
    now, report = text, before
    for _ in range(_ROUNDS_MAX):
        edits = [edit for finding in report.findings if finding.where.file == file for edit in finding.edits]
        changed = apply(now, edits) if edits else now
        if changed == now:
            break
        after = check(changed)
        if len(after.problems) > len(report.problems) or len(after.findings) >= len(report.findings):
            break
        now, report = changed, after
    if now == text:
        return None
    left = [(f.rule.id, f.message) for f in report.findings]
    gone = tuple(f for f in before.findings if f.edits and (f.rule.id, f.message) not in left)
    return Mended(file=file, before=text, after=now, findings=gone)


def unified_diff(mended: Mended) -> str:
    """The change as `diff -u` shows it."""
    lines = difflib.unified_diff(
        mended.before.splitlines(keepends=True),
        mended.after.splitlines(keepends=True),
        fromfile=f"a/{mended.file.lstrip('/')}",
        tofile=f"b/{mended.file.lstrip('/')}",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
