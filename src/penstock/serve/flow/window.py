"""What one endpoint has room for, learned from what its engine says.

A request that waits inside an engine can be neither reordered nor sent elsewhere, so an engine gets what it runs and a
little more. Where its seats (`max_num_seqs`) are known the window begins with them, and each reading of the engine's
metrics moves it:

    requests stay waiting in the engine  ──▶ shrink to what it runs, and `SPARE` more
    none waits, and we held some back    ──▶ grow: by a quarter below where it last shrank, by 1/32 from there on

Where they are not, they are learned (`seats.py`).

Prompts are held too: a step with several prompts in it is long for everybody. Where `began` tells of first tokens, no
more prompt tokens are sent at once than the engine gets through in `FIRST_TOKEN_S`, learned from how long first tokens
took with how many prompt tokens before them; one request at least is always sent.

"Stay waiting" means in two readings in a row: the least of a queue over an interval is what stands in it, as CoDel
argues (RFC 8289, section 3.1); what comes in bursts and goes again is no reason to hold anything back. This covers
whatever bounds the engine: seats, KV blocks, or steps that are long because of long prompts.

While several tenants ask, those that have their share leave some seats free, of all endpoints together (`reserve.py`),
of those that are known to be there (`knows_seats`). Whether an engine has more is tried with what waits in turns: a
tenant that has less than its share is not sent to a seat that may not be there (`sure`). Seats that were kept from
somebody here count as taken when it is asked whether the window should grow.

Guarantees: the window is at least 1. With G gateways each has the G-th part, rounded up; what others leave unused is
lent, and taken back as soon as requests stay waiting.
Belongs to one endpoint, and is changed only by the flow. Requests in flight are counted by the endpoint itself.
"""

from __future__ import annotations

import math
from collections import deque

from penstock.serve.flow.seats import PROMPTS_PART, Seats
from penstock.serve.flow.settings import UNKNOWN_CAPACITY, Capacity
from penstock.serve.routing.endpoints import Endpoint, EngineSample

__all__ = ["SPARE", "Window"]

SPARE = 2
"""Requests that may wait in an engine: one to begin in the next step, and one while word of an end is on its way. Or
one in `PROMPTS_PART` of those that run: prompts wait for their turn in a step."""
FIRST_TOKEN_S = 0.03
"""Seconds that prompts in an engine may add to a first token beyond the quickest (which is its steps alone): two or
three steps. Half of the quickest where that is more, as on a slow engine. The other prompts wait where they can be
ordered; `python -m bench.fairness throughput` shows that this costs no work."""
PREFILL_TOKENS_MAX = 16_384.0
"""Prompt tokens that are sent at once at most: two steps of vLLM's 8,192."""
RESERVE_PART = 16
"""Of so many seats of each engine one is kept at least, while several tenants ask, so that a tenant with less than its
share can go to the engine whose prompts are read soonest. Without, B's ratio on 32 engines was 1.27; see
`docs/queues.md`."""
RESERVE_MIN_MAX = 4
"""Seats of one engine that are kept so at most."""
RESERVE_FROM = 8
"""Seats from which one is kept: of fewer, one is too large a part."""
KV_AMPLE = 0.9
"""Share of the KV cache up to which the measured use counts as ample; past it growing answers lead to preemptions."""


