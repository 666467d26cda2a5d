"""Reads a file of values that others wrote, and knows which of them nobody has taken. Pure.

Guarantees that every leaf of the file ends in exactly one note: carried, changed with a reason, or left out with one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.spec.base import FieldPath
from penstock.spec.document import Plain, dotted

__all__ = ["Ledger", "Note", "Outcome", "Values"]

Outcome = Literal["carried", "changed", "fixed", "left out", "proposed"]
"""`changed`: it means the same elsewhere, or could not stay; `fixed`: it was wrong and is mended; `proposed`: it would
be mended with `--fix`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of one value."""

    at: FieldPath
    """Where it stands in the file that was read."""
    outcome: Outcome
    message: str
    """Where it went, and why it changed."""

    @property
    def path(self) -> str:
        return dotted(self.at)


@dataclass(kw_only=True)
class Ledger:
    """Every note of one import; one for each place."""

    notes: list[Note] = field(default_factory=list)
    is_fixing: bool = False
    """Whether what is wrong is mended, or only said."""

    def note(self, at: FieldPath, outcome: Outcome, message: str) -> None:
        self.notes.append(Note(at=at, outcome=outcome, message=message))

    def mend(self, at: FieldPath, message: str) -> bool:
        """Says what is wrong; returns whether it is to be mended now."""
        self.note(at, "fixed" if self.is_fixing else "proposed", message)
        return self.is_fixing


class Values:
    """A mapping of the file. What is taken is noted by its taker; `left` is the rest."""

    def __init__(self, value: Plain, at: FieldPath, ledger: Ledger) -> None:
        self.value: dict[str, Plain] = value if isinstance(value, dict) else {}
        self.at = at
        self.ledger = ledger
        self._taken: set[str] = set()
        self._parts: list[Values] = []

    def __contains__(self, name: str) -> bool:
        return not _says_nothing(self.value.get(name))

    def take(self, name: str) -> Any:
        """The value of `name`, which its taker accounts for; None where it is absent or says nothing."""
        self._taken.add(name)
        value = self.value.get(name)
        return None if _says_nothing(value) else value

    def peek(self, name: str) -> Any:
        """The value of `name`, left for somebody else."""
        return self.value.get(name)

    def part(self, name: str) -> Values:
        """The mapping under `name`; an empty one where there is none."""
        self._taken.add(name)
        value = self.value.get(name)
        if not _says_nothing(value) and not isinstance(value, dict):
            self.leave(name, "it must be a mapping here")
        part = Values(value, (*self.at, name), self.ledger)
        self._parts.append(part)
        return part

    def parts(self, name: str) -> list[Values]:
        """The mappings listed under `name`."""
        self._taken.add(name)
        value = self.value.get(name)
        items = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
        found = [Values(item, (*self.at, name, place), self.ledger) for place, item in enumerate(items)]
        self._parts += found
        return found

    def carry(self, name: str, to: str) -> Any:
        """Takes a value as it is, and says where it went."""
        value = self.take(name)
        if value is not None:
            self.ledger.note((*self.at, name), "carried", to)
        return value

    def text(self, name: str, to: str) -> str | None:
        """The same for text; a number is written out."""
        value = self.carry(name, to)
        return None if value is None else str(value)

    def whole(self, name: str, to: str) -> int | None:
        """The same for a whole number, which may stand in quotes."""
        value = self.take(name)
        if value is None:
            return None
        try:
            number = int(str(value))
        except ValueError:
            self.leave(name, f"must be a whole number, not {value!r}")
            return None
        self.ledger.note((*self.at, name), "carried", to)
        return number

    def change(self, name: str, reason: str) -> None:
        self._taken.add(name)
        self.ledger.note((*self.at, name), "changed", reason)

    def leave(self, name: str, reason: str) -> None:
        self._taken.add(name)
        self.ledger.note((*self.at, name), "left out", reason)

    def leave_rest(self, reasons: dict[str, str], otherwise: str) -> None:
        """Notes everything that nobody took, here and below; `reasons` by the names here."""
        for name, value in self.value.items():
            if name not in self._taken and not _says_nothing(value):
                self.leave(name, reasons.get(name, otherwise))
        for part in self._parts:
            here = part.at[len(self.at)]
            part.leave_rest({}, reasons.get(str(here), otherwise))


def _says_nothing(value: Plain) -> bool:
    """Nothing, empty, or a mapping that holds only such."""
    if isinstance(value, dict):
        return all(_says_nothing(item) for item in value.values())
    return value is None or value in ("", [])


def leaves(value: Plain, at: FieldPath = ()) -> Iterator[FieldPath]:
    """Path of every value that says something; a list of plain values is one."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*at, name))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            yield from leaves(item, (*at, place))
    elif not _says_nothing(value):
        yield at
