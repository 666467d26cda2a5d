"""What must hold in a gateway after each turn, when all is over, and of each answer. Pure.

Counters are compared with what the exchanges themselves hold, so that one that is too high is found as well as one
that is below zero. Each function raises `Foul`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from penstock.serve.core import Core
from penstock.serve.exchange import Exchange
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.record import RequestRecord
from penstock.simulate.system.engine import Foul
from penstock.simulate.system.person import Request
from penstock.simulate.system.reply import hear
from penstock.simulate.system.text import Said, message_finish, message_usage

__all__ = ["Watch", "check_answer", "check_hedges", "check_quiet"]

_ERRORS: dict[str, frozenset[int]] = {
    "bad_json": frozenset({400}),
    "bad_key": frozenset({401}),
    "bad_model": frozenset({404}),
    "half_body": frozenset({408}),
}
"""Statuses that a mistake may get, besides those of a gateway that takes nothing now."""
_SHEDS = frozenset({429, 503})


class Watch:
    """Looks at one gateway after each turn. Its bounds may be passed only by what came before a reload."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[str, tuple[int, int]] = {}
        self._running: dict[str, int] = {}

    def look(self, exchanges: Sequence[Exchange]) -> None:
        """After a turn, with the exchanges that are not over."""
        core = self._core
        if core.in_flight != len(exchanges):
            raise Foul(f"core.in_flight is {core.in_flight} with {len(exchanges)} exchanges")
        at: Counter[int] = Counter()
        queued: Counter[str] = Counter()
        held: Counter[str] = Counter()
        for exchange in exchanges:
            if exchange.phase == "over":
                raise Foul(f"{exchange.record.request_id} is over and its connection still holds it")
            admission = exchange._admission
            ticket = admission.ticket
            if ticket is not None and ticket.state == "queued":
                queued[ticket.model] += 1
                if ticket.owner is not exchange:
                    raise Foul(f"{exchange.record.request_id} waits and nobody would wake it")
            elif ticket is not None and ticket.state == "granted" and ticket.endpoint is not None:
                at[id(ticket.endpoint)] += 1
            if (second := exchange.second) is not None:
                at[id(second)] += 1
                if second is exchange.endpoint or exchange.phase != "waiting":
                    raise Foul(f"{exchange.record.request_id} is {exchange.phase}, and at {second.id} besides")
            if exchange.endpoint is not None and (ticket is None or ticket.endpoint is not exchange.endpoint):
                raise Foul(f"{exchange.record.request_id} is at {exchange.endpoint.id} without a place there")
            reservation = admission._reservation
            if reservation is not None and reservation.token is not None:
                held.update(scope.id for scope in reservation.ask.scopes)
        self._look_at_endpoints(at)
        self._look_at_lines(queued)
        self._look_at_limits(held)

    def _look_at_endpoints(self, at: Counter[int]) -> None:
        for endpoint in self._core.endpoints.all():
            if endpoint.in_flight != at[id(endpoint)]:
                raise Foul(f"{endpoint.id}: in_flight is {endpoint.in_flight} with {at[id(endpoint)]} requests there")
            window = endpoint.window
            if window is not None and (window.prefill_held < 0 or window._kv_held < 0):
                raise Foul(f"{endpoint.id}: window below zero ({window.prefill_held}, {window._kv_held})")

    def _look_at_lines(self, queued: Counter[str]) -> None:
        settings = self._core.config.queue
        for model, line in self._core.flow._lines.items():
            if line.count != queued[model]:
                raise Foul(f"the line of {model} counts {line.count}, and {queued[model]} wait")
            count, size = self._waiting.get(model, (0, 0))
            if line.count > max(settings.requests_max, count) or line.bytes > max(settings.bytes_max, size):
                raise Foul(f"the line of {model} holds {line.count} requests and {line.bytes} bytes, over its bounds")
            self._waiting[model] = line.count, line.bytes

    def _look_at_limits(self, held: Counter[str]) -> None:
        limiter = self._core.limiter
        if not isinstance(limiter, LocalLimiter):
            return
        for scope_id, meter in limiter.meters().items():
            if meter.running != held[scope_id]:
                raise Foul(f"{scope_id}: {meter.running} running by the limits, and {held[scope_id]} by what is held")
            most = meter.quota.concurrent_requests
            if most is not None and meter.running > max(most, self._running.get(scope_id, 0)):
                raise Foul(f"{scope_id}: {meter.running} requests at once, of {most}")
            self._running[scope_id] = meter.running


