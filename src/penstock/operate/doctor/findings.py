"""What a rule is and what it finds. Pure values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from penstock.spec.edits import Edit

if TYPE_CHECKING:
    from penstock.operate.doctor.case import Case

__all__ = ["PAGE_URL", "Finding", "Hit", "Rule", "Severity", "Where"]

PAGE_URL = "https://penstock.dev/doctor"
"""Where the rules' page is read; a rule's anchor on it is its id."""


class Severity(StrEnum):
    """error: it does not work, or breaks for certain. warning: it hurts when something else happens. info: could be
    better, or is said wrongly."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return (Severity.ERROR, Severity.WARNING, Severity.INFO).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place in a file, or an object of a cluster; lines and columns from 1, 0 where there are none."""

    file: str = ""
    line: int = 0
    column: int = 0
    object: str = ""
    """`namespace/Kind/name`, or what else tells a person which one; "" where only the file is known."""

    def __str__(self) -> str:
        if not self.file:
            return self.object
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What a rule's function yields: the engine makes a `Finding` of it."""

    where: Where
    message: str
    """What is wrong, with the names and numbers of this case."""
    evidence: str = ""
    """The text that shows it; never a secret."""
    fix: str = ""
    """What to do here, where the rule's own words can be made more exact."""
    severity: Severity | None = None
    """Where this case is less grave than the rule."""
    edits: tuple[Edit, ...] = ()
    """Edits of the file that mend it for certain; empty where a person must decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that goes wrong, and the function that sees it."""

    id: str
    """`PS002-disable-log-requests`: the number is stable, the words are for people."""
    title: str
    severity: Severity
    rows: tuple[int, ...]
    """Rows of the field guides that it answers; empty for what the guides' troubleshooting lists ask or we add."""
    consequence: str
    fix: str
    check: Callable[[Case], Iterable[Hit]] = field(repr=False)
    is_live: bool = False
    """Needs what only a cluster, its dump or a log shows."""

    @property
    def code(self) -> str:
        """The number alone: `PS002`."""
        return self.id.split("-", 1)[0]

    @property
    def url(self) -> str:
        return f"{PAGE_URL}#{self.id.lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found at one place."""

    rule: Rule
    severity: Severity
    where: Where
    message: str
    evidence: str
    fix: str
    edits: tuple[Edit, ...] = ()

    @property
    def order(self) -> tuple[str, int, int, str, str, str]:
        """By file, place and rule: the same for the same input."""
        return (self.where.file, self.where.line, self.where.column, self.rule.id, self.where.object, self.message)
