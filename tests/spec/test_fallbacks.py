"""Fallbacks lead to somebody else who is there, and come to an end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec.fallbacks import Fallbacks, fallback_findings
from penstock.spec.traffic import FallbackSpec
from spec.fleets import HEAD, fleet_text, the_problem


def test_a_cycle_is_told_whole_with_the_line_that_closes_it() -> None:
    text = (
        HEAD
        + """\
spec:
  models:
    - name: a
      fallbacks: [{model: b}]
    - name: b
      aliases: [bee]
      fallbacks: [{model: c}]
    - name: c
      fallbacks: [{model: a}]
"""
    )

    problem = the_problem(text)

    assert (problem.line, problem.column, problem.field) == (12, 27, "spec.models[2].fallbacks[0].model")
    assert problem.message == "leads back to where it began: a → b → c → a"
    assert "take one of these fallbacks out" in str(problem.hint)


def test_a_cycle_through_an_alias_is_a_cycle() -> None:
    problem = the_problem(
        fleet_text(model="aliases: [gpt], fallbacks: [{model: b}]", models="{name: b, fallbacks: [{model: gpt}]}")
    )

    assert problem.message == "leads back to where it began: chat → b → chat"


@pytest.mark.parametrize("name", ["chat", "gpt", "lora"])
def test_a_model_is_no_fallback_of_itself_by_any_of_its_names(name: str) -> None:
    model = f"aliases: [gpt], adapters: [{{name: lora, source: x/y}}], fallbacks: [{{model: {name}}}]"

    problem = the_problem(fleet_text(model=model))

    assert problem.field == "spec.models[0].fallbacks[0].model"
    assert f"is {name!r}, which is this model" in problem.message


@pytest.mark.parametrize(
    ("providers", "hint"),
    [
        ("", "add it: `gateway: {providers: [{name: open-ai, url: https://HOST/v1}]}`"),
        ("providers: [{name: openai, url: 'https://h/v1'}]", "did you mean 'openai'?"),
        ("providers: [{name: zz, url: 'https://h/v1'}, {name: yy, url: 'https://i/v1'}]", "providers here: yy, zz"),
    ],
)
def test_a_provider_that_is_not_there_is_told_with_what_is(providers: str, hint: str) -> None:
    problem = the_problem(fleet_text(model="fallbacks: [{provider: open-ai}]", gateway=providers))

    assert problem.field == "spec.models[0].fallbacks[0].provider"
    assert problem.message == "no provider is called 'open-ai'"
    assert problem.hint == hint


def test_a_fallback_that_is_said_twice_is_told() -> None:
    problem = the_problem(
        fleet_text(
            model="fallbacks: [{model: b}, {model: bee, when: [saturation]}]", models="{name: b, aliases: [bee]}"
        )
    )

    assert problem.field == "spec.models[0].fallbacks[1]"
    assert "a second time" in problem.message


def test_one_provider_may_be_asked_for_two_of_its_models() -> None:
    spec = [FallbackSpec(provider="p", provider_model=name) for name in ("x", "y")]

    assert list(fallback_findings([Fallbacks(model="a", names=["a"], fallbacks=spec)], ["p"])) == []


def test_a_chain_of_a_thousand_models_needs_no_deep_stack() -> None:
    chain = [Fallbacks(model=str(n), names=[str(n)], fallbacks=[FallbackSpec(model=str(n + 1))]) for n in range(2_000)]
    ring = [*chain, Fallbacks(model="2000", names=["2000"], fallbacks=[FallbackSpec(model="0")])]

    assert list(fallback_findings(chain, [])) == []
    assert len(list(fallback_findings(ring, []))) == 1


@given(st.dictionaries(st.integers(0, 5), st.lists(st.integers(0, 5), unique=True, max_size=3), max_size=6))
def test_a_cycle_is_told_exactly_when_some_model_can_be_reached_from_itself(edges: dict[int, list[int]]) -> None:
    edges = {start: [end for end in ends if end != start] for start, ends in edges.items()}
    models = [
        Fallbacks(model=str(n), names=[str(n)], fallbacks=[FallbackSpec(model=str(end)) for end in edges.get(n, ())])
        for n in range(6)
    ]

    found = list(fallback_findings(models, []))

    reach = {(start, end) for start, ends in edges.items() for end in ends}
    for _ in range(6):
        reach |= {(a, d) for a, b in reach for c, d in reach if b == c}
    assert bool(found) == any(start == end for start, end in reach)
    for finding in found:
        way = [int(name) for name in finding.message.removeprefix("leads back to where it began: ").split(" → ")]
        assert way[0] == way[-1]
        assert all(end in edges[start] for start, end in pairwise(way))