def check_quiet(core: Core) -> None:
    """Nothing is under way: every counter is at zero."""
    if core.in_flight:
        raise Foul(f"core.in_flight is {core.in_flight} when all is over")
    for endpoint in core.endpoints.all():
        window = endpoint.window
        if endpoint.in_flight or (window is not None and window._kv_held):
            raise Foul(f"{endpoint.id} still holds {endpoint.in_flight} requests")
        if window is not None and window.prefill_held and not window._silent:
            raise Foul(f"{endpoint.id} still holds {window.prefill_held} prompt tokens")
    if any(usual.waiting for hedge in core.hedging.hedges() for usual in hedge.kinds.values()):
        raise Foul("requests are watched when all is over")
    flow = core.flow
    waiting = [state for state in flow.snapshot() if state.waiting or state.body_bytes]
    if waiting or flow._busy or flow.wakes:
        raise Foul(f"the queue is not empty when all is over: {waiting} {flow._busy} {flow.wakes}")


def check_hedges(records: Iterable[RequestRecord], share: float) -> None:
    """No more requests were sent twice than the file allows, and where it allows none, none."""
    sent, hedged = Counter[str](), Counter[str]()
    for record in records:
        sent[record.model] += bool(record.endpoint)
        hedged[record.model] += bool(record.hedged)
    for model, count in hedged.items():
        if count > share * sent[model] + 1e-9:
            raise Foul(f"{count} of {sent[model]} requests to {model} were sent twice, with a share of {share:g}")


def check_answer(request: Request, attempts: Iterable[Said]) -> None:
    """One request is over: what its client got is right as far as it goes."""
    wish, reply = request.wish, request.reply
    if request.is_lost and not request.is_excused:
        raise Foul(f"{wish.id} ({wish.manner}) was lost after {reply.bytes} bytes of its answer")
    if not reply.status:
        return
    heard = hear(reply)
    if heard.error is not None and heard.error.get("code") == "internal_error":
        raise Foul(f"{wish.id} met an internal error")
    expected = _ERRORS.get(wish.manner)
    if expected is not None:
        if reply.status not in expected | _SHEDS and not (wish.manner == "half_body" and reply.status >= 400):
            raise Foul(f"{wish.id} ({wish.manner}) got {reply.status}: {bytes(reply.body)[:200]!r}")
        return
    if reply.status != 200:
        if reply.is_whole and heard.error is None:
            raise Foul(f"{wish.id} got {reply.status} and no error: {bytes(reply.body)[:200]!r}")
        is_too_large = heard.error is not None and heard.error.get("code") == "request_too_large"
        if reply.status == 400 and wish.manner != "bad_prompt" and not is_too_large:
            raise Foul(f"{wish.id} ({wish.manner}) got {reply.status}: {bytes(reply.body)[:200]!r}")
        return
    fits = [said for said in attempts if said.text.startswith(heard.text)]
    if not fits and (heard.text or (heard.is_done and heard.error is None)):
        raise Foul(f"{wish.id} got a text that no engine said: {heard.text!r}")
    if len(heard.ids) > 1 or heard.roles > 1:
        raise Foul(f"{wish.id} got {len(heard.ids)} ids and {heard.roles} roles")
    if heard.error is None and heard.is_done and heard.finishes != ["abort"]:
        _check_whole(request, [said for said in fits if said.text == heard.text])


def _check_whole(request: Request, fits: list[Said]) -> None:
    wish, heard = request.wish, hear(request.reply)
    if not fits:
        raise Foul(f"{wish.id} got an answer that says it is whole and is not: {heard.text!r}")
    is_message = wish.path == "/v1/messages"
    ends = {message_finish(said.finish) if is_message else said.finish for said in fits}
    if len(heard.finishes) != 1 or heard.finishes[0] not in ends:
        raise Foul(f"{wish.id} ended with {heard.finishes}")
    wanted = 1 if is_message or wish.wants_usage or not wish.is_stream else 0
    counted = [_as_counted(said, wish.body) for said in fits]
    usages = [message_usage(said) if is_message else said.usage for said in counted]
    if len(heard.usages) != wanted or (heard.usages and heard.usages[0] not in usages):
        raise Foul(f"{wish.id} was told {heard.usages} of {usages}")


def _as_counted(said: Said, body: bytes) -> Said:
    """An answer as its usage tells it: a text that was cut up anew counts as one token below the limit at most, since
    it went on."""
    limit = json.loads(body).get("max_tokens") if said.given else None
    over = 0 if limit is None else max(0, said.given - (limit - 1))
    return replace(said, tokens=said.tokens[: len(said.tokens) - over])
