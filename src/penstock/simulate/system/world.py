"""One seed's world: real gateways, simulated engines, clients and faults on one clock. Pure.

    requests and faults ──▶ heal ──▶ everything finishes ──▶ counters at zero ──▶ every endpoint in use again

A broken rule is a `Foul`, told with the story of what happened before it. The gateways come from outside, as they are
the real ones and so belong to the edge.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from penstock.serve.config import GatewayConfig, compile_gateway
from penstock.serve.core import Core
from penstock.serve.record import RequestRecord
from penstock.simulate.system.checks import check_answer, check_hedges, check_quiet
from penstock.simulate.system.clock import Clock
from penstock.simulate.system.draw import (
    ENGINE_FAULTS,
    FAULTS_S,
    PROBE_KEY,
    STREAM_FAULTS,
    Fault,
    Scenario,
    Visit,
    Wish,
    draw,
)
from penstock.simulate.system.engine import Engine, Foul
from penstock.simulate.system.person import Line, Person
from penstock.simulate.system.text import Said
from penstock.spec import Fleet

__all__ = ["Gate", "Verdict", "World", "run_seed"]

FINISH_S = 60.0
"""Seconds after the last fault in which everything must be over: the longest time-outs that a seed draws, in a row."""
BACK_S = 120.0
"""Seconds in which every endpoint must be in use again: the longest back-off is 60 s."""
STORY_MAX = 80


class Gate(Protocol):
    """A gateway under test."""

    core: Core
    is_listening: bool
    is_dead: bool

    def connect(self, person: Person) -> Line | None: ...

    def freeze(self, seconds: float) -> None: ...

    def kill(self) -> None: ...

    def drain(self, seconds: float) -> None: ...

    def take(self, config: GatewayConfig) -> None: ...

    def change_pool(self, model: str, ports: Sequence[int], draining: Sequence[int] = ()) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one seed."""

    seed: int
    failure: str = ""
    """The rule that was broken; empty where all held."""
    story: tuple[str, ...] = ()
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests by how the gateway says they ended, with the reason."""
    resumes: int = 0
    continued: int = 0
    """Times that a stream went on from its tokens."""
    retries: int = 0
    hedges: Counter[str] = field(default_factory=Counter)
    """Requests that were sent to a second endpoint too, by which of the two answered."""
    events: int = 0
    seconds: float = 0.0
    """Virtual."""


class World:
    """Everything of one seed."""

    def __init__(self, scenario: Scenario, make: Callable[[World, GatewayConfig, int], Gate]) -> None:
        self.scenario = scenario
        self.clock = Clock()
        self.random = Random(f"world {scenario.seed}")
        self.story: deque[tuple[float, str]] = deque(maxlen=STORY_MAX)
        self.records: list[RequestRecord] = []
        self.attempts: dict[str, list[Said]] = {}
        self._words: dict[int, dict[str, bytes]] = {}
        self.is_healed = False
        self._thawed_at = 0.0
        """When no gateway stands still any more."""
        self._make = make
        self.configs = [compile_gateway(Fleet.model_validate(fleet), {}) for fleet in scenario.fleets]
        self._config = self.configs[0]
        self.engines: dict[int, Engine] = {}
        for model, ports in scenario.engines.items():
            for port in ports:
                self.engines[port] = self._engine(model, port)
        self.gates = [make(self, self._config, index) for index in range(scenario.gateways)]
        self._fault_ends: list[Callable[[], None]] = []
        self.people: list[Person] = []

    def _engine(self, model: str, port: int) -> Engine:
        return Engine(
            clock=self.clock,
            random=Random(f"engine {self.scenario.seed} {port}"),
            model=model,
            port=port,
            pace_s=self.scenario.pace_s,
            seats=self.scenario.seats,
            said=self._said,
        )

    def _said(self, request_id: str, said: Said) -> None:
        self.attempts.setdefault(request_id, []).append(said)

    def words_of(self, number: int) -> dict[str, bytes]:
        """What gateways told each other in a round; those long past are forgotten."""
        for old in [n for n in self._words if n < number - 2]:
            del self._words[old]
        return self._words.setdefault(number, {})

    def tell(self, words: str) -> None:
        """Something for the story."""
        self.story.append((self.clock.now, words))

    # ------------------------------------------------------------------ one run

    def run(self) -> None:
        """Lets it all happen.

        Raises:
            Foul: a rule was broken.
        """
        began = self.clock.now
        for visit in self.scenario.visits:
            self._visit(visit, began + visit.at)
        for fault in self.scenario.faults:
            self.clock.at(began + fault.at, partial(self._begin, fault))
        self.clock.run_until(began + FAULTS_S)
        self._heal()
        self._finish()
        self._be_quiet()
        self._come_back()

    def _visit(self, visit: Visit, at: float) -> None:
        person = Person(self.clock, visit, lambda person: self._connect(person, visit.gateway))
        self.people.append(person)
        self.clock.at(at, person.go)

    def _connect(self, person: Person, place: int) -> Line | None:
        for step in range(len(self.gates)):
            gate = self.gates[(place + step) % len(self.gates)]
            if gate.is_listening:
                return gate.connect(person)
        return None

    def _finish(self) -> None:
        ends = self.clock.now + FINISH_S
        while not all(person.is_done for person in self.people):
            self.clock.run_until(self.clock.now + 0.25)
            if self.clock.now > ends:
                left = [p.current.wish.id for p in self.people if p.current is not None]
                raise Foul(f"not over {FINISH_S:g} s after the last fault: {left}")
        for person in self.people:
            for request in person.requests:
                check_answer(request, self.attempts.get(request.wish.id, ()))
        if not any(fault.what == "kill" for fault in self.scenario.faults):  # its requests are in no record
            check_hedges(self.records, max(c.hedging.share_max if c.hedging.is_on else 0.0 for c in self.configs))
        for record in self.records if self.scenario.is_calm else ():
            if record.outcome == "upstream_error":
                raise Foul(f"{record.request_id} failed ({record.reason}) though nothing went wrong")

    def _be_quiet(self) -> None:
        # Who gave up may be done before a gateway thaws.
        self.clock.run_until(max(self.clock.now, self._thawed_at) + 1.0)
        for gate in self.gates:
            check_quiet(gate.core)
        for engine in self.engines.values():
            if any(not job.wire.is_black for job in engine.jobs):
                raise Foul(f"the engine at {engine.port} still runs something for nobody")

    def _come_back(self) -> None:
        """Every endpoint is in use again, while a few requests come."""
        ends = self.clock.now + BACK_S
        number = 0
        while out := [e for gate in self.gates for e in gate.core.endpoints.all() if e.health != "ready"]:
            if self.clock.now > ends:
                for e in out:
                    why = f"{e.health} by {e.guard.signal} ({e.last_error}), {e.guard.streak} times"
                    self.tell(f"{e.id}: {why}, next try at {e.retry_at:.3f}; {e.sample}")
                raise Foul(f"not in use again {BACK_S:g} s after all was well: {[e.id for e in out]}")
            for place in range(len(self.gates)):
                for model in self.scenario.engines:
                    number += 1
                    self._visit(_probe(number, model, place), self.clock.now)
            self.clock.run_until(self.clock.now + 0.5)
        if number:
            self._finish()
            self._be_quiet()

    # ------------------------------------------------------------------ faults

    def _begin(self, fault: Fault) -> None:
        if fault.what in (*ENGINE_FAULTS, *STREAM_FAULTS):
            engine = list(self.engines.values())[fault.target]
            self.tell(f"engine {engine.port}: {fault.what} for {fault.lasts_s:g} s ({fault.amount:.2f})")
            engine.begin(fault.what, fault.amount)
            end: Callable[[], None] = partial(engine.heal, fault.what)
        else:
            self.tell(f"gateway {fault.target}: {fault.what} for {fault.lasts_s:g} s ({fault.amount:.2f})")
            end = self._begin_at_gate(fault)
        is_over = False

        def over() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self.tell(f"{fault.what} at {fault.target} is over")
                end()

        self._fault_ends.append(over)
        self.clock.after(fault.lasts_s, over)

    def _begin_at_gate(self, fault: Fault) -> Callable[[], None]:
        """Returns what ends it."""
        place, gate = fault.target, self.gates[fault.target]
        model = self.random.choice(list(self.scenario.engines))
        ports = self.scenario.engines[model]
        match fault.what:
            case "freeze":
                gate.freeze(fault.lasts_s)
                self._thawed_at = max(self._thawed_at, self.clock.now + fault.lasts_s)
            case "wall_jump":
                gate.core.unix_offset_s += (fault.amount - 0.5) * 1e7
            case "reload":
                self._config = self.random.choice(self.configs)
                gate.take(self._config)
            case "pool_empty":
                gate.change_pool(model, ())
                return lambda: self._restore(place, model)
            case "pool_shrinks":
                drained = ports[:1] if fault.amount < 0.5 else ()
                gate.change_pool(model, ports if drained else ports[1:], drained)
                return lambda: self._restore(place, model)
            case "restart":
                if gate.is_listening:
                    gate.drain(fault.lasts_s)
                    return lambda: None  # it says itself when it is gone
            case "kill":
                gate.kill()
                return lambda: self.start_again(place)
        return lambda: None

    def _restore(self, place: int, model: str) -> None:
        self.gates[place].change_pool(model, self.scenario.engines[model])

    def start_again(self, place: int) -> None:
        """A gateway that ended is started anew."""
        if self.gates[place].is_dead:
            self.tell(f"gateway {place} starts again")
            self.gates[place] = self._make(self, self._config, place)

    def _heal(self) -> None:
        self.tell("everything heals")
        for over in self._fault_ends:
            over()
        for engine in self.engines.values():
            engine.faults.clear()
        self.is_healed = True


def _probe(number: int, model: str, place: int) -> Visit:
    body = {"model": model, "messages": [{"role": "user", "content": f"probe {number}"}], "max_tokens": 3}
    wish = Wish(
        id=f"probe{number}",
        path="/v1/chat/completions",
        model=model,
        body=json.dumps(body).encode(),
        is_stream=False,
        wants_usage=False,
        manner="plain",
        amount=0.5,
    )
    return Visit(at=0.0, key=PROBE_KEY, gateway=place, wishes=(wish,))


def run_seed(seed: int, make: Callable[[World, GatewayConfig, int], Gate]) -> Verdict:
    """Draws a seed's world and lets it happen. Whatever is raised in it is the seed's failure."""
    world = World(draw(seed), make)
    began, failure = world.clock.now, ""
    try:
        world.run()
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    return Verdict(
        seed=seed,
        failure=failure,
        story=tuple(f"{at - began:8.3f} s  {words}" for at, words in world.story),
        outcomes=Counter(f"{record.outcome} {record.reason}".strip() for record in world.records),
        resumes=sum(record.resumes for record in world.records),
        continued=sum(record.continued for record in world.records),
        retries=sum(record.retries for record in world.records),
        hedges=Counter(record.hedged for record in world.records if record.hedged),
        events=world.clock.events,
        seconds=world.clock.now - began,
    )
