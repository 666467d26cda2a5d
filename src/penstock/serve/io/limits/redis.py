"""Limits that several gateways share, in Redis: the `Limiter` of a gateway whose fleet names `gateway.limits.url`.

    reserve ─▶ waits for the turn's end ─▶ one script call for all that wait ─▶ verdicts; settles ride along
        Redis does not answer ─▶ this gateway's share of the limits, decided at once ─▶ back ─▶ Redis is told

Guarantees: each request is decided exactly once and within about `ANSWER_S`; nothing blocks, nothing is raised, nothing
is ever unlimited. While Redis is away a request costs it nothing: one task tries to reach it, with growing pauses. One
call is under way at a time, so that under load the calls grow and not their number. One limiter belongs to one loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from random import Random
from secrets import token_hex
from typing import Any

import hiredis
import msgspec

from penstock.serve.flow.balance import ROUND_S, Balance
from penstock.serve.flow.gcra import headrooms
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.flow.limits_state import LimitsState
from penstock.serve.flow.months import Month, month_of
from penstock.serve.flow.quota import Ask, Headroom, Quota, Reservation, Scope, Usage, Verdict
from penstock.serve.flow.stand_in import Merge, StandIn
from penstock.serve.io.limits.address import CONNECT_S, RedisAddress
from penstock.serve.io.limits.link import Link, LinkError
from penstock.serve.io.limits.message import LIMITS, LIMITS_LUA, MEMBERS_LUA, Message, Settle, parse_answer

__all__ = ["ANSWER_S", "LIVE_S", "RedisLimiter"]

_log = logging.getLogger("penstock.limits")

ANSWER_S = 0.25
"""Longest that Redis may take to decide; a healthy one takes a thousandth of it. Past it the share decides."""
GRACE_S = 0.02
"""Seconds more for an answer that lies in the socket because this process itself was late."""
BEAT_S, LIVE_S = 2.0, 10.0
"""Seconds between two signs of life, and how long one is believed: so long a killed gateway's requests count."""
HELD_S = 30.0
"""Seconds for which the number of gateways is remembered when it falls: a Redis that came back empty knows nobody."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 2.0
"""Pauses between tries double from the first to the second; each is drawn from its upper half."""
BATCH_MAX = 256
"""Requests in one call: some 5 ms of Redis's time."""
SETTLES_PER_CALL, SETTLES_MAX = 512, 20_000
"""Corrections in one call, and those that may wait; past it the oldest is dropped: its reservation stays charged."""
SETTLE_S = 0.005
"""Longest that a correction waits for a request to ride along with."""
MERGE_PER_CALL = 200
ROWS_MAX = 100_000
"""Scopes whose limits are kept as the script reads them."""
AWAY_RETRY_S = 30.0
"""Retry-After of a request that fits the limit but not a share of it: until Redis is back, we hope."""

Then = Callable[[Verdict, float], None]


@dataclass(slots=True)
class _Batch:
    """One call under way."""

    message: Message
    asks: list[tuple[Ask, Then]]
    settles: int
    packed: bytes
    timer: asyncio.TimerHandle | None = None
    is_again: bool = False


