"""Where secret values are, never the values themselves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from penstock.spec.base import SpecObject

__all__ = ["NonEmpty", "SecretKeyRef"]

NonEmpty = Annotated[str, Field(min_length=1)]


class SecretKeyRef(SpecObject):
    """One key of a Kubernetes Secret."""

    name: NonEmpty
    """Name of the Secret."""
    key: NonEmpty
    """Key inside it."""
