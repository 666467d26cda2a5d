"""Decisions are kept within a bound and told with their numbers."""

from __future__ import annotations

import json

from penstock.serve.routing import CostPolicy, DecisionRing, LeastLoad, decisions_shown, explained
from serve.routing.fleets import TIMING, need, ready


def ring_of(count: int, kept: int = 3) -> DecisionRing:
    ring, policy, endpoints = DecisionRing(kept), CostPolicy({"chat": TIMING}), ready(2)
    for n in range(count):
        request = need(1000 + n, blocks=(1, 2))
        decision = policy.choose(endpoints, request, now=float(n))
        policy.sent(decision.endpoint, request, float(n))
        ring.add(1e9 + n, f"r{n}", "chat", decision, request)
    return ring


def test_the_newest_are_kept_and_shown_first() -> None:
    ring = ring_of(5)
    assert (len(ring), ring.total) == (3, 5)
    assert [one["request_id"] for one in decisions_shown(ring)] == ["r4", "r3", "r2"]
    assert len(decisions_shown(ring, limit=1)) == 1
    assert decisions_shown(ring, model="embed") == []
    assert len(ring_of(2, kept=0)) == 0


def test_each_candidate_is_told_with_the_parts_of_its_seconds() -> None:
    shown = decisions_shown(ring_of(1))[0]
    json.dumps(shown)
    assert (shown["policy"], shown["basis"], shown["prompt_tokens"]) == ("cost", "made-up", 1000)
    assert shown["candidates"][0]["endpoint"] == shown["endpoint"]
    for one in shown["candidates"]:
        assert abs(one["seconds"] - one["prefill_s"] - one["before_s"] - one["rest_s"]) < 1e-5


def test_headers_say_why_in_one_line_each() -> None:
    endpoints = ready(40)
    decision = CostPolicy({"chat": TIMING}).choose(endpoints, need(), now=0.0)
    lines = dict(explained(decision))
    assert lines["x-penstock-basis"] == "made-up"
    assert lines["x-penstock-candidates"].count("prefill=") == 16
    assert all("\n" not in value and value.isascii() and len(value) < 4096 for value in lines.values())
    plain = dict(explained(LeastLoad().choose(endpoints[:2], need(), now=0.0, explains=True)))
    assert plain == {"x-penstock-policy": "least-load", "x-penstock-scores": "chat-0=0,chat-1=0"}
