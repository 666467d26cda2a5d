"""The rule on our own fleet files: what the loader says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.errors import SpecError
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.findings import Hit, Rule, Severity, Where
from penstock.spec.loader import load_fleet

__all__ = ["RULES"]


def _invalid(case: Case) -> Iterator[Hit]:
    for resource in case.kind("Fleet"):
        if not resource.api_version.startswith("penstock.dev/") or not resource.lines or resource.base:
            continue
        text = "\n".join(resource.lines)
        if text.count("\nkind:") + text.startswith("kind:") > 1:
            continue  # several documents: the loader wants a file for each
        try:
            load_fleet(text, resource.file)
        except SpecError as error:
            for problem in error.problems:
                where = Where(file=resource.file, line=problem.line, column=problem.column, object=resource.title)
                message = f"{problem.field}: {problem.message}" if problem.field else problem.message
                yield Hit(where=where, message=message, evidence=problem.field, fix=problem.hint or "")


RULES = (
    Rule(
        id="PS152-fleet-file",
        title="The fleet file is wrong",
        severity=Severity.ERROR,
        rows=(),
        consequence="Penstock refuses the file; nothing is rendered or started from it.",
        fix="`penstock spec check FILE` tells the same; docs/fleet-file.md has every field.",
        check=_invalid,
    ),
)
