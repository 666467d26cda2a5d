"""One run of a fleet in virtual time: sessions come, gateways let them through to replicas, answers come back.

Limits, queue and routing are the gateway's own code (`gateways`), as are its reading of each engine, its bounds and its
patience. Around it is one heap of events, and engines that are run up to the moment of the next one.

    due ──▶ limited | shed | waits ──▶ sent ──▶ the engine sees it ──▶ begun ──▶ answered ──▶ the session's next turn
              └▶ shed, when its time is over    └▶ refused (too long)   └▶ timed out, when its first token does not come

While nobody waits in a gateway, engines run ahead to the next event. While somebody does, they run step by step, and
whatever gives room lets the next one go, within a millisecond.

Guarantees: every request that is due ends exactly once (in the ledger) or is counted as unfinished; in flight is zero
at the end but for those; same scenario and workload, same result. The gateway's own time (some tenths of a millisecond)
and the network's are left out.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import assert_never

from penstock.serve.flow.balance import ROUND_S
from penstock.serve.flow.quota import Usage
from penstock.serve.record import Outcome
from penstock.serve.routing import Endpoint
from penstock.simulate.engine import LengthRequest, TokenGaps
from penstock.simulate.fleet.gateways import class_of, gateways_of, talk
from penstock.simulate.fleet.gauges import TICK_S, Gauges
from penstock.simulate.fleet.ledger import Ledger, Row
from penstock.simulate.fleet.prefix import block_hashes
from penstock.simulate.fleet.replica import Answer, Replica
from penstock.simulate.fleet.scenario import Scenario
from penstock.simulate.fleet.turn import Began, Done, Due, Event, Look, Stop, Talk, Tick, Turn
from penstock.simulate.workload.request import Session, TraceRequest

__all__ = ["FleetRun", "Traffic", "simulate"]

_PAUSE_MIN_S = 0.001
"""Shortest pause between an answer and the next turn: how far engines are run ahead at least."""
_BEAT_S = 0.001
"""While somebody waits engines are run ahead so far at least: as late room may be seen."""
_AFTER_S = 1e-6
"""Past a step's decision, so that it is made."""
_GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole part, fill 0 to 1 evenly."""
_REFUSED_S = 0.001
"""What an engine takes to say that a prompt is too long."""
_SHED_OUTCOMES: dict[str, Outcome] = {"no_endpoint": "upstream_error", "deadline": "timeout"}
"""As a gateway logs them; all other reasons are `shed`."""
_NOTHING_RAN = Usage(has_run=False)

OnTick = Callable[[float, int], None]
"""Told once a virtual second: the time, and how many requests are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What comes in. `duration_s` ends the coming, not the answers."""

    sessions: Iterator[Session]
    duration_s: float | None = None
    requests_max: int | None = None
    gateway_of: Callable[[TraceRequest], int] | None = None
    """Which gateway takes a request; without it any, as a load balancer picks."""


@dataclass(slots=True, kw_only=True)
class FleetRun:
    """What came of a run."""

    scenario: Scenario
    ledger: Ledger
    gauges: Gauges
    gaps: TokenGaps
    replicas: list[Replica]
    endpoints: list[list[Endpoint]]
    """As each gateway sees them."""
    ended_s: float = 0.0
    last_due_s: float = 0.0
    requests: int = 0
    unfinished: int = 0
    cut_short: int = 0
    """Answers that ended at the model's context, shorter than the workload wanted."""
    queued: int = 0
    """Requests that waited in a gateway."""
    sheds: Counter[str] = field(default_factory=Counter)
    """By reason, as gateways say it."""
    limited: Counter[str] = field(default_factory=Counter)
    """By limit."""
    names_prefixes: bool = False
    """Some request said what it shares with others; else nothing is known of prefix hits."""


def simulate(traffic: Traffic, scenario: Scenario, *, on_tick: OnTick | None = None) -> FleetRun:
    """Runs until everything that comes is answered, or until the scenario's end."""
    return _Fleet(traffic, scenario, on_tick).run()


