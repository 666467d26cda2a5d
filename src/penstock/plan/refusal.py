"""What cannot work, in words: a value that planning returns instead of a plan. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.spec.base import FieldPath

__all__ = ["Refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason why the model cannot be planned as asked, with the numbers, and what to do."""

    about: str
    """Which part of the ask it is about: a key of `Ask.places`."""
    message: str
    hint: str = ""
    at: FieldPath = ()
    """Where it was said: in the file, below the model; or an option's name."""
