"""Homes of keys: even, agreed, and moved only where they must."""

from __future__ import annotations

from collections import Counter

from penstock.serve.routing.rendezvous import bounded_home, home, key_of
from serve.routing.fleets import ready

KEYS = [key_of(f"session-{n}") for n in range(4000)]


def test_shares_are_even() -> None:
    endpoints = ready(8)
    shares = Counter(home(key, endpoints).id for key in KEYS)
    assert len(shares) == 8
    assert max(shares.values()) < 1.2 * 500  # five standard deviations of 4000 fair draws are 21 %


def test_only_keys_of_an_endpoint_that_goes_move() -> None:
    endpoints = ready(8)
    for key in KEYS[:500]:
        before, after = home(key, endpoints), home(key, endpoints[:-1])
        assert after is before or before is endpoints[-1]


def test_the_order_of_endpoints_does_not_matter() -> None:
    endpoints = ready(5)
    assert all(home(key, endpoints) is home(key, endpoints[::-1]) for key in KEYS[:200])


def test_past_the_bound_the_next_in_the_keys_order_takes_it() -> None:
    endpoints = ready(4)
    first = home(KEYS[0], endpoints)
    loads = [40.0 if e is first else 10.0 for e in endpoints]
    second = bounded_home(KEYS[0], endpoints, loads)
    assert second is home(KEYS[0], [e for e in endpoints if e is not first])
    assert bounded_home(KEYS[0], endpoints, [3.0 if e is first else 0.0 for e in endpoints]) is first
