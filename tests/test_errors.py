"""The error tree: each error reads as text for a person and knows its exit code."""

from __future__ import annotations

import pytest

from penstock.errors import PenstockError, Problem, SpecError, StartError, UsageError


@pytest.mark.parametrize(("kind", "code"), [(PenstockError, 1), (StartError, 1), (UsageError, 2)])
def test_an_error_knows_its_exit_code(kind: type[PenstockError], code: int) -> None:
    assert kind("it broke").exit_code == code


def test_an_error_reads_as_its_message_and_its_hint() -> None:
    assert str(PenstockError("it broke")) == "it broke"
    assert str(PenstockError("it broke", hint="mend it")) == "it broke\n  hint: mend it"


def test_a_problem_reads_as_its_place_and_its_words() -> None:
    problem = Problem(file="f.yaml", line=3, column=5, field="spec.x", message="is odd", hint="make it even")

    assert str(problem) == "f.yaml:3:5: spec.x: is odd\n  hint: make it even"


def test_a_problem_without_a_place_names_the_file() -> None:
    assert str(Problem(file="f.yaml", line=0, column=0, field="", message="is empty")) == "f.yaml: is empty"


def test_a_wrong_file_carries_every_problem_and_is_a_usage_error() -> None:
    problems = [Problem(file="f", line=n, column=1, field="", message=f"m{n}") for n in (1, 2)]
    error = SpecError(problems)

    assert error.problems == tuple(problems)
    assert error.exit_code == 2
    assert str(error) == "f:1:1: m1\nf:2:1: m2"
