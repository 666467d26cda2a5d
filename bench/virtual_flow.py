"""A fleet in virtual time behind the gateway's own flow: requests come, wait, are granted, run in simulated engines.

Engines are `VirtualEngine`s with real step times. Every 2 ms of virtual time they are advanced, ends are told to the
flow, and it is pumped when it asks for it. Each engine is read every 250 ms, as the scraper does. The network and the
gateway's own time are left out. With several gateways each has its own flow, table and readings of the same engines.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from penstock.facts import find_gpu, find_model
from penstock.serve.flow import Capacity, Flow, QueueSettings, Ticket
from penstock.serve.routing import EndpointAddress, EndpointTable, EngineSample, LeastLoad, Need, Policy
from penstock.serve.routing.cost import CostPolicy
from penstock.serve.routing.hardware import timing_of_steps
from penstock.simulate.engine import EngineConfig, LengthRequest, VirtualEngine
from penstock.simulate.engine.core import make_timing
from penstock.simulate.workload.lengths import Lengths

__all__ = ["Ask", "Fleet", "Record", "poisson", "share_of_work"]

QUANTUM_S = 0.002
SCRAPE_S = 0.25
MODEL = "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request that comes."""

    at: float
    tenant: str
    prompt: int
    output: int
    expected: int
    """Output tokens that the gateway expects."""
    weight: float = 1.0
    traffic_class: str = "interactive"
    gateway: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request that was answered."""

    ask: Ask
    granted_at: float
    first_at: float
    done_at: float

    @property
    def ttft_s(self) -> float:
        return self.first_at - self.ask.at


@dataclass(slots=True)
class _Gateway:
    table: EndpointTable
    flow: Flow


@dataclass(slots=True)
class Fleet:
    """Engines and gateways. `run` once."""

    engines: int = 2
    gateways: int = 1
    seats: int = 256
    knows_capacity: bool = True
    routes_by_cost: bool = False
    """By the gateway's default policy; else to the endpoint with the least load, which takes less time to simulate."""
    queue: QueueSettings = field(default_factory=lambda: QueueSettings(requests_max=20_000))
    records: list[Record] = field(default_factory=list)
    shed: int = 0
    in_engine_waiting_max: int = 0
    limits: list[tuple[float, list[int]]] = field(default_factory=list)
    """Windows of the first gateway, as they were at each second."""

    def run(self, asks: Iterable[Ask], until: float) -> Fleet:
        config = EngineConfig(
            model=find_model("Llama-3.1-8B"), gpu=find_gpu("H100"), max_model_len=16_384, max_num_seqs=self.seats
        )
        firsts: list[str] = []
        engines = {
            f"{MODEL}-{n}": VirtualEngine(
                config, on_first=lambda _at, name, _before: firsts.append(name), phase=n * 0.618 % 1.0
            )
            for n in range(self.engines)
        }
        gateways = [self._gateway(engines) for _ in range(self.gateways)]
        coming: Iterator[Ask] = iter(asks)
        due = next(coming, None)
        live: dict[str, tuple[Ticket, Ask, Flow, float]] = {}
        number = 0
        for beat in range(1, math.ceil(until / QUANTUM_S)):
            now = beat * QUANTUM_S
            for engine in engines.values():
                ended = engine.advance(now)
                for name in firsts:
                    live[name][2].began(live[name][0], now)
                firsts.clear()
                for served in ended:
                    ticket, ask, flow, granted_at = live.pop(served.id)
                    self.records.append(
                        Record(
                            ask=ask, granted_at=granted_at, first_at=served.first_token_at, done_at=served.finished_at
                        )
                    )
                    flow.ended(
                        ticket,
                        now,
                        ttft_s=served.first_token_at - granted_at,
                        prompt_tokens=served.prompt_tokens,
                        cached_tokens=served.cached_tokens,
                        output_tokens=served.output_tokens,
                    )
            self._read(beat, now, engines, gateways)
            granted: list[tuple[Ticket, Flow]] = []
            while due is not None and due.at <= now:
                flow = gateways[due.gateway].flow
                ticket = flow.submit(_ticket(due), now)
                if ticket.state == "granted":
                    granted.append((ticket, flow))
                self.shed += ticket.state == "shed"
                due = next(coming, None)
            for gateway in gateways:
                flow = gateway.flow
                if flow.is_dirty or (flow.next_due or math.inf) <= now:
                    for ticket in flow.pump(now):
                        if ticket.state == "granted":
                            granted.append((ticket, flow))
                        else:
                            self.shed += 1
            for ticket, flow in granted:
                assert ticket.endpoint is not None
                number += 1
                ask = ticket.owner
                live[str(number)] = (ticket, ask, flow, now)
                request = LengthRequest(id=str(number), prompt_tokens=ask.prompt, output_tokens=ask.output)
                engines[ticket.endpoint.id].submit(request, now)
        return self

    def _gateway(self, engines: dict[str, VirtualEngine]) -> _Gateway:
        table = EndpointTable()
        table.set_pool(
            MODEL, [EndpointAddress(id=name, host="127.0.0.1", port=n + 1) for n, name in enumerate(engines)]
        )
        flow = Flow(table, self._policy(next(iter(engines.values())).config), gateways=self.gateways)
        capacity = Capacity()
        if self.knows_capacity:
            engine = next(iter(engines.values()))
            capacity = Capacity(requests_max=self.seats, kv_tokens=engine.num_gpu_blocks * engine.config.block_size)
        flow.configure(queue=self.queue, capacities={MODEL: capacity})
        return _Gateway(table, flow)

    def _policy(self, config: EngineConfig) -> Policy:
        if not self.routes_by_cost:
            return LeastLoad()
        return CostPolicy({MODEL: timing_of_steps(make_timing(config), seqs_max=self.seats)}, weighs=False)

    def _read(self, beat: int, now: float, engines: dict[str, VirtualEngine], gateways: list[_Gateway]) -> None:
        every = round(SCRAPE_S / QUANTUM_S)
        for place, (name, engine) in enumerate(engines.items()):
            if beat % every != place * every // len(engines):
                continue
            stats = engine.stats()
            self.in_engine_waiting_max = max(self.in_engine_waiting_max, stats.waiting)
            sample = EngineSample(
                at=now,
                running=stats.running,
                waiting=stats.waiting,
                kv_usage=stats.kv_usage,
                prompt_tokens_total=stats.prompt_tokens,
                generation_tokens_total=stats.generation_tokens,
                preemptions_total=stats.preemptions,
            )
            for gateway in gateways:
                gateway.table.observe(name, sample)
                gateway.flow.endpoints_changed()
        if beat % round(1 / QUANTUM_S) == 0:
            windows = [e.window.limit for e in gateways[0].table.all() if e.window is not None]
            self.limits.append((now, windows))


