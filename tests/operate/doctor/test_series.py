"""What a query reads and gives."""

from __future__ import annotations

import pytest

from penstock.operate.doctor.promql import Expr, parse
from penstock.operate.doctor.series import (
    gives_one_series,
    metric_names,
    outer_aggregate,
    rated_gauges,
    selectors,
    unguarded_ratios,
)


def tree(query: str) -> Expr:
    expr = parse(query)
    assert expr is not None
    return expr


@pytest.mark.parametrize(
    ("query", "is_one"),
    [
        ("sum(x)", True),
        ("x", False),
        ("sum by (pod) (x)", False),
        ("sum(x) + sum(y)", True),
        ("sum(x) or vector(0)", True),
        ("avg_over_time(x[1m])", False),
        ("max(avg_over_time(x[1m])) / 5", True),
        ("histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))", True),
        ("histogram_quantile(0.9, rate(x_bucket[5m]))", False),
        ("topk(1, x)", True),
        ("topk(3, x)", False),
        ("scalar(x)", True),
        ("clamp_max(sum(x), 10)", True),
        ("x / sum(y)", False),
    ],
)
def test_how_many_series_it_gives(query: str, is_one: bool) -> None:
    assert gives_one_series(tree(query)) is is_one


@pytest.mark.parametrize(
    ("query", "is_bare"),
    [
        ("sum(rate(a[5m])) / sum(rate(b[5m]))", True),
        ("1 - sum(rate(a[5m])) / sum(rate(b[5m]))", True),
        ("(sum(rate(a[5m])) / sum(rate(b[5m]))) > 0.1", True),
        ("sum(rate(a[5m])) / clamp_min(sum(rate(b[5m])), 1)", False),
        ("sum(rate(a[5m])) / (sum(rate(b[5m])) > 0)", False),
        ("sum(rate(a[5m])) / (sum(rate(b[5m])) + 1)", False),
        ("sum(rate(a[5m])) / sum(rate(b[5m])) and sum(rate(b[5m])) > 1", False),
        ("sum(rate(a[5m])) / (sum(rate(b[5m])) or vector(1))", False),
        ("sum(a) / 100", False),
        ("sum(rate(a[5m])) / count(up)", False),
    ],
)
def test_a_ratio_needs_a_guard_where_its_denominator_is_a_rate(query: str, is_bare: bool) -> None:
    assert unguarded_ratios(tree(query)) is is_bare


def test_metrics_are_named_once_in_order() -> None:
    assert metric_names(tree("b + a + b")) == ["b", "a"]
    assert [s.name for s in selectors(tree("b + a + b"))] == ["b", "a", "b"]


def test_only_gauges_must_not_be_rated() -> None:
    assert rated_gauges(tree("rate(vllm:num_requests_waiting[1m])")) == [("rate", "vllm:num_requests_waiting")]
    assert rated_gauges(tree("rate(vllm:generation_tokens_total[1m]) + rate(unknown[1m])")) == []


def test_the_outer_aggregation_is_seen_through_functions_and_numbers() -> None:
    found = outer_aggregate(tree("clamp_max(ceil(2 * sum(x)), 5)"))

    assert found is not None
    assert found.name == "sum"
    assert outer_aggregate(tree("x")) is None
