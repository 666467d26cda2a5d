# ruff: noqa: E501 — manifests in one text
"""Metric names and queries: bad ones are found, good ones left alone."""

from __future__ import annotations

import pytest

from operate.doctor.faults import METRICS, Fault, assert_found_alone, codes, examined


@pytest.mark.parametrize("fault", METRICS, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def rule(expr: str) -> str:
    return f"groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: {expr}\n"


@pytest.mark.parametrize(
    "expr",
    [
        "sum(avg_over_time(vllm:num_requests_waiting[1m])) > 20",
        "histogram_quantile(0.95, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m]))) > 2",
        "100 * max(vllm:kv_cache_usage_perc) > 90",
        "sum(increase(vllm:generation_tokens_total[1h])) > 0",
        "vllm:ttft:p95 > 2",
        "deriv(vllm:num_requests_waiting[10m]) > 0",
        "absent(vllm:num_requests_running)",
        'sum(rate(a_total{code="500"}[5m])) / (sum(rate(a_total[5m])) > 0) > 0.1',
        'sum(rate(a_total{code="500"}[5m])) / sum(rate(a_total[5m])) > 0.1 and sum(rate(a_total[5m])) > 1',
        "sum(vllm:num_requests_running) by (pod) / on(pod) group_left kube_pod_info > 1",
        "not promql at all (",
    ],
)
def test_a_good_query_is_left_alone(expr: str) -> None:
    assert codes(examined(rule(f"'{expr}'" if "'" not in expr else expr), "a.yaml")) == []


def test_a_name_that_a_rule_of_the_evidence_records_exists() -> None:
    text = "groups:\n  - rules:\n      - {record: vllm_load, expr: sum(vllm:num_requests_running)}\n      - {alert: A, expr: vllm_load > 5}\n"

    assert codes(examined(text, "a.yaml")) == []


def test_a_panel_of_a_dashboard_is_read() -> None:
    text = (
        '{"panels": [{"targets": [{"refId": "A", "expr": "sum(rate(vllm:num_requests_running[$__rate_interval]))"}]}]}'
    )

    assert codes(examined(text, "board.json")) == ["PS006"]


def test_the_objective_s_own_buckets_are_known_where_the_engine_sets_them() -> None:
    text = rule("'sum(rate(vllm:time_to_first_token_seconds_bucket{le=\"0.4\"}[5m])) < 1'")

    assert codes(examined(text, "a.yaml")) == ["PS050"]
    assert codes(examined(f"{text}---\nargs: [--custom-histogram-buckets, '{{}}']\n", "a.yaml")) == []
