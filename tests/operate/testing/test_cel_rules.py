"""CEL rules of custom resources."""

from __future__ import annotations

import pytest

from operate.testing.api import FLEETS, MERGE, fleet, with_fleets
from penstock.operate.testing.cel_rules import is_available, rule_causes, unrun
from penstock.operate.testing.schemas import CUSTOM, Shape

pytestmark = pytest.mark.skipif(
    not is_available(), reason="package common-expression-language, which evaluates the rules, is not installed"
)


def test_cel_rules_refuse_with_their_message() -> None:
    refused = with_fleets().refused("POST", FLEETS, fleet("a", replicas=10))

    assert refused["message"] == (
        'Fleet.penstock.dev "a" is invalid: spec: Invalid value: "object": a fleet has fewer than ten replicas'
    )


def test_cel_rules_of_transitions_compare_with_what_was() -> None:
    api = with_fleets()
    api.ok("POST", FLEETS, fleet("a", mode="manual"))

    refused = api.refused("PATCH", f"{FLEETS}/a", {"spec": {"mode": "auto"}}, kind=MERGE)

    assert refused["details"]["causes"][0]["message"] == 'Invalid value: "object": the mode stays'
    api.ok("PATCH", f"{FLEETS}/a", {"spec": {"replicas": 3}}, kind=MERGE)


def rules(*found: dict, **properties: dict) -> Shape:
    spec = {"type": "object", "properties": properties, "x-kubernetes-validations": list(found)}
    return Shape({"type": "object", "properties": {"spec": spec}}, {CUSTOM: True})


def test_a_rule_says_where_and_why() -> None:
    rule = {"rule": "self.n > 1", "messageExpression": "'n is ' + string(self.n)", "fieldPath": ".n"}
    forbidden = rule | {"reason": "FieldValueForbidden"}

    (cause,) = rule_causes({"spec": {"n": 1}}, None, rules(rule, n={"type": "integer"}), is_update=False)
    (other,) = rule_causes({"spec": {"n": 1}}, None, rules(forbidden, n={"type": "integer"}), is_update=False)

    assert (cause.field, cause.message) == ("spec.n", 'Invalid value: "object": n is 1')
    assert (other.reason, other.message) == ("FieldValueForbidden", "Forbidden: n is 1")


def test_a_rule_that_cannot_be_run_is_named_and_refuses_nothing() -> None:
    text = "self.n.isFunctionOfKubernetes()"

    assert rule_causes({"spec": {"n": 1}}, None, rules({"rule": text}, n={"type": "integer"}), is_update=False) == []
    assert text in unrun


def test_a_whole_number_in_a_number_field_compares_with_doubles() -> None:
    shape = rules({"rule": "self.n / 2.0 == 0.5"}, n={"type": "number"})

    assert rule_causes({"spec": {"n": 1}}, None, shape, is_update=False) == []
