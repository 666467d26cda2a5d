"""A rule that can never hold, or that changes nothing, is refused with its line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec import GatewaySpec
from penstock.spec.rules import rule_findings
from penstock.spec.traffic import MatchSpec, RuleSpec
from spec.fleets import HEAD, fleet_text, problems_of, the_problem

RULED = (
    HEAD
    + """\
spec:
  models:
    - {name: chat, aliases: [gpt]}
    - {name: large}
  gateway:
    rules:
      - name: tools
        match: {hasTools: true}
        to: [{model: large}]
      - name: search-tools
        match: {hasTools: true, tenants: [search]}
        to: [{model: chat}]
"""
)


def test_a_rule_behind_a_wider_one_is_told_with_its_line_and_the_one_that_takes_its_requests() -> None:
    problem = the_problem(RULED)

    assert (problem.line, problem.column, problem.field) == (13, 9, "spec.gateway.rules[1]")
    assert problem.message == "matches only requests that 'tools' (rules[0]) before it takes, so it never holds"
    assert problem.hint == "put the narrower rule first"


def test_two_rules_that_match_alike_are_told() -> None:
    problem = the_problem(RULED.replace(", tenants: [search]", ""))

    assert problem.message == "matches the same requests as 'tools' (rules[0]) before it, so it never holds"


def test_the_narrower_rule_first_is_right() -> None:
    spec = GatewaySpec.model_validate(
        {"rules": [{"name": "a", "match": {"hasTools": True, "tenants": ["x"]}}, {"name": "b", "match": {}}]}
    )

    assert [rule.name for rule in spec.rules] == ["a", "b"]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("", "models: [chat]"),
        ("models: [gpt, chat]", "models: [chat]"),
        ("headers: {x-a: b}", "headers: {x-a: b, x-c: d}"),
        ("classes: [batch, experimental, interactive]", "classes: [batch]"),
        ("classes: [batch, experimental, interactive]", ""),
        ("promptTokensMin: 5", "promptTokensMin: 6"),
        ("promptTokensMin: 0", "promptTokensMax: 6"),
        ("promptTokensMax: 5", "promptTokensMin: 1, promptTokensMax: 4"),
        ("responseFormat: json", "responseFormat: json, hasTools: false"),
    ],
)
def test_what_an_earlier_rule_takes_no_later_one_gets(wide: str, narrow: str) -> None:
    rules = f"rules: [{{name: a, match: {{{wide}}}}}, {{name: b, match: {{{narrow}}}}}]"

    assert the_problem(fleet_text(model="aliases: [gpt]", gateway=rules)).field == "spec.gateway.rules[1]"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"models": ["a"]}, {}),
        ({"models": ["a"]}, {"models": ["a", "b"]}),
        ({"headers": {"x": "1"}}, {"headers": {"x": "2"}}),
        ({"hasTools": True}, {"hasTools": False}),
        ({"hasTools": True}, {}),
        ({"promptTokensMax": 5}, {"promptTokensMin": 3}),
        ({"tenants": ["a"]}, {"classes": ["batch"]}),
        ({"classes": ["batch"]}, {"classes": ["interactive", "batch"]}),
    ],
)
def test_a_rule_that_gets_what_the_one_before_it_leaves_is_right(first: dict[str, Any], second: dict[str, Any]) -> None:
    rules = [RuleSpec(name=n, match=MatchSpec.model_validate(m)) for n, m in (("a", first), ("b", second))]

    assert list(rule_findings(rules)) == []


_MATCHES = st.builds(
    MatchSpec,
    models=st.lists(st.sampled_from("ab"), max_size=2),
    tenants=st.lists(st.sampled_from("xy"), max_size=2),
    classes=st.lists(st.sampled_from(["interactive", "batch", "experimental"]), max_size=3),
    headers=st.dictionaries(st.just("h"), st.sampled_from("12")),
    prompt_tokens_min=st.none() | st.integers(0, 2),
    prompt_tokens_max=st.none() | st.integers(2, 4),
    has_tools=st.none() | st.booleans(),
)
_REQUESTS = [
    (model, tenant, own, header, size, tools)
    for model in "abc"
    for tenant in "xyz"
    for own in ("interactive", "batch", "experimental")
    for header in (None, "1", "2")
    for size in range(6)
    for tools in (True, False)
]


def _fits(match: MatchSpec, request: tuple[Any, ...]) -> bool:
    model, tenant, own, header, size, tools = request
    return (
        (not match.models or model in match.models)
        and (not match.tenants or tenant in match.tenants)
        and (not match.classes or own in match.classes)
        and all(value == header for value in match.headers.values())
        and size >= (match.prompt_tokens_min or 0)
        and (match.prompt_tokens_max is None or size <= match.prompt_tokens_max)
        and match.has_tools in (None, tools)
    )


@given(_MATCHES, _MATCHES)
def test_a_rule_is_refused_exactly_when_the_one_before_it_takes_all_that_it_fits(a: MatchSpec, b: MatchSpec) -> None:
    """Tried on requests that hold every kind of value that the two can tell apart, and one more of each."""
    found = list(rule_findings([RuleSpec(name="a", match=a), RuleSpec(name="b", match=b)]))

    assert bool(found) == all(_fits(a, request) for request in _REQUESTS if _fits(b, request))


def test_a_name_that_two_rules_have_is_told() -> None:
    rules = "rules: [{name: r, match: {hasTools: true}}, {name: r, match: {hasTools: false}}]"

    problem = the_problem(fleet_text(gateway=rules))

    assert problem.field == "spec.gateway.rules[1].name"
    assert "'r' already names rules[0]" in problem.message


def test_a_target_that_is_listed_twice_is_told() -> None:
    problem = the_problem(fleet_text(gateway="rules: [{name: r, to: [{model: chat}, {model: chat, weight: 2}]}]"))

    assert problem.field == "spec.gateway.rules[0].to[1].model"
    assert "sum of their weights" in str(problem.hint)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("setClass: interactive", "is interactive, which is not lower than every request's"),
        ("setClass: batch, match: {classes: [experimental, batch]}", "not lower than batch and experimental"),
    ],
)
def test_a_rule_cannot_raise_a_class(rule: str, words: str) -> None:
    problem = the_problem(fleet_text(gateway=f"rules: [{{name: r, {rule}}}]"))

    assert problem.field == "spec.gateway.rules[0].setClass"
    assert words in problem.message


def test_a_rule_may_lower_the_class_of_some_that_it_matches() -> None:
    rule = RuleSpec(name="r", match=MatchSpec(classes=["interactive", "experimental"]), set_class="batch")

    assert list(rule_findings([rule])) == []


def test_a_rule_that_only_keeps_requests_from_later_rules_is_right() -> None:
    spec = GatewaySpec.model_validate(
        {"rules": [{"name": "keep", "match": {"tenants": ["x"]}}, {"name": "all", "setClass": "batch"}]}
    )

    assert spec.rules[0].to == []


def test_every_broken_rule_is_told_at_once() -> None:
    rules = "rules: [{name: a, setClass: interactive}, {name: a}, {name: b, to: [{model: chat}, {model: chat}]}]"

    fields = [problem.field for problem in problems_of(fleet_text(gateway=rules))]

    assert fields == [
        *("spec.gateway.rules[0].setClass", "spec.gateway.rules[1]", "spec.gateway.rules[1].name"),
        *("spec.gateway.rules[2]", "spec.gateway.rules[2].to[1].model"),
    ]
