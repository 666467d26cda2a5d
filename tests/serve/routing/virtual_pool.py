"""One pool in virtual time: engines with faults, a gateway that sends and listens, metrics that are read four times a
second. All from one seed.

The gateway here does what the exchange does, in few words: a candidate with the fewest requests, a deadline on silence,
a retry elsewhere. `Engine` is what the faults do to an engine. Nothing sleeps; a step is 50 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from penstock.serve.routing.endpoints import Endpoint, EndpointAddress, EndpointTable, EngineSample
from penstock.serve.routing.signals import Signal
from penstock.serve.stall import stall_of

STEP_S = 0.05
LOOK_STEPS = 5
BROKEN = ("crash", "hang", "hang_all", "errors", "resets", "core_dead")
LYING = ("frozen_metrics", "wild_metrics", "mute", "slow")
"""It answers all the same."""


@dataclass
class Engine:
    """One engine. `fault` is what it suffers from, "" when well."""

    index: int
    random: Random
    fault: str = ""
    running: int = 0
    tokens: int = 0
    prompts: int = 0
    steps: int = 0
    frozen: EngineSample | None = None

    def begin(self, fault: str, now: float) -> None:
        self.frozen = self._sample(now) if fault in ("hang", "hang_all", "frozen_metrics") else None
        self.fault = fault

    def heal(self) -> None:
        if self.fault in ("crash", "core_dead"):
            self.tokens = self.prompts = self.steps = 0
        self.fault, self.frozen = "", None

    @property
    def works(self) -> bool:
        return not self.fault or self.fault in LYING

    def look(self, now: float) -> EngineSample | str | None:
        """Its metrics, why there are none, or None for silence."""
        if self.fault == "crash":
            return "connection refused"
        if self.fault in ("hang_all", "mute"):
            return None
        if self.frozen is not None:
            old = self.frozen
            return EngineSample(
                at=now,
                running=old.running,
                waiting=old.waiting,
                prompt_tokens_total=old.prompt_tokens_total,
                generation_tokens_total=old.generation_tokens_total,
                steps_total=old.steps_total,
            )
        if self.fault == "wild_metrics":
            return EngineSample(
                at=now, running=self.random.randrange(9), generation_tokens_total=self.random.randrange(10**6)
            )
        return self._sample(now)

    def _sample(self, now: float) -> EngineSample:
        return EngineSample(
            at=now,
            running=self.running,
            prompt_tokens_total=self.prompts,
            generation_tokens_total=self.tokens,
            steps_total=self.steps,
        )


@dataclass(eq=False)
class Sent:
    """A request at an engine."""

    endpoint: Endpoint
    engine: Engine
    trial: int
    at: float
    left: int
    has_begun: bool = False
    last_at: float = 0.0
    tried: tuple[str, ...] = ()
    is_bad: bool = False


@dataclass
class Pool:
    """The pool, its gateway and its clock."""

    seed: int
    count: int = 4
    rate: float = 20.0
    random: Random = field(init=False)
    table: EndpointTable = field(default_factory=EndpointTable)
    engines: dict[str, Engine] = field(default_factory=dict)
    flying: dict[Sent, None] = field(default_factory=dict)
    now: float = 1000.0
    steps: int = 0
    served: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    lost: int = 0
    ended: int = 0
    began: int = 0
    bad_share: float = 0.0
    last_sent: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.table.set_pool(
            "chat", [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=n + 1) for n in range(self.count)]
        )
        for n, endpoint in enumerate(self.table.all()):
            self.engines[endpoint.id] = Engine(n, self.random)

    @property
    def endpoints(self) -> list[Endpoint]:
        return self.table.all()

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def jump(self, seconds: float) -> None:
        """The gateway stood still, and the machine with it."""
        self.now += seconds
        for sent in self.flying:
            sent.last_at += seconds  # its sockets were not read either; what waits in them is read first

    def step(self) -> None:
        self.now += STEP_S
        self.steps += 1
        arrivals = int(self.rate * STEP_S) + (self.random.random() < self.rate * STEP_S % 1)
        for _ in range(arrivals):
            self.began += 1
            self.send(())
        for sent in list(self.flying):
            self.serve(sent)
        for endpoint in self.endpoints:
            engine = self.engines[endpoint.id]
            if self.steps % LOOK_STEPS == engine.index % LOOK_STEPS:
                engine.running = sum(s.engine is engine for s in self.flying)
                self.look(endpoint, engine)
        if self.steps % LOOK_STEPS == 0:
            self.sweep()

    def send(self, tried: tuple[str, ...]) -> None:
        pool = self.table.pools["chat"]
        due = None if tried else pool.trial_due(self.now)
        fit = [due] if due is not None else [e for e in pool.candidates(self.now) if e.id not in tried]
        if not fit or len(tried) > 2:
            self.refused += not tried
            self.lost += bool(tried)
            self.ended += 1
            return
        endpoint = min(fit, key=lambda e: (e.in_flight + (e.health != "ready"), self.random.random()))
        held = endpoint.guard.trial, endpoint.guard.trial_until
        trial = self.table.sent(endpoint, self.now)
        if trial and held[0]:
            assert self.now >= held[1], "two trials at a time"
        self.last_sent[endpoint.id] = self.now
        engine = self.engines[endpoint.id]
        sent = Sent(endpoint, engine, trial, self.now, self.random.randrange(4, 40), last_at=self.now)
        sent.tried, sent.is_bad = (*tried, endpoint.id), self.random.random() < self.bad_share
        self.flying[sent] = None
        if engine.fault == "crash":
            self.end(sent, "connect_failed", retried=True)

    def serve(self, sent: Sent) -> None:
        """What a step brings."""
        engine = sent.engine
        if sent not in self.flying:
            return
        if sent.is_bad and engine.works:
            self.end(sent, "client_error")
        elif engine.fault == "crash":
            self.end(sent, "connect_failed" if sent.at == self.now else "reset", retried=True)
        elif engine.fault == "core_dead":
            self.end(sent, "engine_died", retried=True)
        elif engine.fault == "errors" and engine.random.random() < 0.8:
            self.end(sent, "answered_5xx")
        elif engine.fault == "resets" and engine.random.random() < 0.8:
            self.end(sent, "reset", retried=True)
        elif engine.works or engine.fault in ("errors", "resets"):
            self.token(sent)

    def token(self, sent: Sent) -> None:
        engine = sent.engine
        if engine.fault == "slow" and self.steps % 8:
            return
        if not sent.has_begun:
            sent.has_begun = True
            engine.prompts += 10
            self.table.heard(sent.endpoint, "began", self.now, trial=sent.trial)
        engine.tokens += 1
        engine.steps += 1
        sent.last_at = self.now
        sent.left -= 1
        if sent.left <= 0:
            sent.endpoint.itl_s = STEP_S * (8 if engine.fault == "slow" else 1)
            self.end(sent, "ok")

    def end(self, sent: Sent, signal: Signal, *, retried: bool = False) -> None:
        del self.flying[sent]
        self.table.left(sent.endpoint)
        self.table.heard(sent.endpoint, signal, self.now, trial=sent.trial)
        if signal == "ok":
            self.served[sent.endpoint.id] = self.served.get(sent.endpoint.id, 0) + 1
        if retried:
            self.send(sent.tried)
        else:
            self.ended += 1

    def look(self, endpoint: Endpoint, engine: Engine) -> None:
        seen = engine.look(self.now)
        if isinstance(seen, str):
            self.table.failed(endpoint, seen, self.now)
        elif seen is not None:
            self.table.observe(endpoint.id, seen)
            status = 503 if engine.fault == "core_dead" else 200  # a hung engine's health says 200
            if self.steps % (4 * LOOK_STEPS) == engine.index % LOOK_STEPS:
                self.table.health_answered(endpoint, status, self.now)

    def sweep(self) -> None:
        """As the gateway's: progress is gathered, silence judged, the table watches."""
        for sent in self.flying:
            if sent.has_begun:
                sent.endpoint.progress_at = max(sent.endpoint.progress_at, sent.last_at)
        self.table.watch(self.now)
        for sent in list(self.flying):
            if sent not in self.flying:
                continue
            others = [e for e in self.table.pools["chat"].candidates(self.now) if e.id not in sent.tried]
            if others and len(sent.tried) <= 2 and self.is_late(sent):
                self.end(sent, "stalled", retried=True)
            elif self.now - sent.last_at > 60.0:
                self.end(sent, "first_byte_late")

    def is_late(self, sent: Sent) -> bool:
        if not sent.has_begun or sent.endpoint.is_stalled:
            return bool(stall_of(sent.endpoint, None, sent.at, sent.last_at, self.now))
        quiet_s = self.now - sent.last_at
        return quiet_s > max(2.0, 50 * STEP_S) and self.now - sent.endpoint.progress_at >= 2.0

    def drain(self) -> None:
        """No more requests; what flies ends."""
        self.rate = 0.0
        for _ in range(round(180 / STEP_S)):
            if not self.flying:
                return
            self.step()
