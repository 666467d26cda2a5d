"""How clients outside the cluster reach the gateway."""

from __future__ import annotations

import pytest

from penstock.spec.loader import load_fleet
from spec.fleets import fleet_text, the_problem


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("{host: llm.example.com}", "", "without the `gateway`"),
        ("{host: llm.example.com, gateway: infra/public, tlsSecret: cert}", ".tlsSecret", "kind: ingress"),
        ("{kind: ingress, host: llm.example.com, gateway: public}", ".gateway", "not for `kind: ingress`"),
        ("{host: 'https://llm.example.com', gateway: public}", ".host", "host name"),
    ],
)
def test_a_way_in_that_cannot_be_is_told(text: str, field: str, words: str) -> None:
    problem = the_problem(fleet_text(gateway=f"expose: {text}"))

    assert problem.field == f"spec.gateway.expose{field}"
    assert words in problem.message


def test_two_gateways_let_a_node_go_away_unnoticed() -> None:
    assert load_fleet(fleet_text(), "f").spec.gateway.scale.min_replicas == 2


def test_there_are_not_more_gateways_at_least_than_at_most() -> None:
    problem = the_problem(fleet_text(gateway="scale: {minReplicas: 4, maxReplicas: 3}"))

    assert problem.field == "spec.gateway.scale.maxReplicas"
