"""What a query's tree says: which metrics it reads, how many series it gives, whether it can be 0/0. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.facts.metric_names import metric_kind
from penstock.operate.doctor.promql import Aggregate, Binary, Call, Expr, Number, Selector, Text, walk

__all__ = ["gives_one_series", "metric_names", "outer_aggregate", "rated_gauges", "selectors", "unguarded_ratios"]

_RATES = frozenset({"rate", "irate", "increase"})
_ONE = frozenset({"scalar", "vector", "absent", "absent_over_time", "time", "pi"})
_COMPARISONS = frozenset({">", ">=", "==", "!=", "<", "<="})


def selectors(expr: Expr) -> Iterator[Selector]:
    """Every selector of a query."""
    return (part for part in walk(expr) if isinstance(part, Selector))


def metric_names(expr: Expr) -> list[str]:
    """Metrics that it reads, each once, in order."""
    return list(dict.fromkeys(part.name for part in selectors(expr) if part.name))


def rated_gauges(expr: Expr) -> list[tuple[str, str]]:
    """Rates of gauges: `(function, metric)`."""
    found = [
        (part.name, inner.name)
        for part in walk(expr)
        if isinstance(part, Call) and part.name in _RATES
        for inner in part.args
        if isinstance(inner, Selector) and metric_kind(inner.name) == "gauge"
    ]
    return list(dict.fromkeys(found))


def gives_one_series(expr: Expr) -> bool:
    """Whether the result is one series (or none), whatever is scraped."""
    match expr:
        case Number() | Text():
            return True
        case Selector():
            return False
        case Aggregate():
            if expr.name == "count_values" or expr.without is not None:
                return False
            if expr.name in ("topk", "bottomk", "limitk"):
                first = expr.args[0] if expr.args else None
                return expr.by is None and isinstance(first, Number) and first.value == 1
            return not expr.by
        case Call():
            if expr.name in _ONE:
                return True
            if expr.name == "histogram_quantile" and len(expr.args) > 1:
                inner = expr.args[1]
                return gives_one_series(inner) or (isinstance(inner, Aggregate) and inner.by == ("le",))
            return all(gives_one_series(arg) for arg in expr.args) if expr.args else True
        case Binary():
            if expr.op in ("and", "unless"):
                return gives_one_series(expr.left)
            return gives_one_series(expr.left) and gives_one_series(expr.right)


def outer_aggregate(expr: Expr) -> Aggregate | None:
    """The aggregation that gives the result, through functions, guards and numbers around it."""
    match expr:
        case Aggregate():
            return expr
        case Call():
            return next((found for arg in expr.args if (found := outer_aggregate(arg)) is not None), None)
        case Binary():
            return outer_aggregate(expr.left) or outer_aggregate(expr.right)
        case _:
            return None


def unguarded_ratios(expr: Expr) -> bool:
    """Whether a division's denominator may be 0 while nothing says what then: 0/0 is NaN."""
    return _has_bare_division(expr, is_guarded=False)


def _has_bare_division(expr: Expr, *, is_guarded: bool) -> bool:
    if not isinstance(expr, Binary):
        return any(
            _has_bare_division(arg, is_guarded=is_guarded)
            for arg in (expr.args if isinstance(expr, Call | Aggregate) else ())
        )
    if expr.op == "and":  # `ratio and volume > 0`, either way round
        has_volume = any(_is_condition(side) for side in (expr.left, expr.right))
        is_guarded = is_guarded or has_volume
    if expr.op == "/" and not is_guarded and _may_be_zero(expr.right):
        return True
    return any(_has_bare_division(side, is_guarded=is_guarded) for side in (expr.left, expr.right))


def _is_condition(expr: Expr) -> bool:
    """`x > 0` on something that counts traffic, or `x == x`."""
    return isinstance(expr, Binary) and expr.op in _COMPARISONS and not _divides(expr)


def _divides(expr: Expr) -> bool:
    return any(isinstance(part, Binary) and part.op == "/" and _may_be_zero(part.right) for part in walk(expr))


def _may_be_zero(expr: Expr) -> bool:
    """Whether a denominator falls to 0 without traffic: a rate, with nothing that keeps it above."""
    match expr:
        case Call():
            if expr.name in ("clamp_min", "clamp"):
                return False
            return expr.name in _RATES or any(_may_be_zero(arg) for arg in expr.args)
        case Aggregate():
            return any(_may_be_zero(arg) for arg in expr.args)
        case Binary():
            if expr.op in _COMPARISONS or expr.op == "or":
                return False
            if expr.op == "+" and (_is_positive(expr.left) or _is_positive(expr.right)):
                return False
            return _may_be_zero(expr.left) or _may_be_zero(expr.right)
        case _:
            return False


def _is_positive(expr: Expr) -> bool:
    return isinstance(expr, Number) and bool(expr.value and expr.value > 0)
