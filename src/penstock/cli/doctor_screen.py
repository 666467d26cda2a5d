"""Findings for people and for programs: grouped by file on a terminal, one record each in JSON."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from penstock.cli.output import console, say, warn
from penstock.operate.doctor import Finding, Report, Severity

__all__ = ["print_report", "record"]

_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def record(report: Report) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "findings": [_finding(finding) for finding in report.findings],
        "unread": report.problems,
        "files": report.files,
        "objects": report.objects,
        "ignored": report.ignored,
        "counts": {severity.value: report.count(severity) for severity in Severity},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    where = finding.where
    return {
        "rule": finding.rule.id,
        "severity": finding.severity.value,
        "file": where.file or None,
        "line": where.line or None,
        "column": where.column or None,
        "object": where.object or None,
        "message": finding.message,
        "evidence": finding.evidence,
        "consequence": finding.rule.consequence,
        "fix": finding.fix,
        "is_fixable": bool(finding.edits),
        "url": finding.rule.url,
    }


def print_report(report: Report) -> None:
    """Findings on stdout; what could not be read, and the sum, on stderr."""
    for problem in report.problems:
        warn(str(problem))
    out = console()
    for _, group in groupby(report.findings, key=lambda finding: finding.where.file):
        for finding in group:
            _print_finding(finding, out)
    say(_sum(report))


def _print_finding(finding: Finding, out: Any) -> None:
    from rich.text import Text  # noqa: PLC0415 — start-up time

    line = Text()
    line.append(f"{finding.where}  ", style="bold")
    line.append(finding.severity.value, style=_COLOURS[finding.severity])
    line.append(f"  {finding.rule.id}  {finding.message}")
    out.print(line)
    for name, text in (
        ("evidence", finding.evidence),
        ("consequence", finding.rule.consequence),
        ("fix", finding.fix + (" (--fix does it)" if finding.edits else "")),
    ):
        if text:
            out.print(Text(f"    {name}: ", style="dim").append(text, style="default"))


def _sum(report: Report) -> str:
    counts = [(report.count(s), s.value if s is Severity.INFO else f"{s.value}s") for s in Severity]
    told = ", ".join(f"{count} {name if count != 1 else name.rstrip('s')}" for count, name in counts if count)
    looked = f"{report.files} file{'' if report.files == 1 else 's'}, {report.objects} objects"
    waved = f", {report.ignored} ignored by comment" if report.ignored else ""
    return f"{told or 'nothing found'} ({looked}{waved})"
