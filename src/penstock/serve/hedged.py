"""The part of an exchange that asks a second endpoint where the first is late to begin, and keeps who begins first.

    WAITING ── late (`hedge`) ──▶ WAITING at two endpoints ── one begins ──▶ WAITING at that one, which goes on as any
                                          └ one fails ──▶ WAITING at the other

The edge opens a second connection and reports what comes on it; `Decided` says which of the two is cut. Only a request
that was sent once, to an engine of the fleet, and of whose answer nothing has gone is sent twice. Guarantees: the
client gets one answer, of one endpoint; what the other did is charged to nobody.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from penstock.serve.commands import Decided, Dispatch, Reply
from penstock.serve.failover import ENGINE_DIED
from penstock.serve.opening import Opening
from penstock.serve.race import Race
from penstock.serve.resuming import Resuming, signal_of
from penstock.serve.routing import Endpoint
from penstock.serve.routing.hedging import kind_of
from penstock.serve.routing.signals import Signal
from penstock.serve.wire.responses import ResponseError, ResponseHead

__all__ = ["Hedged"]

_HANDED_OVER = b'"kv_transfer_params"'
"""In the body of a request whose KV cache is at a certain engine, or is to be left there."""


class Hedged(Resuming, ABC):
    """How one exchange comes to two endpoints, and back to one. Owned by the exchange that it is a part of."""

    __slots__ = ()

    @abstractmethod
    def _take_head(self, head: ResponseHead, rest: bytes, now: float) -> bytes | Reply | Dispatch | None:
        """An endpoint's answer begins."""

    @abstractmethod
    def upstream_lost(
        self, reason: str, now: float, *, was_reused: bool = False, is_end: bool = False, signal: Signal = "reset"
    ) -> bytes | Reply | Dispatch | Decided | None:
        """The endpoint's connection could not be made, ended, or broke HTTP."""

    @property
    def second(self) -> Endpoint | None:
        """The second endpoint that the request is at."""
        race = self._race
        return race.second.ticket.endpoint if race is not None and race.second is not None else None

    def _watch(self, now: float) -> None:
        """The request goes to its first endpoint: it may become late."""
        admission, hedging = self._admission, self._core.hedging
        ticket = admission.ticket
        if ticket is None or admission.is_outside:
            return
        hedge = hedging.hedge(ticket.model)
        hedge.request()
        kind = kind_of(self.head.path, is_stream=ticket.is_stream, prompt_tokens=ticket.need.prompt_tokens)
        usual = hedge.usual(kind)
        if usual is not None:
            self._race = Race(hedge, usual, now)
            hedging.watch(usual, self, now)

    # ------------------------------------------------------------------ a second endpoint

    def hedge(self, now: float) -> Dispatch | None:
        """The request is late: sends it to a second endpoint too, if one has room at once."""
        race, admission, core = self._race, self._admission, self._core
        ticket = admission.ticket
        if race is None or race.second is not None or race.has_second_won or ticket is None:
            return None
        if self.phase != "waiting" or race.hedge.balance < 1.0 or _HANDED_OVER in admission.body:
            return None
        second = core.flow.beside(ticket, now)
        if second is None or second.endpoint is None or second.decision is None:
            return None
        race.hedge.take()
        race.unwatch(self)
        race.begin(second, now)
        self.record.hedged = "none"
        core.decisions.add(self.record.at, self.record.request_id, second.model, second.decision, second.need)
        return Dispatch(second.endpoint, admission.upstream_request(second.endpoint), tls_host=admission.tls_host)

    def second_data(self, data: bytes, now: float) -> Decided | None:
        """A read from the second endpoint."""
        race = self._race
        if race is None or race.second is None:
            return None
        opening = race.second.opening
        try:
            if not opening.feed(data):
                return None
        except ResponseError as error:
            return self._second_failed(race, str(error), "bad_http", now)
        head = opening.head
        if head is None or opening.fault or head.status >= 300:
            words = opening.fault or f"answered {head.status if head is not None else 0}"
            return self._second_failed(race, words, _signal(opening), now)
        endpoint, sent_at = self.endpoint, race.sent_at
        if endpoint is not None and self.record.is_stream:
            self._core.endpoints.measured(endpoint, now - sent_at)  # at least so long
        self._heard("cancelled", now)
        self._stand_at_second(race, now)
        race.usual.began(now - sent_at)
        return Decided(is_second=True, out=self._begin_with(race, head, opening.rest, now))

    def second_lost(
        self, reason: str, now: float, *, was_reused: bool = False, signal: Signal = "reset"
    ) -> Dispatch | None:
        """The second endpoint's connection could not be made, or has ended: the request goes there again where it was
        an idle one that was closed, else the first endpoint is waited for alone."""
        race = self._race
        if race is None or race.second is None:
            return None
        ticket = race.second.ticket
        if was_reused and race.second.opening.is_empty and ticket.endpoint is not None:
            request = self._admission.upstream_request(ticket.endpoint)
            return Dispatch(ticket.endpoint, request, is_fresh=True, tls_host=self._admission.tls_host)
        self._second_failed(race, reason, signal, now)
        return None

    def _second_failed(self, race: Race, words: str, signal: Signal, now: float) -> Decided:
        failed_id, ticket = race.drop(self._core, now, signal, words), self._admission.ticket
        if ticket is not None and failed_id:
            ticket.tried_ids = (*ticket.tried_ids, failed_id)
        return Decided(is_second=False)

    # ------------------------------------------------------------------ the first endpoint

    def _hear_opening(self, race: Race, data: bytes, now: float) -> bytes | Reply | Dispatch | Decided | None:
        """A read from the endpoint that the exchange is at, whose answer has not begun."""
        opening = race.opening
        if not opening.feed(data) or (head := opening.head) is None:
            return None
        self.last_progress_at = now
        if opening.fault and race.second is not None:
            self._heard(_signal(opening), now, opening.fault)
            return self._leave_for_second(race, now)
        if not opening.fault:
            race.usual.began(now - race.sent_at)
            if self.record.hedged:
                self.record.hedged = "second" if race.has_second_won else "first"
        if race.second is None:
            self._end_race(race)
            return self._take_head(head, opening.rest, now)
        try:
            out = self._take_head(head, opening.rest, now)
        except ResponseError as error:
            self._heard("bad_http", now, str(error))
            return self._leave_for_second(race, now)
        race.drop(self._core, now)
        self._end_race(race)
        return Decided(is_second=False, out=out)

    def _end_race(self, race: Race) -> None:
        """The request is at one endpoint, and stays with it as any other."""
        race.unwatch(self)
        self._race = None

    def _fail_over(
        self, reason: str, now: float, signal: Signal | None = None
    ) -> bytes | Reply | Dispatch | Decided | None:
        """The endpoint has failed the request before its answer: the second one that it is at goes on, else another."""
        race = self._race
        if race is not None and race.second is not None:
            return self._leave_for_second(race, now)
        if race is not None:
            self._end_race(race)
        return self._retry(reason, now, signal)

    def _leave_for_second(self, race: Race, now: float) -> Decided:
        """The first endpoint has failed while the second is under way."""
        self.record.hedged = "none"
        failed, ticket = self.endpoint, self._admission.ticket
        if failed is not None and ticket is not None:
            ticket.tried_ids = (*ticket.tried_ids, failed.id)
        self._stand_at_second(race, now)
        return Decided(is_second=True)

    # ------------------------------------------------------------------ the second takes its place

    def _stand_at_second(self, race: Race, now: float) -> None:
        """The exchange is at the second endpoint from here on, and nowhere else."""
        ticket = self._admission.ticket
        second = race.swap(self._core, ticket, now) if ticket is not None else None
        if second is None or ticket is None or ticket.endpoint is None:
            raise AssertionError("only a request that is at two endpoints goes on at the second")
        self.phase, self._answer, self._held = "waiting", None, None
        self._stand_at(ticket.endpoint, second.sent_at)

    def _stand_at(self, endpoint: Endpoint, sent_at: float) -> None:
        """The request is there from here on, since that time."""
        self.endpoint = endpoint
        self._has_begun = self._is_told = False
        self.is_upstream_kept = False  # whatever the one before it was left like
        self._sent_at = self.last_progress_at = sent_at
        self.record.endpoint = endpoint.id
        self._error_head = None
        self._collected = b""

    def _begin_with(self, race: Race, head: ResponseHead, rest: bytes, now: float) -> bytes | Reply | Dispatch | None:
        """The second endpoint has begun to answer."""
        self._end_race(race)
        self.record.hedged = "second"
        self.last_progress_at = now
        try:
            return self._take_head(head, rest, now)
        except ResponseError as error:
            out = self.upstream_lost(str(error), now, signal="bad_http")
            return out.out if isinstance(out, Decided) else out


def _signal(opening: Opening) -> Signal:
    """What it tells of an endpoint that it gave no answer."""
    if ENGINE_DIED.search(opening.rest):
        return "engine_died"
    head = opening.head
    return "aborted" if head is None or head.status == 200 else signal_of(head.status)