def _ticket(ask: Ask) -> Ticket:
    return Ticket(
        model=MODEL,
        tenant=ask.tenant,
        weight=ask.weight,
        traffic_class=ask.traffic_class,  # type: ignore[arg-type]
        need=Need(prompt_tokens=ask.prompt, output_tokens=ask.expected),
        body_bytes=4 * ask.prompt,
        arrived_at=ask.at,
        wait_s=600.0,
        owner=ask,
        is_stream=True,
    )


def poisson(
    tenant: str,
    per_s: float,
    until: float,
    random: Random,
    *,
    prompt: int = 800,
    output: int = 200,
    spread: float = 0.6,
    known: bool = True,
    lengths: tuple[Lengths, Lengths] | None = None,
    **more: object,
) -> list[Ask]:
    """Requests at random moments, of log-normal lengths about these medians, or of these prompts and answers. `known`:
    the gateway expects the right length; else it expects the median."""
    asks, at = [], random.expovariate(per_s)
    while at < until:
        if lengths is None:
            prompts = max(1, min(12_000, round(prompt * random.lognormvariate(0, spread))))
            outputs = max(1, min(4_000, round(output * random.lognormvariate(0, spread))))
        else:
            prompts, outputs = (min(12_000, length.draw(random)) for length in lengths)
        expected = outputs if known else output
        asks.append(Ask(at=at, tenant=tenant, prompt=prompts, output=outputs, expected=expected, **more))  # type: ignore[arg-type]
        at += random.expovariate(per_s)
    return asks


def share_of_work(records: Iterable[Record], begin: float, end: float) -> dict[str, float]:
    """Tokens that each tenant received in a span: prompts when their first token came, answers evenly to their last."""
    work: dict[str, float] = defaultdict(float)
    for record in records:
        if begin <= record.first_at < end:
            work[record.ask.tenant] += record.ask.prompt
        took = record.done_at - record.first_at
        inside = min(end, record.done_at) - max(begin, record.first_at)
        if took > 0 and inside > 0:
            work[record.ask.tenant] += record.ask.output * inside / took
    return dict(work)