class _Fleet:
    """Owns the heap, the endpoints and everything in flight."""

    def __init__(self, traffic: Traffic, scenario: Scenario, on_tick: OnTick | None) -> None:
        self._traffic = traffic
        self._scenario = scenario
        self._on_tick = on_tick
        self._is_generating = scenario.engine.model.task == "generate"
        names = [f"{scenario.model}-{n}" for n in range(scenario.endpoints)]
        gaps = TokenGaps()
        tells = scenario.queue.is_on and self._is_generating
        self._places = {name: n for n, name in enumerate(names)}
        self._replicas = [  # each on a host of its own, slow at other times
            Replica(name, scenario.engine, gaps, phase=n * _GOLDEN % 1.0, tells_firsts=tells)
            for n, name in enumerate(names)
        ]
        self._gateways = gateways_of(scenario, names)
        self._picks = Random(f"{scenario.seed}:gateways")
        self._words: dict[str, bytes] = {}
        """What gateways said in the last round."""
        self._busy: dict[str, Replica] = {}
        """Replicas that have work."""
        self._looked_for = [False] * len(names)
        """Engines whose next reading is on the heap."""
        self._heap: list[tuple[float, int, Event]] = []
        self._numbers = count()
        self._coming = 0
        """Requests on the heap that are not due yet."""
        self._live: dict[str, Turn] = {}
        self._waiting = 0
        """Of which wait in a gateway."""
        self._oldest: deque[Turn] = deque()
        """Sent ones in the order of their patience; those that are over are dropped when they come up."""
        self._pauses: dict[str, float] = {}
        """Of live requests that have a next turn: the pause before it."""
        self._reached_s = 0.0
        self._result = FleetRun(
            scenario=scenario,
            ledger=Ledger(),
            gauges=Gauges(len(names)),
            gaps=gaps,
            replicas=self._replicas,
            endpoints=[gateway.endpoints for gateway in self._gateways],
        )

    def run(self) -> FleetRun:
        until, heap, result = self._scenario.until_s, self._heap, self._result
        for place in range(len(self._replicas)):
            self._read(place, 0.0)
        self._next_session()
        self._push(0.0, Tick(0))
        if self._scenario.has_shared_limits and len(self._gateways) > 1:
            self._push(0.0, Talk(0))
        if until is not None:
            self._push(until, Stop())
        while heap:
            at, _, event = heap[0]
            if not self._advance(at, event):
                continue  # an answer brought something earlier
            heapq.heappop(heap)
            if isinstance(event, Stop):
                if self._live or self._coming:
                    result.ended_s = at
                break
            self._handle(event, at)
            if self._waiting:
                self._pump(at)
        result.unfinished = len(self._live)
        return result

    def _handle(self, event: Due | Turn | Began | Done | Look | Tick | Talk, at: float) -> None:
        match event:
            case Due():
                self._arrive(event, at)
            case Turn():
                self._see(event, at)
            case Began():
                if event.turn.ticket is not None:
                    event.turn.gateway.began(event.turn.ticket, at)
            case Done():
                self._answered(event.turn, event.answer)
            case Look():
                self._look(event.place, at)
            case Tick():
                self._tick(event.number, at)
            case Talk():
                self._talk(event.number, at)
            case _:
                assert_never(event)

    # What comes ------------------------------------------------------------------------------------------------------

    def _push(self, at: float, event: Event) -> None:
        self._coming += isinstance(event, Due)
        heapq.heappush(self._heap, (at, next(self._numbers), event))

    def _next_session(self) -> None:
        session = next(self._traffic.sessions, None)
        if session is not None and not self._is_closed(session.at_s):
            self._push(session.at_s, Due(session, 0))

    def _is_closed(self, at: float) -> bool:
        """Nothing comes any more."""
        traffic = self._traffic
        is_late = traffic.duration_s is not None and at >= traffic.duration_s
        return is_late or (traffic.requests_max is not None and self._result.requests >= traffic.requests_max)

    def _arrive(self, due: Due, now: float) -> None:
        """A request is due: a gateway takes it, or is full."""
        self._coming -= 1
        if self._is_closed(now):
            return
        result, scenario, request = self._result, self._scenario, due.session.turns[due.place]
        result.requests += 1
        result.last_due_s = now
        if due.place == 0:
            self._next_session()
        if len(self._live) >= scenario.in_flight_max * scenario.gateways:
            result.sheds["overloaded"] += 1
            self._enter(self._refused(request, now, now, "shed"))
            return
        of = self._traffic.gateway_of
        place = int(self._picks.random() * len(self._gateways)) if of is None else of(request)
        turn = Turn(
            id=str(result.requests), session=due.session, place=due.place, due_s=now, gateway=self._gateways[place]
        )
        rules = scenario.rules_of(request.tenant or scenario.tenant)
        if rules.scopes:
            verdict = turn.gateway.limit(request, rules, turn.id, now)
            if verdict.reservation is None:
                result.limited[verdict.limit or ""] += 1
                self._enter(self._refused(request, now, now, "limited"))
                return
            turn.reservation = verdict.reservation
        self._live[turn.id] = turn
        if due.place + 1 < len(due.session.turns):
            self._pauses[turn.id] = max(_PAUSE_MIN_S, due.session.turns[due.place + 1].gap_s)
        turn.ticket = turn.gateway.submit(request, rules, turn, now)
        if turn.ticket.state == "queued":
            turn.has_waited = True
            self._waiting += 1
            result.queued += 1
        elif turn.ticket.state == "granted":
            self._send(turn, now)
        else:
            self._shed(turn, now)

    def _pump(self, now: float) -> None:
        """Who waited goes, where there is room now, or does not wait any longer."""
        for gateway in self._gateways:
            while gateway.is_due(now):
                changed = gateway.pump(now)
                for ticket in changed:
                    self._waiting -= 1
                    if ticket.state == "granted":
                        self._send(ticket.owner, now)
                    else:
                        self._shed(ticket.owner, now)
                if not changed:
                    break

    def _send(self, turn: Turn, now: float) -> None:
        """A gateway sends it to the endpoint that its policy chose."""
        assert turn.ticket is not None
        assert turn.ticket.endpoint is not None
        place = self._places[turn.ticket.endpoint.id]
        turn.replica = replica = self._replicas[place]
        turn.sent_s = now
        turn.give_up_s = now + self._scenario.first_byte_s
        self._oldest.append(turn)
        self._push(replica.receive(max(1, turn.request.prompt_tokens), now), turn)
        self._look_later(place, now)

    def _see(self, turn: Turn, now: float) -> None:
        """The engine sees a request: it takes it, or says that it is too long."""
        if turn.is_over or turn.replica is None:
            return
        request, engine = turn.request, self._scenario.engine
        prompt, output = max(1, request.prompt_tokens), max(1, request.output_tokens)
        context = turn.replica.engine.max_model_len
        if prompt + self._is_generating > context:
            self._lose(turn, now + _REFUSED_S, "client_error")
            return
        if self._is_generating and prompt + output > context:
            self._result.cut_short += 1
        self._result.names_prefixes = self._result.names_prefixes or bool(request.prefix_blocks)
        turn.is_seen = True
        turn.replica.submit(
            LengthRequest(
                id=turn.id,
                prompt_tokens=min(prompt, context - 1),
                output_tokens=output if self._is_generating else 1,
                hashes=block_hashes(request.prefix_blocks, prompt, engine.block_size),
            ),
            now,
        )
        self._busy[turn.replica.name] = turn.replica

    # What comes back -------------------------------------------------------------------------------------------------

    def _advance(self, at: float, event: Event) -> bool:
        """Runs engines up to `at`; False where something earlier than that has come up since.

        With sessions under way an answer brings the next turn, after its pause; while somebody waits, room. So engines
        are run ahead only as far as neither can be in the past of another engine.
        """
        if not self._waiting:
            if isinstance(event, Began | Done):
                return True  # engines have nothing to do with it
            if not self._pauses and isinstance(event, Turn | Look):
                self._collect(self._replica_of(event), at)
                return True
        while True:
            reach = self._reached_s + min(self._pauses.values()) if self._pauses else at
            if self._waiting:
                reach = min(reach, self._next_word())
            self._reached_s = reach = min(at, reach)
            for replica in list(self._busy.values()):
                self._collect(replica, reach)
            if self._waiting:
                self._pump(reach)
            if reach >= at:
                return self._heap[0][0] >= at
            if self._heap[0][0] < at:
                return False

    def _replica_of(self, event: Turn | Look) -> Replica:
        if isinstance(event, Look):
            return self._replicas[event.place]
        assert event.replica is not None
        return event.replica

    def _next_word(self) -> float:
        """Until when nothing is heard that may let go who waits."""
        heard = min((replica.next_at for replica in self._busy.values()), default=math.inf) + _AFTER_S
        due = min(gateway.due_at for gateway in self._gateways)
        return max(self._reached_s + _BEAT_S, min(heard, due))

    def _collect(self, replica: Replica, until: float) -> None:
        if replica.next_at > until and not replica.begun:
            return
        answers = replica.advance(until)
        if replica.begun:
            for first_at, name in replica.begun:
                turn = self._live[name]
                if first_at > until:
                    self._push(first_at, Began(turn))
                elif turn.ticket is not None:
                    turn.gateway.began(turn.ticket, first_at)
            replica.begun.clear()
        for answer in answers:
            turn = self._live[answer.id]
            turn.is_answered = True
            if answer.done_at > until:
                self._push(answer.done_at, Done(turn, answer))
            else:
                self._answered(turn, answer)
        if replica.next_at == math.inf:
            self._busy.pop(replica.name, None)

    def _answered(self, turn: Turn, answer: Answer) -> None:
        request, prompt = turn.request, max(1, turn.request.prompt_tokens)
        output = answer.output_tokens if self._is_generating else 0
        self._enter(self._row(turn, answer.done_at, "ok", answer))
        assert turn.ticket is not None
        turn.gateway.ended(
            turn.ticket,
            answer.done_at,
            ttft_s=answer.first_at - turn.sent_s,
            cached_tokens=answer.cached_tokens if request.prefix_blocks else -1,
            output_tokens=output,
        )
        self._over(turn, Usage(prompt, output), answer.done_at)
        if turn.place + 1 < len(turn.session.turns):
            pause_s = turn.session.turns[turn.place + 1].gap_s
            self._push(max(self._reached_s, answer.done_at + pause_s), Due(turn.session, turn.place + 1))

    def _lose(self, turn: Turn, now: float, outcome: Outcome) -> None:
        """It was sent, and there is no answer."""
        assert turn.ticket is not None
        turn.gateway.failed(turn.ticket, now)
        self._enter(self._row(turn, now, outcome))
        self._over(turn, Usage(), now)

    def _shed(self, turn: Turn, now: float) -> None:
        """The queue does not keep it, or any longer."""
        assert turn.ticket is not None
        assert turn.ticket.shed is not None
        reason = turn.ticket.shed.reason
        self._result.sheds[reason] += 1
        self._enter(self._row(turn, now, _SHED_OUTCOMES.get(reason, "shed")))
        self._over(turn, _NOTHING_RAN, now)

    def _over(self, turn: Turn, usage: Usage, now: float) -> None:
        """The request is no longer in flight."""
        turn.is_over = True
        if turn.reservation is not None:
            turn.gateway.settle(turn.reservation, usage, now)
        del self._live[turn.id]
        self._pauses.pop(turn.id, None)

    def _row(self, turn: Turn, now: float, outcome: Outcome, answer: Answer | None = None) -> Row:
        waited_s = -1.0
        if turn.sent_s >= 0 or turn.has_waited:
            waited_s = (turn.sent_s if turn.sent_s >= 0 else now) - turn.due_s
        row = self._refused(turn.request, turn.due_s, now, outcome)._replace(waited_s=waited_s)
        if answer is None:
            return row
        return row._replace(
            first_s=answer.first_at if self._is_generating else None,
            queue_s=answer.queue_s,
            output_tokens=answer.output_tokens if self._is_generating else 0,
            cached_tokens=answer.cached_tokens,
        )

    def _refused(self, request: TraceRequest, due_s: float, now: float, outcome: Outcome) -> Row:
        tenant = request.tenant or self._scenario.tenant
        traffic_class = class_of(request, self._scenario.rules_of(tenant))
        prompt = max(1, request.prompt_tokens)
        return Row(due_s, None, now, -1.0, prompt, 0, 0, outcome, -1.0, tenant, traffic_class)

    def _enter(self, row: Row) -> None:
        self._result.ledger.add(row)
        self._result.ended_s = max(self._result.ended_s, row.done_s)

    # Readings --------------------------------------------------------------------------------------------------------

    def _look_later(self, place: int, now: float) -> None:
        """The next reading of an engine, each at moments of its own. One that is idle says nothing new."""
        if self._looked_for[place]:
            return
        self._looked_for[place] = True
        every = self._scenario.scrape_s
        offset = place * every / len(self._replicas)
        at = offset + every * (math.floor((now - offset) / every) + 1)
        self._push(at if at > now else at + every, Look(place))  # rounding may give the moment that is now

    def _look(self, place: int, now: float) -> None:
        self._looked_for[place] = False
        if self._read(place, now):
            self._look_later(place, now)

    def _read(self, place: int, now: float) -> bool:
        """All gateways read an engine's metrics. False where it is idle."""
        replica = self._replicas[place]
        sample, _ = replica.sample(now)
        for gateway in self._gateways:
            gateway.observe(replica.name, sample)
        one = self._result.gauges.replicas[place]
        one.waiting_max = max(one.waiting_max, sample.waiting)
        return bool(sample.running or sample.waiting) or any(seen[place].in_flight for seen in self._result.endpoints)

    def _tick(self, number: int, now: float) -> None:
        """Gauges for the report, and gateways look for answers that are late."""
        gauges = self._result.gauges
        for place, replica in enumerate(self._replicas):
            gauges.read(place, replica.engine.stats())
        gauges.close(self._waiting)
        self._give_up(now)
        if self._on_tick is not None:
            self._on_tick(now, len(self._result.ledger))
        if self._live or self._coming:
            self._push((number + 1) * TICK_S, Tick(number + 1))

    def _talk(self, number: int, now: float) -> None:
        """The gateways' words of this round, through what their limits are counted in."""
        self._words = talk(self._gateways, number, self._words, now)
        if self._live or self._coming:
            self._push((number + 1) * ROUND_S, Talk(number + 1))

    def _give_up(self, now: float) -> None:
        """504 for what has no first token after the gateway's patience; the engine forgets it."""
        oldest = self._oldest
        while oldest and (oldest[0].is_over or oldest[0].give_up_s <= now):
            turn = oldest.popleft()
            if turn.is_over or turn.is_answered or turn.replica is None:
                continue
            if turn.is_seen:
                if turn.replica.has_first_token(turn.id):
                    continue
                turn.replica.abort(turn.id)
            self._lose(turn, now, "timeout")
