"""What every object of the fleet file shares: camelCase names, no unknown fields, immutable once read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

__all__ = ["SpecObject"]


class SpecObject(BaseModel):
    """Base of all fleet-file objects."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )
