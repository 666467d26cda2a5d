"""The error tree: a class exists because somebody catches it.

    PenstockError            anything we say to a person; the CLI prints it and exits 1
    ├── UsageError           the command line or the fleet file is wrong; exit 2
    │   └── SpecError        a fleet file is wrong: carries every problem with file, line and column
    └── StartError           something that should run did not start (port in use, engine died)

Expected failures on the request path (limited, timeout, upstream gone) are values, not exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PenstockError", "Problem", "SpecError", "StartError", "UsageError"]


class PenstockError(Exception):
    """Something failed and a person should know.

    `message` says what happened, to what, and what it means; `hint` says what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(PenstockError):
    """The caller asked for something that cannot be: a wrong option or a wrong file."""

    exit_code = 2


class StartError(PenstockError):
    """A process or listener that should run did not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a file.

    `line` and `column` count from 1; 0 where the place is unknown. `field` is a path, as in `spec.models[0].name`.
    """

    file: str
    line: int
    column: int
    field: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class SpecError(UsageError):
    """A fleet file is wrong. `problems` holds each finding, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)