class Window:
    """Room of one endpoint."""

    __slots__ = (
        "_borrowed", "_capacity", "_gateways", "_kv_fresh", "_kv_held", "_quickest_s", "_reserve", "_seats", "_silent",
        "_size", "_size_max", "_top", "_usual_s", "kv_tokens", "limit", "prefill_held", "prefill_max", "reserve_min",
        "seen", "sure", "was_full",
    )  # fmt: skip

    def __init__(self, capacity: Capacity = UNKNOWN_CAPACITY, gateways: int = 1) -> None:
        self.limit = 1
        """Most requests of ours in flight there."""
        self.sure = 1
        """Of which so many are not on trial."""
        self._reserve = 0
        """Of which were kept from somebody when he was turned away last."""
        self.reserve_min = 0
        """Of which are left free at least by tenants that have their share, while several ask."""
        self.was_full = False
        """Since the last reading somebody was turned away from here."""
        self.seen: EngineSample | None = None
        self.kv_tokens = 0
        """Of the engine's cache; 0 while not known."""
        self._kv_held = 0
        """KV tokens that what is in flight may come to."""
        self._kv_fresh = 0
        """The part that was sent since the last reading."""
        self.prefill_held = 0
        """Prompt tokens that were sent and whose first token has not come."""
        self.prefill_max = math.inf
        """Prompt tokens up to which another request is sent; infinite until first tokens were seen."""
        self._usual_s = 0.0
        """Seconds from sending to the first token, of late."""
        self._quickest_s = math.inf
        """The same of the quickest: steps are not shorter."""
        self._silent: deque[tuple[float, int]] = deque()
        """Prompts whose first token nobody sees: when it should be there, and their tokens."""
        self._borrowed = 0
        self._gateways = gateways
        self._capacity = capacity
        self._size_max = capacity.requests_max or 0
        self._seats = Seats(gateways)
        """Learned where none are known."""
        self._size = float(self._size_max)
        """Requests that the engine can run, of all gateways together, where its seats are known."""
        self._top = self._size
        """Size at which it last shrank."""
        self.kv_tokens = capacity.kv_tokens or 0
        self._settle()

    def configure(self, capacity: Capacity, gateways: int) -> None:
        """Takes what is known now; what was learned stays, within it."""
        if capacity == self._capacity and gateways == self._gateways:
            return
        if capacity != self._capacity:
            before = self._size_max
            self._size_max = capacity.requests_max or 0
            self.kv_tokens = capacity.kv_tokens or (self.seen.kv_tokens if self.seen is not None else 0)
            if self._size_max and (self._size > self._size_max or self._size == before):
                self._size = self._top = float(self._size_max)
        self._capacity, self._gateways = capacity, gateways
        self._seats.gateways = gateways
        self._settle()

    def has_room(self, endpoint: Endpoint, now: float) -> bool:
        """Whether it can take one more request, whatever that asks for."""
        if endpoint.sample is not self.seen:
            self.observe(endpoint.sample, endpoint.in_flight)
        if self._silent:
            self._pass_silent(now)
        if endpoint.in_flight >= self.limit:
            self.was_full = True
            return False
        if self.prefill_held >= self.prefill_max and self.prefill_held > 0:
            return False
        return self.kv_tokens == 0 or endpoint.in_flight == 0 or self.fits(1)

    def has_seat(self, endpoint: Endpoint) -> bool:
        """The same, whatever prompts stand before it there."""
        return endpoint.in_flight < self.limit and (self.kv_tokens == 0 or endpoint.in_flight == 0 or self.fits(1))

    def keep(self, endpoint: Endpoint) -> None:
        """Seats that are free here were kept from somebody who waits."""
        self.was_full = True
        self._reserve = self.limit - endpoint.in_flight

    def kept(self, part: int) -> int:
        """Seats that stay free here for others, of which `part` is this endpoint's part of all that are kept."""
        return max(part, self.reserve_min) if self.knows_seats else 0

    @property
    def knows_seats(self) -> bool:
        """Whether the engine can run `limit` requests, and no more as far as is known: seats may be kept."""
        return self._size_max > 0 or self._seats.are_known

    def next_due(self, *, is_kept: bool = False) -> float | None:
        """When there may be room though nothing is heard; `is_kept`: somebody waits for the
        end of a prompt."""
        is_waited_for = is_kept or self.prefill_held >= self.prefill_max
        return self._silent[0][0] if self._silent and is_waited_for else None

    def begin(self, tokens: int, now: float, *, is_heard: bool) -> int:
        """A prompt of so many tokens went there; `is_heard`: `began` will be told of its first token. Returns the
        prompt tokens that are held with it."""
        if not is_heard:
            if not self._usual_s:
                return 0
            self._silent.append((now + self._usual_s, tokens))
        self.prefill_held += tokens
        return self.prefill_held

    def began(self, tokens: int, held: int, took_s: float, in_flight: int = 0) -> None:
        """The first token of a prompt came after so long, with so many requests in flight here; `held` is what `begin`
        returned."""
        self.prefill_held -= tokens
        if in_flight >= self.limit and not self._size_max:
            self._seats.began()
            self._settle()
        took_s = max(took_s, 1e-4)
        if self._usual_s == 0.0:
            self._usual_s = self._quickest_s = took_s
        self._usual_s += (took_s - self._usual_s) / 16
        self._quickest_s = min(took_s, self._quickest_s + (took_s - self._quickest_s) / 256)
        if self.prefill_max == math.inf:
            self.prefill_max = PREFILL_TOKENS_MAX
        target_s, more_s = max(FIRST_TOKEN_S, self._quickest_s / 2), took_s - self._quickest_s
        if more_s > target_s:
            wanted = max(held * target_s / more_s, 1.0)
            self.prefill_max += (min(wanted, self.prefill_max) - self.prefill_max) / 8
        elif held >= self.prefill_max / 2:  # less than that says nothing of more
            self.prefill_max = min(self.prefill_max * 17 / 16, PREFILL_TOKENS_MAX)

    def unbegun(self, tokens: int) -> None:
        """A prompt whose first token was to be heard of is over without one."""
        self.prefill_held -= tokens

    def _pass_silent(self, now: float) -> None:
        silent = self._silent
        while silent and silent[0][0] <= now:
            self.prefill_held -= silent.popleft()[1]

    def fits(self, tokens: int) -> bool:
        """Whether its cache surely has room for so many more tokens, or is measured to have."""
        room = self.kv_tokens // self._gateways if self._gateways > 1 else self.kv_tokens
        if room == 0 or self._kv_held + tokens <= room:
            return True
        sample = self.seen
        if sample is None:
            return False
        used = sample.kv_usage * self.kv_tokens + self._kv_fresh * self._gateways
        return used + tokens <= KV_AMPLE * self.kv_tokens

    def take(self, tokens: int) -> None:
        """A request that may come to so many tokens went there."""
        self._kv_held += tokens
        self._kv_fresh += tokens

    def give(self, tokens: int) -> None:
        """It is over."""
        self._kv_held -= tokens

    def observe(self, sample: EngineSample | None, in_flight: int) -> None:
        """Takes a new reading of the engine's metrics."""
        before, self.seen = self.seen, sample
        was_full, self.was_full = self.was_full, False
        reserve, self._reserve = self._reserve, 0
        self._kv_fresh = 0
        if sample is None:
            return
        if self._capacity.kv_tokens is None and sample.kv_tokens:
            self.kv_tokens = sample.kv_tokens
        if not self._size_max:
            self._seats.read(sample, before, was_full=was_full, is_full=in_flight >= self.limit)
            self._settle()
            return
        standing = min(sample.waiting, before.waiting) if before is not None else 0
        spare = max(SPARE, sample.running // PROMPTS_PART)
        if standing > spare:
            self._shrink(sample)
        elif was_full and sample.waiting <= spare and in_flight >= self.limit - reserve:
            self._grow(sample)
        self._settle()

    def _shrink(self, sample: EngineSample) -> None:
        if self._borrowed:
            self._borrowed = 0  # first what is others' by right
            return
        size = float(sample.running + max(SPARE, sample.running // PROMPTS_PART))
        if size < self._size:
            self._top = self._size = size

    def _grow(self, sample: EngineSample) -> None:
        bound = float(self._size_max)
        if self._size < bound:
            step = self._size / 4 if self._size < 0.9 * self._top else self._size / 32
            self._size = min(self._size + max(1.0, step), bound)
            self._top = max(self._top, self._size)
        elif self._gateways > 1:
            self._borrowed += max(0, (self._size_max - sample.running - sample.waiting) // self._gateways)

    def _settle(self) -> None:
        if self._size_max:
            self.sure = self.limit = min(self._part_of(self._size) + self._borrowed, self._size_max)
        else:
            seats = self._seats
            self.limit = self._part_of(seats.size)
            self.sure = min(self.limit, self._part_of(seats.sure)) if seats.on_trial else self.limit
        keeps = self.limit >= RESERVE_FROM and self.knows_seats
        self.reserve_min = min(-(-self.limit // RESERVE_PART), RESERVE_MIN_MAX) if keeps else 0

    def _part_of(self, size: float) -> int:
        return max(1, -(-int(size) // self._gateways))

    @property
    def kv_held(self) -> int:
        """KV tokens that our requests in flight may come to."""
        return self._kv_held
