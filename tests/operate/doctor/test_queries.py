"""Queries and adapter rules, wherever they lie."""

from __future__ import annotations

import pytest

from operate.doctor.faults import read
from penstock.operate.doctor import evidence_of_text
from penstock.operate.doctor.queries import adapter_rules, queries_of, recorded


def test_queries_know_who_asks() -> None:
    resources = evidence_of_text(read("stack.yaml"), "stack.yaml").resources
    queries = [query for resource in resources for query in queries_of(resource)]

    assert [q.asker for q in queries] == ["keda", "record", "alert", "alert", "alert"]
    assert recorded(queries) == {"vllm_slo:ttft_good:ratio_rate5m"}
    assert queries[0].metrics == ["vllm:num_requests_running", "vllm:num_requests_waiting"]


@pytest.mark.parametrize("target", ['{"refId": "A", "expr": "up"}', '{"expr": "up"}'])
def test_a_panel_s_query_is_found_in_a_dashboard(target: str) -> None:
    text = f'{{"panels": [{{"panels": [{{"targets": [{target}]}}]}}]}}'
    (resource,) = evidence_of_text(text, "a.json").resources

    assert [(q.asker, q.text) for q in queries_of(resource)] == [("panel", "up")]


def test_rules_of_the_adapter_are_found_in_its_config_map() -> None:
    resources = evidence_of_text(read("small.yaml"), "small.yaml").resources
    (rule,) = [rule for resource in resources for rule in adapter_rules(resource)]

    assert rule.name == "vllm_requests_in_flight"
    assert not rule.is_external


def test_a_name_made_by_a_pattern_is_not_known() -> None:
    text = "rules:\n  - seriesQuery: x\n    name: {matches: '(.*)_total', as: '${1}'}\n  - seriesQuery: 'y{a=\"b\"}'\n"
    (resource,) = evidence_of_text(text, "a.yaml").resources

    assert [rule.name for rule in adapter_rules(resource)] == ["", "y"]
