"""PromQL as a tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.doctor.promql import Aggregate, Binary, Call, Number, Selector, children, parse, walk


def test_a_selector_has_its_matchers() -> None:
    assert parse('a:b{c="d", e=~"f|g"}[5m] offset 1h') == Selector(
        name="a:b", matchers=(("c", "=", "d"), ("e", "=~", "f|g")), is_range=True
    )
    assert parse('{__name__="x"}') == Selector(name="x", matchers=(("__name__", "=", "x"),))


def test_an_aggregation_has_its_grouping_on_either_side() -> None:
    before, after = parse("sum by (a, b) (x)"), parse("sum(x) by (a, b)")

    assert before == after == Aggregate(name="sum", args=(Selector(name="x"),), by=("a", "b"))


def test_operators_bind_as_prometheus_binds_them() -> None:
    one, two, three = Number(value=1), Number(value=2), Number(value=3)

    assert parse("1 + 2 * 3") == Binary(op="+", left=one, right=Binary(op="*", left=two, right=three))
    assert parse("1 - 2 - 3") == Binary(op="-", left=Binary(op="-", left=one, right=two), right=three)
    assert parse("1 ^ 2 ^ 3") == Binary(op="^", left=one, right=Binary(op="^", left=two, right=three))
    assert parse("1 > bool 2") == Binary(op=">", left=one, right=two, is_bool=True)


def test_a_subquery_is_a_call() -> None:
    assert parse("max_over_time(x[1h:5m])") == Call(
        name="max_over_time", args=(Call(name="subquery", args=(Selector(name="x"),)),)
    )


@pytest.mark.parametrize(
    "query",
    [
        "sum(rate(x[$__rate_interval]))",
        'x{job="$job", $filter}',
        "a / on(b) group_left(c) d",
        "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
        "histogram_quantile(0.9, sum(rate(x_bucket[5m])) by (le))",
        "x @ end() - -1",
        "# a comment\nx",
        "vector(0) or absent(x)",
        "topk(3, x) unless y",
    ],
)
def test_what_prometheus_grafana_and_the_adapter_write_is_parsed(query: str) -> None:
    if "<<" not in query:
        assert parse(query) is not None


@pytest.mark.parametrize("query", ["", "sum(", "a b", "1 +", "x{a}", "]", "SELECT * FROM x;"])
def test_what_is_no_query_is_none(query: str) -> None:
    assert parse(query) is None


def test_walking_meets_every_part() -> None:
    expr = parse("sum(a) / b")

    assert expr is not None
    assert [p.name for p in walk(expr) if isinstance(p, Selector)] == ["a", "b"]
    assert len(children(expr)) == 2


@given(st.text(alphabet='ab(){}[]=~"+-*/ ,0159m:<>$', max_size=40))
def test_no_text_makes_it_fail(query: str) -> None:
    expr = parse(query)

    assert expr is None or list(walk(expr))
