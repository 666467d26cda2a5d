"""`round-robin`: in turn."""

from __future__ import annotations

from penstock.serve.routing import UNKNOWN_NEED, RoundRobin
from serve.routing.fleets import ready


def test_it_takes_turns_whatever_the_load() -> None:
    endpoints, policy = ready(3), RoundRobin()
    endpoints[0].in_flight = 99
    chosen = [policy.choose(endpoints, UNKNOWN_NEED, now=0.0).endpoint.id for _ in range(4)]
    assert chosen == ["chat-0", "chat-1", "chat-2", "chat-0"]
