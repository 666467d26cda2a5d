"""What every object of the fleet file shares: camelCase names, no unknown fields, immutable once read.

Also the two small things that types use to speak to people: `Words` (what a value of this type looks like) and
`Refusal` (a rule across several fields is broken, and at which of them).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

__all__ = ["FieldPath", "Finding", "Refusal", "SpecObject", "Words"]

FieldPath = tuple[str | int, ...]
"""Where something is in the fleet file: field names as written there, and list places from 0."""


@dataclass(frozen=True, slots=True)
class Words:
    """Says what a type wants, in words that follow "must be". Stands beside a type in `Annotated`."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken rule. `at` is relative to the object whose rule it is; `message` never holds a secret."""

    at: FieldPath
    message: str
    hint: str | None = None


class Refusal(ValueError):
    """Raised by a validator whose rule spans several fields; carries every finding, so that all are told at once."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(finding.message for finding in self.findings))


class SpecObject(BaseModel):
    """Base of all fleet-file objects."""

    forms: ClassVar[str] = ""
    """What such an object looks like, as a hint; for objects of which people try many forms."""
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
