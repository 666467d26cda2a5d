"""Fleet files for the tests of this folder: the smallest one, with parts put in."""

from __future__ import annotations

import pytest

from penstock.errors import Problem, SpecError
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: small}\n"


def fleet_text(*, model: str = "", gateway: str = "", models: str = "") -> str:
    """A fleet of the model `chat`. `model` and `gateway` are further fields in flow style, `models` further models."""
    first = f"    - {{name: chat{', ' + model if model else ''}}}\n"
    rest = "".join(f"    - {line}\n" for line in models.splitlines())
    end = f"  gateway: {{{gateway}}}\n" if gateway else ""
    return f"{HEAD}spec:\n  models:\n{first}{rest}{end}"


def problems_of(text: str) -> list[Problem]:
    """What is wrong with a file that is wrong."""
    with pytest.raises(SpecError) as caught:
        load_fleet(text, "f.yaml")
    return list(caught.value.problems)


def the_problem(text: str) -> Problem:
    """The one thing that is wrong with a file."""
    (problem,) = problems_of(text)
    return problem
