"""What all objects of the fleet file share."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from penstock.spec.base import Finding, Refusal, SpecObject


class Example(SpecObject):
    some_field: int
    """A field."""


def test_names_are_camel_case_in_the_file_and_snake_case_in_code() -> None:
    assert Example.model_validate({"someField": 1}) == Example(some_field=1)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="other"):
        Example.model_validate({"someField": 1, "other": 2})


def test_an_object_does_not_change_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example(some_field=1).some_field = 2  # type: ignore[misc]


def test_the_docstring_under_a_field_is_its_description() -> None:
    assert Example.model_fields["some_field"].description == "A field."


def test_a_refusal_says_every_finding() -> None:
    refusal = Refusal([Finding(at=("a",), message="is odd"), Finding(at=("b", 0), message="is even")])

    assert str(refusal) == "is odd; is even"
    assert [finding.at for finding in refusal.findings] == [("a",), ("b", 0)]
