"""A secret's place is named in exactly one way, wherever one stands."""

from __future__ import annotations

import pytest

from spec.fleets import fleet_text, the_problem


@pytest.mark.parametrize(
    ("source", "field", "words"),
    [
        ("{}", "", "says nothing about where the value is"),
        ("{env: A, secretKeyRef: {name: a, key: b}}", ".secretKeyRef", "keep one"),
        ("MY_TOKEN", "", "must be a mapping"),
        ("{value: in-clear-text}", ".value", "not a field"),
    ],
)
@pytest.mark.parametrize("at", ["adminTokenFrom", "store.passwordFrom"])
def test_a_source_is_one_place(at: str, source: str, field: str, words: str) -> None:
    store = f"store: {{url: 'postgresql://u@db/p', passwordFrom: {source}}}"
    problem = the_problem(fleet_text(gateway=store if at.startswith("store") else f"adminTokenFrom: {source}"))

    assert problem.field == f"spec.gateway.{at}{field}"
    assert words in problem.message
    assert "{env: NAME}" in str(problem.hint) or field == ".value"
    assert "in-clear-text" not in str(problem)
