"""PromQL as a tree, as far as judging a query needs. Pure.

Takes what Prometheus 3 takes, and Grafana's and KEDA's variables inside it. Guarantees: never raises; what it cannot
parse is None, and no rule speaks of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Aggregate", "Binary", "Call", "Expr", "Number", "Selector", "Text", "children", "parse", "walk"]

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<variable>\$\{[^}]*\}|\[\[[^\]]*\]\]|\$\w+|<<[^>]*>>|\{\{[^}]*\}\})
    |(?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![\w.]))
    |(?P<number>0x[0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<name>:?[a-zA-Z_][\w:.]*)
    |(?P<op>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){}\[\],:@])""",
    re.VERBOSE,
)
_AGGREGATES = frozenset(
    [
        "sum",
        "min",
        "max",
        "avg",
        "group",
        "stddev",
        "stdvar",
        "count",
        "count_values",
        "bottomk",
        "topk",
        "quantile",
        "limitk",
        "limit_ratio",
    ]
)
_PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, "<=": 3, "<": 3, ">=": 3, ">": 3, "+": 4, "-": 4, "*": 5, "/": 5,
    "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number; a variable's value is not known."""

    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string."""

    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A metric with its matchers: `(label, operator, value)`."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()
    is_range: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function of expressions; a subquery is the call `subquery`."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """`sum by (a) (x)`."""

    name: str
    args: tuple[Expr, ...]
    by: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """Two expressions and what is between them."""

    op: str
    left: Expr
    right: Expr
    is_bool: bool = False


Expr = Number | Text | Selector | Call | Aggregate | Binary


def parse(query: str) -> Expr | None:
    """The tree of a query; None where it is not PromQL that we know."""
    tokens = _tokens(query)
    if not tokens:
        return None
    parser = _Parser(tokens)
    try:
        expr = parser.binary(0)
    except (_NotPromQLError, RecursionError):
        return None
    return expr if parser.is_done else None


def children(expr: Expr) -> tuple[Expr, ...]:
    """What an expression is made of."""
    match expr:
        case Call() | Aggregate():
            return expr.args
        case Binary():
            return (expr.left, expr.right)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """An expression and everything inside it."""
    yield expr
    for inner in children(expr):
        yield from walk(inner)


def _tokens(query: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(query):
        match = _TOKEN.match(query, place)
        if match is None:
            return []
        if match.lastgroup is not None:
            found.append((match.lastgroup, match.group()))
        place = match.end()
    return found


class _NotPromQLError(Exception):
    """The text is not a query."""


class _Parser:
    """Reads tokens from left to right; owns its place among them."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._place = 0

    @property
    def is_done(self) -> bool:
        return self._place >= len(self._tokens)

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._place += 1
        return token

    def _take(self, text: str) -> bool:
        if self._peek()[1] == text and self._peek()[0] != "text":
            self._place += 1
            return True
        return False

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise _NotPromQLError(text)

    def binary(self, floor: int) -> Expr:
        left = self._unary()
        while True:
            op = self._peek()[1].lower() if self._peek()[0] in ("op", "name") else ""
            rank = _PRECEDENCE.get(op, 0)
            if not rank or rank <= floor:
                return left
            self._next()
            is_bool = self._take("bool")
            while self._peek()[1] in ("on", "ignoring", "group_left", "group_right"):
                self._next()
                if self._peek()[1] == "(":
                    self._names()
            right = self.binary(rank - 1 if op == "^" else rank)
            left = Binary(op=op, left=left, right=right, is_bool=is_bool)

    def _unary(self) -> Expr:
        if self._take("-"):
            return Binary(op="*", left=Number(value=-1), right=self._unary())
        self._take("+")
        return self._after(self._primary())

    def _after(self, expr: Expr) -> Expr:
        """Ranges, subqueries, offsets and `@`."""
        while True:
            if self._take("["):
                is_subquery = False
                while not self._take("]"):
                    is_subquery |= self._next()[1] == ":"
                    if self.is_done:
                        raise _NotPromQLError("]")
                if isinstance(expr, Selector) and not is_subquery:
                    expr = Selector(name=expr.name, matchers=expr.matchers, is_range=True)
                else:
                    expr = Call(name="subquery", args=(expr,))
            elif self._peek()[1] == "offset":
                self._next()
                self._take("-")
                self._next()
            elif self._take("@"):
                self._take("-")
                self._next()
                if self._take("("):
                    self._need(")")
            else:
                return expr

    def _primary(self) -> Expr:
        kind, text = self._next()
        if kind == "number":
            return Number(value=float(int(text, 16)) if text.startswith("0x") else float(text))
        if kind in ("variable", "duration"):
            return Number(value=None)
        if kind == "text":
            return Text(value=text[1:-1])
        if text == "(":
            expr = self.binary(0)
            self._need(")")
            return expr
        if text == "{":
            self._place -= 1
            return self._selector("")
        if kind != "name":
            raise _NotPromQLError(text)
        lower = text.lower()
        if lower in _AGGREGATES and self._peek()[1] in ("(", "by", "without"):
            return self._aggregate(lower)
        if self._peek()[1] == "(":
            return Call(name=lower, args=self._args())
        if lower in ("inf", "nan"):
            return Number(value=float(lower))
        return self._selector(text)

    def _selector(self, name: str) -> Selector:
        matchers: list[tuple[str, str, str]] = []
        if self._take("{"):
            while not self._take("}"):
                kind, label = self._next()
                if kind == "text" and self._peek()[1] in (",", "}"):  # {"quoted.name"}
                    name = label[1:-1]
                elif kind in ("name", "text"):
                    op = self._next()[1]
                    value_kind, value = self._next()
                    if op not in ("=", "!=", "=~", "!~") or value_kind not in ("text", "variable"):
                        raise _NotPromQLError(op)
                    bare = label[1:-1] if kind == "text" else label
                    matchers.append((bare, op, value[1:-1] if value_kind == "text" else value))
                elif kind != "variable":
                    raise _NotPromQLError(label)
                self._take(",")
        named = [value for label, op, value in matchers if label == "__name__" and op == "="]
        return Selector(name=named[0] if named else name, matchers=tuple(matchers))

    def _aggregate(self, name: str) -> Aggregate:
        by, without = self._grouping()
        args = self._args()
        if by is None and without is None:
            by, without = self._grouping()
        return Aggregate(name=name, args=args, by=by, without=without)

    def _grouping(self) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        if self._take("by"):
            return self._names(), None
        if self._take("without"):
            return None, self._names()
        return None, None

    def _names(self) -> tuple[str, ...]:
        self._need("(")
        found: list[str] = []
        while not self._take(")"):
            kind, text = self._next()
            if kind not in ("name", "variable", "text"):
                raise _NotPromQLError(text)
            found.append(text)
            self._take(",")
        return tuple(found)

    def _args(self) -> tuple[Expr, ...]:
        self._need("(")
        found: list[Expr] = []
        while not self._take(")"):
            found.append(self.binary(0))
            self._take(",")
        return tuple(found)
