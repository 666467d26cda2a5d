"""The first rule that matches holds; draws keep to weights and to the session; a class is only lowered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.admission.rules import Asked, RuleBook, compile_rules, wants_json
from penstock.spec import RuleSpec, TrafficClass

NAMES = {"small": "small", "fast": "small", "big": "big", "other": "other"}


def book(*rules: dict[str, Any], headers: tuple[str, ...] = ()) -> RuleBook:
    specs = [RuleSpec.model_validate({"name": f"rule-{place}"} | rule) for place, rule in enumerate(rules)]
    return RuleBook(compile_rules(specs, NAMES), headers)


def asked(**said: Any) -> Asked:
    base: dict[str, Any] = {"name": "fast", "model": "small", "headers": {}, "tenant": "acme"}
    return Asked(**(base | {"traffic_class": "interactive"} | said))


def model_of(rules: RuleBook, request: Asked, request_id: str = "r1", session: str = "") -> str:
    return rules.route(request, request_id, session).model


def test_without_a_rule_the_model_that_was_asked_for_answers() -> None:
    routed = book().route(asked(), "r1")
    assert (routed.model, routed.rule, routed.traffic_class, routed.shadow) == ("small", "", "interactive", "")


@pytest.mark.parametrize(
    ("match", "fits", "misses"),
    [
        ({"models": ["fast"]}, {"name": "fast"}, {"name": "small"}),
        ({"headers": {"X-Tier": "gold"}}, {"headers": {b"x-tier": b"gold"}}, {"headers": {b"x-tier": b"tin"}}),
        ({"tenants": ["acme", "beta"]}, {"tenant": "beta"}, {"tenant": "zeta"}),
        ({"classes": ["batch"]}, {"traffic_class": "batch"}, {"traffic_class": "interactive"}),
        ({"promptTokensMin": 100}, {"prompt_tokens": 100}, {"prompt_tokens": 99}),
        ({"promptTokensMax": 100}, {"prompt_tokens": 100}, {"prompt_tokens": 101}),
        ({"promptTokensMax": 100}, {"prompt_tokens": 0}, {"prompt_tokens": -1}),
        ({"hasTools": True}, {"has_tools": True}, {"has_tools": False}),
        ({"hasTools": False}, {"has_tools": False}, {"has_tools": True}),
        ({"responseFormat": "json"}, {"has_json": True}, {"has_json": False}),
        ({"responseFormat": "text"}, {"has_json": False}, {"has_json": True}),
    ],
)
def test_a_rule_is_for_what_its_match_says(match: dict[str, Any], fits: dict[str, Any], misses: dict[str, Any]) -> None:
    rules = book({"match": match, "to": [{"model": "big"}]})
    assert model_of(rules, asked(**fits)) == "big"
    assert model_of(rules, asked(**misses)) == "small"


def test_all_of_a_match_must_fit_and_the_first_rule_that_does_holds() -> None:
    rules = book(
        {"match": {"tenants": ["acme"], "hasTools": True}, "to": [{"model": "big"}]},
        {"match": {"tenants": ["acme"]}, "to": [{"model": "other"}]},
    )
    assert model_of(rules, asked(has_tools=True)) == "big"
    assert model_of(rules, asked()) == "other"


def test_the_headers_and_lengths_that_rules_look_at_are_told() -> None:
    rules = book({"match": {"headers": {"X-Tier": "gold"}, "promptTokensMin": 5}}, headers=("X-Session-Id",))
    assert rules.headers_wanted == {b"x-tier", b"x-session-id"}
    assert rules.reads_prompt
    assert not book({"match": {"tenants": ["a"]}}).reads_prompt


def test_targets_get_their_weights_share_and_a_request_keeps_its_own() -> None:
    rules = book({"to": [{"model": "small", "weight": 1}, {"model": "big", "weight": 3}]})
    drawn = [model_of(rules, asked(), f"request-{n}") for n in range(8_000)]
    # 6,000 expected; four standard deviations of a fair draw are 155
    assert abs(drawn.count("big") - 6_000) < 155
    assert drawn == [model_of(rules, asked(), f"request-{n}") for n in range(8_000)]


def test_a_session_stays_with_one_target() -> None:
    rules = book({"to": [{"model": "small"}, {"model": "big"}]})
    assert len({model_of(rules, asked(), f"r{n}", "session-1") for n in range(50)}) == 1
    assert len({model_of(rules, asked(), "r", f"session-{n}") for n in range(50)}) == 2


def test_a_target_that_the_caller_may_not_call_is_never_drawn() -> None:
    rules = book(
        {"to": [{"model": "big"}, {"model": "other"}]}, {"match": {"tenants": ["acme"]}, "to": [{"model": "small"}]}
    )
    only_other = frozenset({"other", "small"})
    assert {model_of(rules, asked(models=only_other), f"r{n}") for n in range(50)} == {"other"}
    assert model_of(rules, asked(models=frozenset({"small"}))) == "small"


@pytest.mark.parametrize(
    ("own", "to", "then"),
    [
        ("interactive", "batch", "batch"),
        ("batch", "interactive", "batch"),
        ("experimental", "batch", "experimental"),
        ("batch", "experimental", "experimental"),
    ],
)
def test_a_class_is_only_lowered(own: TrafficClass, to: TrafficClass, then: TrafficClass) -> None:
    assert book({"setClass": to}).route(asked(traffic_class=own), "r1").traffic_class == then


def test_a_share_of_requests_is_copied_and_never_to_the_model_that_answers() -> None:
    rules = book({"shadow": {"model": "big", "percent": 10}})
    copied = [rules.route(asked(), f"r{n}").shadow for n in range(10_000)]
    assert abs(copied.count("big") - 1_000) < 120  # four standard deviations
    assert book({"shadow": {"model": "fast"}}).route(asked(), "r").shadow == ""


@given(st.lists(st.floats(0.01, 1000), min_size=2, max_size=3), st.text(max_size=20))
def test_every_draw_is_one_of_the_targets(weights: list[float], request_id: str) -> None:
    models = ["small", "big", "other"]
    rules = book({"to": [{"model": models[place], "weight": weight} for place, weight in enumerate(weights)]})
    assert model_of(rules, asked(), request_id) in models[: len(weights)]


@pytest.mark.parametrize(
    ("fields", "is_json"),
    [
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"text": {"format": {"type": "json_schema"}}}, True),
        ({"output_config": {"format": {"type": "json_schema"}}}, True),
        ({"structured_outputs": {"json": {}}}, True),
        ({"structured_outputs": {"regex": "a"}}, False),
        ({"response_format": "json", "text": 3}, False),
        ({}, False),
    ],
)
def test_json_is_asked_for_in_several_words(fields: dict[str, Any], is_json: bool) -> None:
    assert wants_json(fields) == is_json
