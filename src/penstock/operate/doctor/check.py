"""Runs rules over evidence. Pure.

Guarantees: findings in the order of files and places, the same for the same input; none twice; none that a comment
waves through; a rule that fails on odd input says so as a problem and does not stop the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from penstock.errors import Problem
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Evidence
from penstock.operate.doctor.findings import Finding, Hit, Rule, Severity
from penstock.operate.doctor.reports import owner
from penstock.operate.doctor.table import RULES

__all__ = ["Report", "check"]

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one run found."""

    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...]
    """What could not be read, and rules that failed."""
    files: int
    objects: int
    ignored: int
    """Findings that a comment waves through."""

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def fails(self, fail_on: Severity | None) -> bool:
        """Whether anything is as grave as that, or graver; never for None."""
        return fail_on is not None and any(finding.severity.rank <= fail_on.rank for finding in self.findings)


def check(
    evidence: Evidence,
    *,
    rules: Iterable[Rule] = RULES,
    engine_version: str = "",
    least: Severity = Severity.INFO,
) -> Report:
    """What the rules find, of this severity and graver."""
    case = Case(evidence, engine_version)
    found: dict[tuple[object, ...], Finding] = {}
    problems = list(evidence.problems)
    ignored = 0
    for rule in rules:
        try:
            hits = list(rule.check(case))
        except Exception as error:
            message = f"rule {rule.id} failed on these files: {type(error).__name__}: {error}"
            problems.append(
                Problem(file="penstock doctor", line=0, column=0, field="", message=message, hint="report it")
            )
            continue
        for hit in hits:
            if _is_ignored(evidence, rule, hit):
                ignored += 1
                continue
            finding = _finding(rule, hit)
            if finding.severity.rank <= least.rank:
                found.setdefault((rule.id, hit.where, hit.message), finding)
    ordered = sorted(found.values(), key=lambda finding: finding.order)
    return Report(
        findings=tuple(_gathered(evidence, ordered)),
        problems=tuple(problems),
        files=evidence.files,
        objects=sum(resource.is_object for resource in evidence.resources),
        ignored=ignored,
    )


def _gathered(evidence: Evidence, findings: list[Finding]) -> Iterator[Finding]:
    """Replicas that say the same are one finding, at the first of them: a hundred pods wait for one reason."""
    makers = {
        f"{r.namespace}/Pod/{r.name}": f"{r.namespace}/{'/'.join(owner(r))}"
        for r in evidence.resources
        if r.kind == "Pod" and owner(r)[1]
    }
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        pod = finding.where.object.partition(" ")[0]
        same = _NUMBER.sub("#", finding.message.replace(pod, "").replace(pod.rpartition("/")[2], ""))
        is_one_of_many = finding.rule.is_live and pod in makers
        key = (finding.rule.id, makers[pod], same) if is_one_of_many else (str(id(finding)),)
        groups.setdefault(key, []).append(finding)
    for group in groups.values():
        first, more = group[0], len({finding.where.object.partition(" ")[0] for finding in group}) - 1
        if len(group) > 1 and more:
            what = "another pod" if more == 1 else f"{more} more pods"
            first = replace(
                first, message=f"{first.message} (and {what} of {makers[first.where.object.split(' ')[0]]})"
            )
        yield from [first] if more else group


def _finding(rule: Rule, hit: Hit) -> Finding:
    return Finding(
        rule=rule,
        severity=hit.severity or rule.severity,
        where=hit.where,
        message=hit.message,
        evidence=hit.evidence,
        fix=hit.fix or rule.fix,
        edits=hit.edits,
    )


def _is_ignored(evidence: Evidence, rule: Rule, hit: Hit) -> bool:
    lines = evidence.ignored.get(hit.where.file)
    if not lines:
        return False
    return any(rule.code in lines.get(line, ()) for line in (0, hit.where.line))
