"""Policies that keep what belongs together together, by consistent hashing with bounded load: `prefix-hash`, `session`.

Nothing is remembered, so any number of gateways agree, restarts included. What has no key goes to the least loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.serve.routing.endpoints import Endpoint
from penstock.serve.routing.policy import Decision, Ended, LeastLoad, Need
from penstock.serve.routing.prefix import SharedPrefixes
from penstock.serve.routing.rendezvous import bounded_home, key_of

__all__ = ["PrefixHash", "Session"]

_KNOWN_MAX = 65_536
"""Leading blocks of prompts that `prefix-hash` has seen, to find where prompts go apart."""


class _Hashed:
    """Chooses by a key; by load where there is none."""

    name = ""

    def __init__(self, key: Callable[[Need], int]) -> None:
        self._key = key
        self._without = LeastLoad()

    def choose(self, candidates: Sequence[Endpoint], need: Need, *, now: float, explains: bool = False) -> Decision:
        """The key's home, or the next in its order that has room; the least loaded where there is no key."""
        key = self._key(need)
        if not key:
            decision = self._without.choose(candidates, need, now=now, explains=explains)
            decision.policy = self.name
            return decision
        loads = [LeastLoad.load(e) for e in candidates]
        scores = tuple((e.id, load) for e, load in zip(candidates, loads, strict=True)) if explains else ()
        return Decision(endpoint=bounded_home(key, candidates, loads), policy=self.name, scores=scores)

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        """Nothing to keep: the endpoint counts what is in flight."""

    def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        """Nothing to keep."""


class Session(_Hashed):
    """Requests of one session (a header's value) go to one endpoint."""

    name = "session"

    def __init__(self) -> None:
        super().__init__(lambda need: key_of(need.session) if need.session else 0)


class PrefixHash(_Hashed):
    """Prompts that begin alike go to one endpoint; a beginning that is common to all does not count."""

    name = "prefix-hash"

    def __init__(self) -> None:
        super().__init__(lambda need: need.blocks[self._shared.own(need.blocks)] if need.blocks else 0)
        self._shared = SharedPrefixes()
        self._seen: dict[int, None] = {}
        self._seen_before: dict[int, None] = {}

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        """Learns where prompts go apart."""
        blocks, known = need.blocks, 0
        for block in blocks:
            if block not in self._seen and block not in self._seen_before:
                break
            known += 1
        self._shared.note(blocks, known)
        for block in blocks[: known + 1]:
            self._seen[block] = None
        if len(self._seen) >= _KNOWN_MAX // 2:
            self._seen_before, self._seen = self._seen, {}
