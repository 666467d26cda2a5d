"""One run of a fleet in virtual time: sessions come, the gateway's policy sends them to replicas, answers come back.

Routing is the gateway's own code (`gateways`): its `EndpointTable` with requests in flight, its policies, its reading
of each engine (once a second), its bounds and its patience. Around it is one heap of events, and engines that are run
up to the moment of the next one.

    due ──▶ shed | dispatched ──▶ the engine sees it ──▶ answered ──▶ the session's next turn is due after its pause
                                    └▶ refused (too long)   └▶ timed out, when its first token does not come

Guarantees: every request that is due ends exactly once (in the ledger) or is counted as unfinished; in flight is zero
at the end but for those; same scenario and workload, same result. The gateway's own time (some tenths of a millisecond)
and the network's are left out.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import assert_never

from penstock.serve.record import Outcome
from penstock.serve.routing import Ended, Endpoint, Need
from penstock.simulate.engine import LengthRequest, TokenGaps
from penstock.simulate.fleet.gateways import Gateway, gateways_of, need_of
from penstock.simulate.fleet.gauges import TICK_S, Gauges
from penstock.simulate.fleet.ledger import Ledger, Row
from penstock.simulate.fleet.prefix import block_hashes
from penstock.simulate.fleet.replica import Answer, Replica
from penstock.simulate.fleet.scenario import Scenario
from penstock.simulate.workload.request import Session, TraceRequest

__all__ = ["FleetRun", "Traffic", "simulate"]

_PAUSE_MIN_S = 0.001
"""Shortest pause between an answer and the next turn: how far engines are run ahead at least."""
_GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole part, fill 0 to 1 evenly."""
_REFUSED_S = 0.001
"""What an engine takes to say that a prompt is too long."""

OnTick = Callable[[float, int], None]
"""Told once a virtual second: the time, and how many requests are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What comes in. `duration_s` ends the coming, not the answers."""

    sessions: Iterator[Session]
    duration_s: float | None = None
    requests_max: int | None = None


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
    names_prefixes: bool = False
    """Some request said what it shares with others; else nothing is known of prefix hits."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Turn:
    """One request under way."""

    id: str
    session: Session
    place: int
    due_s: float
    give_up_s: float
    gateway: Gateway
    endpoint: Endpoint
    need: Need
    replica: Replica
    is_seen: bool = False
    """By the engine."""
    is_over: bool = False

    @property
    def request(self) -> TraceRequest:
        return self.session.turns[self.place]


@dataclass(frozen=True, slots=True)
class _Due:
    session: Session
    place: int
    """Of the turn."""


@dataclass(frozen=True, slots=True)
class _Tick:
    number: int


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Event = _Due | _Turn | _Tick | _Stop


def simulate(traffic: Traffic, scenario: Scenario, *, on_tick: OnTick | None = None) -> FleetRun:
    """Runs until everything that comes is answered, or until the scenario's end."""
    return _Fleet(traffic, scenario, on_tick).run()


