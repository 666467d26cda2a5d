"""What models and gateway say of each other: models that are there, budgets that count, ports that are free."""

from __future__ import annotations

import pytest

from penstock.spec.loader import load_fleet
from spec.fleets import fleet_text, problems_of, the_problem

PRICE = "price: {inputPerMillion: 1, outputPerMillion: 2}"


def tenant(more: str = "", key: str = "") -> str:
    end = f", {more}" if more else ""
    return f"tenants: [{{name: a, keys: [{{valueFrom: {{env: K}}{', ' + key if key else ''}}}]{end}}}]"


@pytest.mark.parametrize(
    ("gateway", "field"),
    [
        ("rules: [{name: r, match: {models: [chad]}}]", "rules[0].match.models[0]"),
        ("rules: [{name: r, to: [{model: chat}, {model: chad}]}]", "rules[0].to[1].model"),
        ("rules: [{name: r, shadow: {model: chad}}]", "rules[0].shadow.model"),
        (tenant("models: [chad]"), "tenants[0].models[0]"),
        (tenant("", "models: [chad]"), "tenants[0].keys[0].models[0]"),
    ],
)
def test_a_model_that_nothing_answers_to_is_told_with_the_nearest(gateway: str, field: str) -> None:
    problem = the_problem(fleet_text(gateway=gateway))

    assert (problem.line, problem.field) == (7, f"spec.gateway.{field}")
    assert problem.message == "no model answers to 'chad'"
    assert problem.hint == "did you mean 'chat'?"


def test_a_fallback_that_nothing_answers_to_is_told_with_the_nearest() -> None:
    problem = the_problem(fleet_text(model="fallbacks: [{model: smal}]", models="{name: small}"))

    assert problem.field == "spec.models[0].fallbacks[0].model"
    assert problem.hint == "did you mean 'small'?"


def test_rules_and_fallbacks_may_use_aliases_and_adapters() -> None:
    text = fleet_text(
        model="fallbacks: [{model: bee}]",
        models="{name: b, aliases: [bee], adapters: [{name: lora, source: x/y}]}",
        gateway="rules: [{name: r, match: {models: [bee]}, to: [{model: lora}], shadow: {model: bee}}]",
    )

    assert len(load_fleet(text, "f.yaml").spec.models) == 2


def test_a_key_may_not_call_what_its_tenant_may_not() -> None:
    problem = the_problem(fleet_text(models="{name: b}", gateway=tenant("models: [chat]", "models: [chat, b]")))

    assert problem.field == "spec.gateway.tenants[0].keys[0].models[1]"
    assert "'b', which the tenant may not call" in problem.message


@pytest.mark.parametrize(
    ("gateway", "field"),
    [
        (tenant("limits: {tokensPerMinute: 5}", "limits: {tokensPerMinute: 6}"), "limits.tokensPerMinute"),
        (tenant("limits: {concurrentRequests: 0}", "limits: {concurrentRequests: 1}"), "limits.concurrentRequests"),
        (tenant("class: batch", "class: interactive"), "class"),
    ],
)
def test_a_key_has_no_more_than_its_tenant(gateway: str, field: str) -> None:
    assert the_problem(fleet_text(gateway=gateway)).field == f"spec.gateway.tenants[0].keys[0].{field}"


@pytest.mark.parametrize(
    "gateway",
    [
        tenant("limits: {tokensPerMinute: 6}", "limits: {tokensPerMinute: 6}"),
        tenant("", "limits: {tokensPerMinute: 6}"),
        tenant("", "class: experimental"),
        tenant("limits: {requestsPerMinute: 0}", "limits: {requestsPerMinute: 0}"),
    ],
)
def test_a_key_may_have_as_much_or_less(gateway: str) -> None:
    assert load_fleet(fleet_text(gateway=gateway), "f.yaml").spec.gateway.tenants[0].name == "a"


@pytest.mark.parametrize(
    ("model", "models", "gateway", "field"),
    [
        ("", "", tenant("limits: {costPerMonth: 5}"), "limits"),
        ("", f"{{name: b, {PRICE}}}", tenant("models: [chat], limits: {costPerMonth: 5}"), "limits"),
        (PRICE, "{name: b}", tenant("", "models: [b], limits: {costPerMonth: 5}"), "keys[0].limits"),
        ("", "", tenant("limits: {costPerMonth: 5}", "limits: {costPerMonth: 5}"), "limits"),
    ],
)
def test_a_budget_that_nothing_counts_towards_is_refused(model: str, models: str, gateway: str, field: str) -> None:
    problem = the_problem(fleet_text(model=model, models=models, gateway=gateway))

    assert problem.field == f"spec.gateway.tenants[0].{field}.costPerMonth"
    assert "could never be used up" in problem.message
    assert "price: {inputPerMillion" in str(problem.hint)


def test_a_budget_counts_where_one_model_has_a_price() -> None:
    text = fleet_text(models=f"{{name: b, {PRICE}}}", gateway=tenant("limits: {costPerMonth: 5}"))

    assert load_fleet(text, "f.yaml").spec.gateway.tenants[0].limits.cost_per_month == 5


def test_cache_events_do_not_come_from_the_port_that_answers() -> None:
    endpoints = "endpoints: ['http://h:8000', 'http://h:5557']"

    problem = the_problem(fleet_text(model=endpoints, gateway="routing: {kvEventsPort: 5557}"))

    assert problem.field == "spec.gateway.routing.kvEventsPort"
    assert "models[0].endpoints[1] answers requests already" in problem.message
    assert load_fleet(fleet_text(model=endpoints, gateway="routing: {kvEventsPort: 5558}"), "f.yaml")


def test_everything_is_told_at_once() -> None:
    text = fleet_text(
        model="fallbacks: [{model: chat}, {provider: p}]",
        gateway="routing: {kvEventsPort: 80}, rules: [{name: r, to: [{model: x}]}]",
        models="{name: b, endpoints: ['http://h']}",
    )

    assert sorted(problem.field for problem in problems_of(text)) == [
        "spec.gateway.routing.kvEventsPort",
        "spec.gateway.rules[0].to[0].model",
        "spec.models[0].fallbacks[0].model",
        "spec.models[0].fallbacks[1].provider",
    ]
