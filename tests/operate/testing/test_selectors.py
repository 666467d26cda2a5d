"""Selectors."""

from __future__ import annotations

import pytest

from penstock.operate.testing.selectors import (
    field_matches,
    label_selector_matches,
    labels_match,
    parse_fields,
    parse_labels,
)
from penstock.operate.testing.status import Refusal

LABELS = {"app": "web", "tier": "gpu"}


@pytest.mark.parametrize(
    ("text", "is_match"),
    [
        ("", True), ("app=web", True), ("app==web", True), ("app!=web", False), ("other!=x", True), ("app", True),
        ("!app", False), ("!other", True), ("app in (web, api)", True), ("app notin (web)", False),
        ("app=web,tier=cpu", False), ("app in (a,b),tier", False), ("x.io/y=z", False),
    ],
)  # fmt: skip
def test_labels_are_matched(text: str, is_match: bool) -> None:
    assert labels_match(parse_labels(text), LABELS) is is_match


def test_what_is_no_selector_is_refused() -> None:
    with pytest.raises(Refusal, match="unable to parse requirement"):
        parse_labels("a b c")
    with pytest.raises(Refusal, match="field label not supported"):
        parse_fields("spec.replicas=1", "deployments", "apps/v1", "Deployment")
    with pytest.raises(Refusal, match="invalid selector"):
        parse_fields("nothing", "pods", "v1", "Pod")


def test_events_are_selected_by_what_they_are_about() -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "k"}}

    def matches(text: str) -> bool:
        return field_matches(parse_fields(text, "events", "v1", "Event"), event)

    assert matches("involvedObject.name=p,involvedObject.kind=Pod")
    assert matches("source=k")
    assert not matches("involvedObject.name=q")


def test_a_label_selector_of_an_object_has_expressions() -> None:
    def expression(operator: str, *values: str) -> dict:
        return {"matchExpressions": [{"key": "app", "operator": operator, "values": list(values)}]}

    assert label_selector_matches(expression("In", "web"), LABELS)
    assert not label_selector_matches(expression("NotIn", "web"), LABELS)
    assert label_selector_matches(expression("Exists"), LABELS)
    assert not label_selector_matches(expression("DoesNotExist"), LABELS)
    assert label_selector_matches({}, LABELS)
    assert not label_selector_matches(None, LABELS)
    assert not label_selector_matches({"matchLabels": {"app": "x"}}, LABELS)
