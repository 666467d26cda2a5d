"""Findings as SARIF 2.1.0, for code scanning in CI. Pure.

Guarantees: each result names a rule of the run's own list; places are relative to the folder that was checked, with
forward slashes; what has no file (a live object, stdin) has a logical location instead.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from penstock import __version__
from penstock.operate.doctor.check import Report
from penstock.operate.doctor.findings import PAGE_URL, Finding, Rule, Severity

__all__ = ["sarif"]

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(report: Report, rules: tuple[Rule, ...]) -> dict[str, Any]:
    """The log of one run."""
    places = {rule.id: place for place, rule in enumerate(rules)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "penstock doctor",
                        "version": __version__,
                        "informationUri": PAGE_URL,
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            {"level": "warning", "message": {"text": str(problem)}} for problem in report.problems
                        ],
                    }
                ],
                "results": [_result(finding, places[finding.rule.id]) for finding in report.findings],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")[1:]),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.consequence},
        "help": {"text": rule.fix, "markdown": rule.fix},
        "helpUri": rule.url,
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["live" if rule.is_live else "configuration", *(f"guide-{row}" for row in rule.rows)]},
    }


def _result(finding: Finding, place: int) -> dict[str, Any]:
    where = finding.where
    location: dict[str, Any] = {}
    if where.file and not where.file.startswith("<"):
        path = PurePath(where.file)
        uri = path.as_uri() if path.is_absolute() else path.as_posix()
        physical: dict[str, Any] = {"artifactLocation": {"uri": uri.replace(" ", "%20")}}
        if where.line:
            physical["region"] = {"startLine": where.line, "startColumn": where.column}
        location["physicalLocation"] = physical
    if where.object or not location:
        name = where.object or where.file or "stdin"
        location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "object"}]
    text = f"{finding.message}. {finding.rule.consequence} Fix: {finding.fix}"
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": place,
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [location],
    }
