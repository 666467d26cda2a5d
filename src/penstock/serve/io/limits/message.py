"""What is said to the script of limits, and what it answers: MessagePack, one message for many requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import msgspec

from penstock.serve.flow.gcra import burst_of
from penstock.serve.flow.months import Month
from penstock.serve.flow.quota import Limit, Quota, Scope
from penstock.serve.flow.stand_in import Merge

__all__ = ["LIMITS", "LIMITS_LUA", "MEMBERS_LUA", "Message", "Settle", "parse_answer"]

LIMITS_LUA = (files("penstock.serve.io.limits") / "limits.lua").read_text(encoding="utf-8")
MEMBERS_LUA = (files("penstock.serve.io.limits") / "members.lua").read_text(encoding="utf-8")

LIMITS: tuple[Limit, ...] = (
    "requests_per_minute",
    "tokens_per_minute",
    "input_tokens_per_minute",
    "output_tokens_per_minute",
    "concurrent_requests",
    "tokens_per_month",
    "cost_per_month",
)
"""By the numbers that the script gives them, from 1."""

Settle = tuple[tuple[Scope, ...], int, int, int, int, str]
"""Scopes, and the changes of requests, input tokens, output tokens and micro-dollars, and their month."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def row_of(scope_id: str, quota: Quota) -> msgspec.Raw:
    """A scope as the script reads it."""
    row: list[Any] = [scope_id]
    minute = (
        quota.requests_per_minute,
        quota.tokens_per_minute,
        quota.input_tokens_per_minute,
        quota.output_tokens_per_minute,
    )
    for place, limit in enumerate(minute):
        row += (-1, 0) if limit is None else (limit, burst_of(place, limit))
    slow = (quota.concurrent_requests, quota.tokens_per_month, quota.cost_per_month_micros)
    row += [-1 if limit is None else limit for limit in slow]
    return msgspec.Raw(_encode(row))


@dataclass(slots=True)
class Message:
    """One call of the script while it is put together. `rows` is the limiter's, and remembers what scopes look like."""

    rows: dict[str, tuple[Quota, msgspec.Raw]]
    running: dict[str, int]
    """This gateway's requests that run, by scope; only of scopes with such a limit."""
    scopes: list[Scope | Merge] = field(default_factory=list)
    _said: list[tuple[msgspec.Raw, int]] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)
    _asks: list[tuple[list[int], int, int, int]] = field(default_factory=list)
    _settles: list[tuple[list[int], int, int, int, int, str]] = field(default_factory=list)
    _merges: list[tuple[Any, ...]] = field(default_factory=list)

    def ask(self, scopes: tuple[Scope, ...], given: int, made: int, cost_micros: int) -> None:
        """One more request."""
        place = self._place
        self._asks.append(([place(s, s.id, s.quota) for s in scopes], given, made, cost_micros))

    def settle(self, settle: Settle) -> None:
        """One more correction."""
        place = self._place
        places = [place(s, s.id, s.quota) for s in settle[0]]
        self._settles.append((places, *settle[1:]))

    def merge(self, m: Merge) -> None:
        """One more scope brought back."""
        place = self._place(m, m.scope_id, m.quota)
        known = (m.known_fill, m.known_used, m.known_age_s)
        self._merges.append((place, *known, m.added_fill, m.added_used, m.added_age_s, m.known_month, m.added_month))

    def packed(self, gateway: str, month: Month, unix_s: float) -> bytes:
        """The message."""
        left_s = max(0.0, month.ends - unix_s)
        return _encode((gateway, month.label, left_s, self._said, self._asks, self._settles, self._merges))

    def _place(self, scope: Scope | Merge, scope_id: str, quota: Quota) -> int:
        place = self._places.get(scope_id)
        if place is None:
            kept = self.rows.get(scope_id)
            if kept is None or kept[0] is not quota:
                kept = self.rows[scope_id] = (quota, row_of(scope_id, quota))
            self._said.append((kept[1], self.running.get(scope_id, 0)))
            self.scopes.append(scope)
            place = self._places[scope_id] = len(self._said)
        return place


def parse_answer(answer: object, asks: int, scopes: int) -> tuple[list[Any], list[list[float]]]:
    """Verdicts and states.

    Raises:
        ValueError: it is not what the script answers to so many requests and scopes.
    """
    if not isinstance(answer, bytes):
        raise ValueError("is not MessagePack")
    parsed = _decode(answer)  # raises msgspec.DecodeError, which is a ValueError
    if not (isinstance(parsed, list) and len(parsed) == 2):
        raise ValueError("is not two lists")
    verdicts, states = (part or [] for part in parsed)  # an empty Lua table is an empty map
    if len(verdicts) != asks or len(states) != scopes or any(len(state) != 11 for state in states):
        raise ValueError("does not fit what was asked")
    return verdicts, states
