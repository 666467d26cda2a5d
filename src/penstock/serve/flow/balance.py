"""What gateways tell each other of what tenants had, so that several share the engines as one would.

    word ──▶ (Redis, or the simulator) keeps the words of a round together ──▶ heed, in the next round, by all alike

Each gateway is fair with its own part of the engines. But one tenant's requests may come to one gateway and another's
to all, and a request of 10,000 tokens weighs three times as much in a third. So they tell each other, some times a
second, by how much each tenant is ahead of virtual time or behind it, and each moves its own tenants to the mean of
all. What one gateway takes back the others give: the sum over gateways stays. A tenant that waits at another gateway
falls behind here too, as it would in one queue, and makes up for it there.

All heed the same words of a round, and each tells its own after it has heeded those of the round before: so no error is
put right twice.

Guarantees: with no words, or alone, nothing changes: each has its own part. A word is bounded (`TENANTS_MAX` of each
queue, `WORD_MAX` bytes), heeded once, and one that is not a word is passed over. A member that says nothing in a round
is left out of it by all. A round moves a tenant by `CREDIT_S` seconds of its share at most. Pure; belongs to one flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import msgspec

from penstock.serve.flow.flow import Flow
from penstock.serve.flow.queue import FairQueue

__all__ = ["ROUND_S", "TENANTS_MAX", "WORD_MAX", "Balance"]

ROUND_S = 0.1
"""Seconds between two words while tenants wait. A request of thousands of tokens comes to 8 engines every 0.2 s, and
what is told later than that comes too late for the next: with three gateways work over any 10 s was off by 3.0 to 5.8 %
at worst with 0.1 s, by 4.6 to 8.4 % with 0.2 s and by 4.3 to 7.2 % with nothing told (four seeds of `python -m
bench.fairness gateways`)."""
TENANTS_MAX = 64
"""Of each queue, those farthest from virtual time; the others are near it."""
WORD_MAX = 16_384
"""Bytes of a word; queues that are past it are not told of."""
MEMBERS_MAX = 64
"""Words that are heeded."""

Lags = dict[str, float]
"""By tenant: tokens for one of weight by which it is after virtual time."""
Words = dict[tuple[str, str], tuple[Lags, Lags]]
"""By model and class: of tenants that wait there, and of others."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, str, Lags, Lags]]).decode


class Balance:
    """One gateway's part in it. Called from its event loop only."""

    __slots__ = ("_flow", "_heeded")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._heeded = -1
        """The last round whose words were heeded."""

    def word(self, now: float) -> bytes:
        """What to tell the others; empty where nobody waits."""
        told: list[tuple[str, str, Lags, Lags]] = []
        size = 0
        for model, traffic_class, queue in self._flow.queues():
            waiting, others = queue.lags(TENANTS_MAX, now)
            size += 4 * len(model) + sum(len(tenant.encode()) + 12 for of in (waiting, others) for tenant in of) + 32
            if size > WORD_MAX:
                break
            told.append((model, traffic_class, waiting, others))
        return _encode(told) if told else b""

    def heed(self, number: int, words: Mapping[str, bytes], me: str, now: float) -> None:
        """Takes the words that all told in a round, this gateway's own, by the name `me`, among them: what is said of
        queues in which it had nobody waiting is not for it. A round is heeded once."""
        if number == self._heeded:
            return
        self._heeded = number
        if me not in words:
            return
        own = _read(words[me])
        told = [_read(words[name]) for name in sorted(words)[:MEMBERS_MAX] if name != me]
        for model, traffic_class, queue in self._flow.queues():
            key = model, traffic_class
            others = [word[key] for word in told if key in word]
            queue.wait_elsewhere(frozenset(tenant for waiting, _ in others for tenant in waiting))
            if others and key in own:
                _even_out(queue, _all(own[key]), [_all(lags) for lags in others], now)
                self._flow.is_dirty = True


def _all(lags: tuple[Lags, Lags]) -> Lags:
    return lags[0] | lags[1]


def _even_out(queue: FairQueue, own: Lags, others: list[Lags], now: float) -> None:
    """Moves the tenants of one queue to the mean of all gateways."""
    least = queue.least(now)
    for tenant in sorted(own.keys() | {tenant for lags in others for tenant in lags}):
        mine = own.get(tenant, 0.0)
        mean = (mine + sum(lags.get(tenant, 0.0) for lags in others)) / (len(others) + 1)
        queue.shift(tenant, mean - mine, least, now, is_new=tenant not in own)


def _read(word: bytes) -> Words:
    """A word, or nothing where it is none."""
    if len(word) > WORD_MAX:
        return {}
    try:
        told = _decode(word)
    except msgspec.MsgspecError:
        return {}
    found: Words = {}
    for model, traffic_class, waiting, others in told:
        lags = [*waiting.values(), *others.values()]
        if len(lags) <= TENANTS_MAX and all(isfinite(lag) for lag in lags):
            found[model, traffic_class] = waiting, others
    return found