class _Fleet:
    """Owns the heap, the endpoints and everything in flight."""

    def __init__(self, traffic: Traffic, scenario: Scenario, on_tick: OnTick | None) -> None:
        self._traffic = traffic
        self._scenario = scenario
        self._on_tick = on_tick
        names = [f"{scenario.model}-{n}" for n in range(scenario.endpoints)]
        gaps = TokenGaps()
        self._replicas = {  # each on a host of its own, slow at other times
            name: Replica(name, scenario.engine, gaps, phase=n * _GOLDEN % 1.0) for n, name in enumerate(names)
        }
        self._gateways = gateways_of(scenario, names)
        self._picks = Random(f"{scenario.seed}:gateways")
        self._busy: dict[str, Replica] = {}
        """Replicas that have work."""
        self._heap: list[tuple[float, int, _Event]] = []
        self._numbers = count()
        self._coming = 0
        """Requests on the heap that are not due yet."""
        self._live: dict[str, _Turn] = {}
        self._oldest: deque[_Turn] = deque()
        """Live ones in the order of their patience; those that are over are dropped when they come up."""
        self._pauses: dict[str, float] = {}
        """Of live requests that have a next turn: the pause before it."""
        self._reached_s = 0.0
        self._result = FleetRun(
            scenario=scenario,
            ledger=Ledger(),
            gauges=Gauges(len(names)),
            gaps=gaps,
            replicas=list(self._replicas.values()),
            endpoints=[gateway.endpoints for gateway in self._gateways],
        )

    def run(self) -> FleetRun:
        until, heap, result = self._scenario.until_s, self._heap, self._result
        self._next_session()
        self._push(0.0, _Tick(0))
        if until is not None:
            self._push(until, _Stop())
        while heap:
            at, _, event = heap[0]
            only = event.replica if isinstance(event, _Turn) and not self._pauses else None
            if not self._advance(at, only):
                continue  # an answer brought something earlier
            heapq.heappop(heap)
            match event:
                case _Due():
                    self._arrive(event, at)
                case _Turn():
                    self._see(event, at)
                case _Tick():
                    self._tick(event.number, at)
                case _Stop():
                    if self._live or self._coming:
                        result.ended_s = at
                    break
                case _:
                    assert_never(event)
        result.unfinished = len(self._live)
        return result

    # What comes ------------------------------------------------------------------------------------------------------

    def _push(self, at: float, event: _Event) -> None:
        self._coming += isinstance(event, _Due)
        heapq.heappush(self._heap, (at, next(self._numbers), event))

    def _next_session(self) -> None:
        session = next(self._traffic.sessions, None)
        if session is not None and not self._is_closed(session.at_s):
            self._push(session.at_s, _Due(session, 0))

    def _is_closed(self, at: float) -> bool:
        """Nothing comes any more."""
        traffic = self._traffic
        is_late = traffic.duration_s is not None and at >= traffic.duration_s
        return is_late or (traffic.requests_max is not None and self._result.requests >= traffic.requests_max)

    def _arrive(self, due: _Due, now: float) -> None:
        """A request is due: the gateway takes it, or is full."""
        self._coming -= 1
        if self._is_closed(now):
            return
        result, scenario = self._result, self._scenario
        result.requests += 1
        result.last_due_s = now
        if due.place == 0:
            self._next_session()
        if len(self._live) >= scenario.in_flight_max * scenario.gateways:
            self._enter(_refused(due.session.turns[due.place], now, now, "shed"))
            return
        gateway = self._gateways[int(self._picks.random() * len(self._gateways))]
        need = need_of(due.session.turns[due.place])
        endpoint = gateway.send(need, now).endpoint
        replica = self._replicas[endpoint.id]
        turn = _Turn(
            id=str(result.requests),
            session=due.session,
            place=due.place,
            due_s=now,
            give_up_s=now + scenario.first_byte_s,
            gateway=gateway,
            endpoint=endpoint,
            need=need,
            replica=replica,
        )
        self._live[turn.id] = turn
        self._oldest.append(turn)
        if due.place + 1 < len(due.session.turns):
            self._pauses[turn.id] = max(_PAUSE_MIN_S, due.session.turns[due.place + 1].gap_s)
        self._push(replica.receive(max(1, turn.request.prompt_tokens), now), turn)

    def _see(self, turn: _Turn, now: float) -> None:
        """The engine sees a request: it takes it, or says that it is too long."""
        if turn.is_over:
            return
        request, engine = turn.request, self._scenario.engine
        prompt, output = max(1, request.prompt_tokens), max(1, request.output_tokens)
        context = turn.replica.engine.max_model_len
        is_generating = engine.model.task == "generate"
        if prompt + is_generating > context:
            self._end(turn, Ended(now=now + _REFUSED_S, is_ok=False, sent_at=turn.due_s))
            self._enter(_refused(request, turn.due_s, now + _REFUSED_S, "client_error"))
            return
        if is_generating and prompt + output > context:
            self._result.cut_short += 1
        self._result.names_prefixes = self._result.names_prefixes or bool(request.prefix_blocks)
        turn.is_seen = True
        turn.replica.submit(
            LengthRequest(
                id=turn.id,
                prompt_tokens=min(prompt, context - 1),
                output_tokens=output if is_generating else 1,
                hashes=block_hashes(request.prefix_blocks, prompt, engine.block_size),
            ),
            now,
        )
        self._busy[turn.replica.name] = turn.replica

    # What comes back -------------------------------------------------------------------------------------------------

    def _advance(self, at: float, only: Replica | None) -> bool:
        """Runs engines up to `at`; False where something earlier than that has come up since.

        With sessions under way an answer brings the next turn, after its pause. So engines are run ahead by the
        shortest such pause at most: what an answer brings is never in the past of another engine.
        """
        if only is not None:
            self._collect(only, at)
            return True
        while True:
            reach = self._reached_s + min(self._pauses.values()) if self._pauses else at
            self._reached_s = reach = min(at, reach)
            for replica in list(self._busy.values()):
                self._collect(replica, reach)
            if reach >= at:
                return self._heap[0][0] >= at
            if self._heap[0][0] < at:
                return False

    def _collect(self, replica: Replica, until: float) -> None:
        if replica.next_at > until:
            return
        for answer in replica.advance(until):
            self._answered(answer)
        if replica.next_at == math.inf:
            self._busy.pop(replica.name, None)

    def _answered(self, answer: Answer) -> None:
        turn = self._live[answer.id]
        request = turn.request
        is_generating = self._scenario.engine.model.task == "generate"
        self._enter(
            Row(
                turn.due_s,
                answer.first_at if is_generating else None,
                answer.done_at,
                answer.queue_s,
                max(1, request.prompt_tokens),
                answer.output_tokens if is_generating else 0,
                answer.cached_tokens,
                "ok",
            )
        )
        outcome = Ended(
            now=answer.done_at,
            is_ok=True,
            sent_at=turn.due_s,
            ttft_s=answer.first_at - turn.due_s,
            prompt_tokens=max(1, request.prompt_tokens),
            cached_tokens=answer.cached_tokens if request.prefix_blocks else -1,
            output_tokens=answer.output_tokens if is_generating else 0,
        )
        self._end(turn, outcome)
        if turn.place + 1 < len(turn.session.turns):
            pause_s = turn.session.turns[turn.place + 1].gap_s
            self._push(max(self._reached_s, answer.done_at + pause_s), _Due(turn.session, turn.place + 1))

    def _end(self, turn: _Turn, outcome: Ended) -> None:
        """The request is no longer in flight."""
        turn.is_over = True
        turn.gateway.end(turn.endpoint, turn.need, outcome)
        del self._live[turn.id]
        self._pauses.pop(turn.id, None)

    def _enter(self, row: Row) -> None:
        self._result.ledger.add(row)
        self._result.ended_s = max(self._result.ended_s, row.done_s)

    # Once a second ---------------------------------------------------------------------------------------------------

    def _tick(self, number: int, now: float) -> None:
        """The scraper reads each engine, and the gateway looks for answers that are late."""
        gauges = self._result.gauges
        for place, (name, replica) in enumerate(self._replicas.items()):
            sample, stats = replica.sample(now)
            for gateway in self._gateways:
                gateway.observe(name, sample)
            gauges.read(place, stats)
        gauges.close()
        self._give_up(now)
        if self._on_tick is not None:
            self._on_tick(now, len(self._result.ledger))
        if self._live or self._coming:
            self._push((number + 1) * TICK_S, _Tick(number + 1))

    def _give_up(self, now: float) -> None:
        """504 for what has no first token after the gateway's patience; the engine forgets it."""
        oldest = self._oldest
        while oldest and (oldest[0].is_over or oldest[0].give_up_s <= now):
            turn = oldest.popleft()
            if turn.is_over or (turn.is_seen and turn.replica.has_first_token(turn.id)):
                continue
            if turn.is_seen:
                turn.replica.abort(turn.id)
            self._end(turn, Ended(now=now, is_ok=False, sent_at=turn.due_s))
            self._enter(_refused(turn.request, turn.due_s, now, "timeout"))


def _refused(request: TraceRequest, due_s: float, now: float, outcome: Outcome) -> Row:
    return Row(due_s, None, now, -1.0, max(1, request.prompt_tokens), 0, 0, outcome)