class RedisLimiter:
    """Shares limits through Redis. `begin` once, then `run` in a task; `reserve` and `settle` from the same loop.

    `fleet` keeps fleets apart that use one Redis. `unix_offset_s` is Unix time less monotonic time. `gateways_expected`
    is how many gateways the fleet file says there are: shares are no larger than that while nobody was counted.
    """

    def __init__(
        self,
        address: RedisAddress,
        fleet: str,
        *,
        unix_offset_s: float,
        gateways_expected: int = 1,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self.id = token_hex(8)
        self.balance: Balance | None = None
        """What is told the other gateways of tenants' shares; None while nobody has any."""
        self._address = address
        self._prefix = f"{{penstock:{fleet}}}"
        self._offset = unix_offset_s
        self._clock = clock
        self._random = random if random is not None else Random()
        self._link: Link | None = None
        self._generation = 0
        """Which connection is meant: what an older one says counts no more."""
        self._shas = [hashlib.sha1(text.encode()).hexdigest() for text in (LIMITS_LUA, MEMBERS_LUA)]  # noqa: S324
        self._asks: deque[tuple[Ask, Then]] = deque()
        self._settles: deque[Settle] = deque()
        self._batch: _Batch | None = None
        self._flush_at: asyncio.Handle | None = None
        self._rows: dict[str, tuple[Quota, msgspec.Raw]] = {}
        self._running: dict[str, int] = {}
        self._running_scopes: dict[str, Scope] = {}
        self._month: Month = month_of(clock() + unix_offset_s)
        self._gone = asyncio.Event()
        self._count, self._index, self._seen = max(1, gateways_expected), 0, 1
        self._count_at = clock()
        self._is_counted = False
        self._has_said = False
        """The last sign of life said something of tenants' shares."""
        self._error = ""
        self._heard_at = 0.0
        self._asks_total = self._batches_total = self._degraded_total = self._failures_total = self._dropped_total = 0
        self._stand_in = StandIn(unix_offset_s=unix_offset_s)
        self._begin_share()

    # ------------------------------------------------------------------ what others read

    @property
    def gateways(self) -> int:
        """Gateways that live, as last heard; the number the fleet file expects before anybody was counted."""
        return self._seen if self._is_counted else self._count

    @property
    def index(self) -> int:
        """This gateway's place among them, from 0."""
        return self._index

    @property
    def state(self) -> LimitsState:
        """How limits are held now."""
        return LimitsState(
            where=self._address.shown,
            is_connected=self._link is not None,
            source="redis" if self._link is not None else "share",
            error=self._error,
            gateways=self.gateways,
            index=self._index,
            heard_at=self._heard_at,
            asks_total=self._asks_total,
            batches_total=self._batches_total,
            degraded_total=self._degraded_total,
            failures_total=self._failures_total,
            settles_dropped_total=self._dropped_total,
        )

    # ------------------------------------------------------------------ the port

    def reserve(self, ask: Ask, now: float, then: Then) -> Verdict | None:
        """None while Redis is there: `then` is called once it has decided. The verdict at once while it is away."""
        if not ask.scopes:
            return Verdict(Reservation(ask, now))
        if self._link is None:
            return self._decide(ask, now)
        self._asks.append((ask, then))
        if self._batch is None and (self._flush_at is None or isinstance(self._flush_at, asyncio.TimerHandle)):
            self._flush_soon()
        return None

    def settle(self, reservation: Reservation, usage: Usage, now: float) -> None:
        """Queues the correction for the next call; a second time changes nothing."""
        if reservation.token is None:
            return
        limiter: LocalLimiter | None = reservation.token[0]
        """None: Redis made the reservation, and the token is its month."""
        token = reservation.token[1]
        reservation.token = None
        ask = reservation.ask
        counts = False
        for scope in ask.scopes:
            if scope.quota.concurrent_requests is not None:
                counts = True
                self._ended(scope)
        month = token[1] if limiter is not None else token
        if limiter is not None and limiter is self._stand_in.limiter:
            reservation.token = token
            limiter.settle(reservation, usage, now)
            return
        given, made = usage.input_tokens - ask.input_tokens, usage.output_tokens - ask.output_tokens
        cost = usage.cost_micros - ask.cost_micros
        ran = 0 if usage.has_run else -1
        if self._link is None:
            self._settle_away(ask.scopes, given + made, cost, month)
        elif counts or given or made or cost or ran:
            if len(self._settles) >= SETTLES_MAX:
                self._settles.popleft()
                self._dropped_total += 1
            self._settles.append((ask.scopes, ran, given, made, cost, month))
            if self._batch is None and self._flush_at is None:
                self._flush_at = asyncio.get_running_loop().call_later(SETTLE_S, self._flush)

    # ------------------------------------------------------------------ life

    def seed_month(self, scope: Scope, tokens: int, cost_micros: int) -> None:
        """Says what a scope used this month before, for a Redis that may have lost it. Call it before `begin`."""
        self._turn_month(self._clock())
        self._stand_in.remember(scope, tokens, cost_micros, self._month.label)

    async def begin(self) -> None:
        """Tries once to reach Redis, for about a second at most. Raises nothing: without it the share is held."""
        await self._connect()

    async def run(self) -> None:
        """Keeps the connection and tells that this gateway lives, until cancelled; then says goodbye."""
        pause = PAUSE_MIN_S
        try:
            while True:
                if self._link is None and not await self._connect():
                    await asyncio.sleep(pause * (0.5 + self._random.random() / 2))
                    pause = min(PAUSE_MAX_S, pause * 2)
                    continue
                pause = PAUSE_MIN_S
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ROUND_S if self._has_said else BEAT_S):
                        await self._gone.wait()
                if self._link is not None:
                    await self._beat(self._link)
        finally:
            self.close()

    def close(self) -> None:
        """Says goodbye, if `run` has not: requests that run count no more. From then on the share decides."""
        link = self._link
        if link is not None:
            self._flush()
            message = Message(self._rows, {})
            for scope in self._running_scopes.values():
                message.merge(Merge(scope.id, scope.quota))
            self._call(link, message.packed(self.id, self._month, self._clock() + self._offset), _ignore)
            link.send(self._beat_words(0), _ignore)
            link.close()
            self._generation += 1
            self._away("the gateway ends")

    async def _connect(self) -> bool:
        self._generation += 1
        link: Link | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                link = await self._address.connect(partial(self._lost, self._generation))
                for text in (LIMITS_LUA, MEMBERS_LUA):
                    await link.ask("SCRIPT", "LOAD", text)
                async with asyncio.timeout(ANSWER_S):
                    beat = await link.ask(*self._beat_words(LIVE_S))
        except TimeoutError:
            return self._failed(link, "it did not answer in time")
        except (OSError, LinkError, ValueError) as error:
            return self._failed(link, str(error))
        except BaseException:
            if link is not None:
                link.end()
            raise
        self._link, self._error = link, ""
        self._gone.clear()
        self._take_beat(beat)
        if self._failures_total:
            _log.warning("event=limits_shared gateways=%d", self._count)
        self._bring_back(link)
        return True

    def _failed(self, link: Link | None, why: str) -> bool:
        if link is not None:
            link.end()
        is_first, self._failures_total = not self._failures_total, self._failures_total + 1
        self._error = f"Redis at {self._address.shown} is away: {why}"
        if is_first:
            _log.warning("event=limits_degraded reason=%r gateways=%d", self._error, self._count)
        return False

    def _beat_words(self, live_s: float, word: bytes = b"") -> tuple[str | bytes, ...]:
        lasting = str(int(live_s * 1000)), word, str(int(ROUND_S * 1000))
        return ("EVALSHA", self._shas[1], "1", self._prefix, self.id, *lasting)

    async def _beat(self, link: Link) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                beat = await link.ask(*self._beat_words(LIVE_S))
        except (TimeoutError, LinkError) as error:
            if link is self._link:
                self._lost(self._generation, str(error) or "it did not answer in time")
            return
        if link is not self._link:
            return
        if self._take_beat(beat):
            self._bring_back(link)  # it forgot us, and so the rest
        word = self.balance.word(self._clock()) if self.balance is not None and self._seen > 1 else b""
        self._has_said = bool(word)
        if word:
            link.send(self._beat_words(LIVE_S, word), _ignore)

    def _take_beat(self, beat: Any) -> bool:
        """Whether Redis did not know this gateway."""
        is_new, place, count, number = (int(part) for part in beat[:4])
        now = self._heard_at = self._clock()
        if self.balance is not None:
            said = iter(beat[4])
            self.balance.heed(
                number, {name.decode(): word for name, word in zip(said, said, strict=True)}, self.id, now
            )
        self._seen, self._index, self._is_counted = max(1, count), max(0, place), True
        if count >= self._count or now - self._count_at > HELD_S:
            self._count, self._count_at = max(1, count), now
        return bool(is_new)

    def _bring_back(self, link: Link) -> None:
        """Tells Redis what it may not know, before it is asked anything else on this connection."""
        now = self._clock()
        self._turn_month(now)
        merges = self._stand_in.end(self._month.label, now)
        told = {merge.scope_id for merge in merges}
        merges += [Merge(s.id, s.quota) for s in self._running_scopes.values() if s.id not in told]
        for begin in range(0, len(merges), MERGE_PER_CALL):
            message = Message(self._rows, self._running)
            for merge in merges[begin : begin + MERGE_PER_CALL]:
                message.merge(merge)
            self._call(link, message.packed(self.id, self._month, now + self._offset), partial(self._told, link))

    def _told(self, link: Link, answer: Any) -> None:
        if isinstance(answer, hiredis.ReplyError) and link is self._link:
            self._lost(self._generation, str(answer))

    # ------------------------------------------------------------------ calls

    def _flush_soon(self) -> None:
        if self._flush_at is not None:
            self._flush_at.cancel()
        self._flush_at = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        link = self._link
        if link is None or self._batch is not None or not (self._asks or self._settles):
            return
        now = self._clock()
        self._turn_month(now)
        if len(self._rows) > ROWS_MAX:
            self._rows.clear()
        message = Message(self._rows, self._running)
        settles = min(len(self._settles), SETTLES_PER_CALL)
        for _ in range(settles):
            message.settle(self._settles.popleft())
        asks = []
        for _ in range(min(len(self._asks), BATCH_MAX)):
            entry = self._asks.popleft()
            asks.append(entry)
            ask = entry[0]
            message.ask(ask.scopes, ask.input_tokens, ask.output_tokens, ask.cost_micros)
        packed = message.packed(self.id, self._month, now + self._offset)
        batch = self._batch = _Batch(message, asks, settles, packed)
        batch.timer = asyncio.get_running_loop().call_later(ANSWER_S, self._overdue, batch, False)
        self._call(link, packed, partial(self._answered, batch))

    def _call(self, link: Link, packed: bytes, then: Callable[[Any], None]) -> None:
        link.send(("EVALSHA", self._shas[0], "1", self._prefix, packed, ""), then)

    def _answered(self, batch: _Batch, answer: Any) -> None:
        link = self._link
        if self._batch is not batch or link is None:
            return
        if isinstance(answer, hiredis.ReplyError):
            if str(answer).startswith("NOSCRIPT") and not batch.is_again:
                batch.is_again = True
                link.send(("SCRIPT", "LOAD", LIMITS_LUA), _ignore)
                link.send(("SCRIPT", "LOAD", MEMBERS_LUA), _ignore)
                self._call(link, batch.packed, partial(self._answered, batch))
            else:
                self._lost(self._generation, str(answer))
            return
        try:
            verdicts, states = parse_answer(answer, len(batch.asks), len(batch.message.scopes))
        except (ValueError, TypeError) as error:
            self._lost(self._generation, f"its answer {error}")
            return
        if batch.timer is not None:
            batch.timer.cancel()
        self._batch = None
        now = self._heard_at = self._clock()
        self._batches_total += 1
        self._asks_total += len(batch.asks)
        scopes = batch.message.scopes
        meters = {
            s.id: self._stand_in.saw(s, state, self._month.label, now)
            for s, state in zip(scopes, states, strict=True)
            if isinstance(s, Scope)
        }
        rooms: dict[int, tuple[Headroom | None, Headroom | None]] = {}
        """By the scopes: all of one key's requests are told how things stand after the call."""
        for (ask, then), found in zip(batch.asks, verdicts, strict=True):
            room = rooms.get(id(ask.scopes))
            if room is None:
                room = rooms[id(ask.scopes)] = headrooms([meters[s.id] for s in ask.scopes], now)
            self._hand_over(then, self._verdict(ask, found, scopes, room, now), now)
        if self._asks:
            self._flush()
        elif self._settles and self._flush_at is None:
            self._flush_at = asyncio.get_running_loop().call_later(SETTLE_S, self._flush)

    def _verdict(
        self, ask: Ask, found: Any, scopes: list[Any], room: tuple[Headroom | None, Headroom | None], now: float
    ) -> Verdict:
        requests, tokens = room
        if found != 0:
            whose, limit, seconds = found
            retry_s = float(seconds) if seconds >= 0 else inf
            return Verdict(None, LIMITS[limit - 1], scopes[whose - 1], retry_s, False, requests, tokens)
        for scope in ask.scopes:
            if scope.quota.concurrent_requests is not None:
                self._started(scope)
        return Verdict(Reservation(ask, now, (None, self._month.label)), None, None, 0.0, False, requests, tokens)

    def _hand_over(self, then: Then, verdict: Verdict, now: float) -> None:
        try:
            then(verdict, now)
        except Exception:
            _log.exception("the one who asked for a verdict failed")

    def _overdue(self, batch: _Batch, is_last: bool) -> None:
        if self._batch is batch:
            if is_last:
                self._lost(self._generation, f"it did not answer within {ANSWER_S * 1000:.0f} ms")
            else:
                batch.timer = asyncio.get_running_loop().call_later(GRACE_S, self._overdue, batch, True)

    # ------------------------------------------------------------------ away

    def _lost(self, generation: int, why: str) -> None:
        if generation == self._generation and self._link is not None:
            self._failures_total += 1
            self._error = f"Redis at {self._address.shown} is away: {why}"
            _log.warning("event=limits_degraded reason=%r gateways=%d", self._error, self._count)
            self._away(why)

    def _away(self, why: str) -> None:
        link, self._link = self._link, None
        self._generation += 1
        if link is not None and why != "the gateway ends":
            link.end(why)
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        self._begin_share()
        now = self._clock()
        batch, self._batch = self._batch, None
        asks = list(self._asks)
        self._asks.clear()
        if batch is not None:
            if batch.timer is not None:
                batch.timer.cancel()
            asks = batch.asks + asks
            self._dropped_total += batch.settles
        for scopes, _, given, made, cost, month in self._settles:
            self._dropped_total += 1
            for scope in scopes:
                self._stand_in.late(scope, given + made, cost, month)
        self._settles.clear()
        self._gone.set()
        for ask, then in asks:
            self._hand_over(then, self._decide(ask, now), now)

    def _begin_share(self) -> None:
        count = self._count
        index = self._index % count if self._is_counted and self._seen == count else count - 1
        self._stand_in.begin((index, count), self._running_of, self._clock())

    def _running_of(self, scope_id: str) -> int:
        return self._running.get(scope_id, 0)

    def _decide(self, ask: Ask, now: float) -> Verdict:
        limiter = self._stand_in.limiter
        assert limiter is not None
        self._degraded_total += 1
        verdict = limiter.reserve(ask, now, _nobody)
        assert verdict is not None  # it decides at once
        verdict.is_degraded = True
        if verdict.reservation is not None:
            verdict.reservation.token = (limiter, verdict.reservation.token)
            for scope in ask.scopes:
                if scope.quota.concurrent_requests is not None:
                    self._started(scope)
        elif verdict.retry_after_s == inf and _fits_whole(ask, verdict):
            verdict.retry_after_s = AWAY_RETRY_S
        return verdict

    def _settle_away(self, scopes: tuple[Scope, ...], tokens: int, cost_micros: int, month: str) -> None:
        """What Redis or an earlier share reserved ends while it is away: the months are told later."""
        limiter = self._stand_in.limiter
        meters = limiter.meters() if limiter is not None else {}
        for scope in scopes:
            self._stand_in.late(scope, tokens, cost_micros, month)
            if scope.quota.concurrent_requests is not None and (meter := meters.get(scope.id)) is not None:
                meter.running -= 1

    # ------------------------------------------------------------------ counts

    def _started(self, scope: Scope) -> None:
        self._running[scope.id] = self._running.get(scope.id, 0) + 1
        self._running_scopes[scope.id] = scope

    def _ended(self, scope: Scope) -> None:
        left = self._running.get(scope.id, 0) - 1
        if left > 0:
            self._running[scope.id] = left
        else:
            self._running.pop(scope.id, None)
            self._running_scopes.pop(scope.id, None)

    def _turn_month(self, now: float) -> None:
        if now + self._offset >= self._month.ends:
            self._month = month_of(now + self._offset)


def _fits_whole(ask: Ask, verdict: Verdict) -> bool:
    """Whether the request is within the whole limit whose share it is too large for."""
    if verdict.scope is None or verdict.limit is None:
        return False
    tokens = ask.input_tokens + ask.output_tokens
    quota = verdict.scope.quota
    amount, limit = {
        "requests_per_minute": (1, quota.requests_per_minute),
        "tokens_per_minute": (tokens, quota.tokens_per_minute),
        "input_tokens_per_minute": (ask.input_tokens, quota.input_tokens_per_minute),
        "output_tokens_per_minute": (ask.output_tokens, quota.output_tokens_per_minute),
        "concurrent_requests": (1, quota.concurrent_requests),
        "tokens_per_month": (tokens, quota.tokens_per_month),
        "cost_per_month": (ask.cost_micros, quota.cost_per_month_micros),
    }[verdict.limit]
    return limit is not None and 0 < limit >= amount


def _ignore(_: object) -> None:
    """An answer that says nothing."""


def _nobody(_: Verdict, __: float) -> None:
    """Nobody waits: the share decides at once."""
