"""A fleet in virtual time behind the gateway's own flow: asks of tenants through what `penstock simulate` runs.

Engines have real step times, of Llama 3.1 8B on an H100, and their API servers cost nothing: what is looked at is the
queue. Each engine is read every 250 ms, as the scraper does. With several gateways each has its own flow and table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random

from penstock.facts import find_gpu, find_model
from penstock.perf import default_calibration
from penstock.serve.flow import CLASSES, Capacity, QueueSettings
from penstock.simulate.engine import EngineConfig
from penstock.simulate.fleet import Scenario, TenantRules, Traffic, simulate
from penstock.simulate.workload import Session, TraceRequest
from penstock.simulate.workload.lengths import Lengths

__all__ = ["Ask", "Fleet", "Record", "poisson", "share_of_work"]

SCRAPE_S = 0.25
WAIT_S = 600.0
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
class Fleet:
    """Engines and gateways. `run` once."""

    engines: int = 2
    gateways: int = 1
    seats: int = 256
    knows_capacity: bool = True
    routes_by_cost: bool = False
    """By the gateway's default policy; else to the endpoint with the least load, which takes less time to simulate."""
    tells: bool = True
    """Several gateways tell each other what tenants had, as those do that share limits."""
    queue: QueueSettings = field(default_factory=lambda: QueueSettings(requests_max=20_000))
    records: list[Record] = field(default_factory=list)
    shed: int = 0
    in_engine_waiting_max: int = 0

    def run(self, asks: Iterable[Ask], until: float) -> Fleet:
        """Sends the asks, which are in order of time, and keeps what was answered by `until`."""
        known = list(asks)
        places = iter(known)  # each request is asked about once, in the order in which it comes
        traffic = Traffic(
            sessions=(Session(turns=(_request(ask),)) for ask in known),
            gateway_of=lambda _: next(places).gateway,
        )
        run = simulate(traffic, self._scenario(known, until))
        for row in run.ledger:
            if row.outcome == "ok" and row.first_s is not None:
                ask = Ask(
                    at=row.due_s, tenant=row.tenant, prompt=row.prompt_tokens, output=row.output_tokens, expected=0
                )
                self.records.append(
                    Record(ask=ask, granted_at=row.due_s + row.waited_s, first_at=row.first_s, done_at=row.done_s)
                )
        self.shed += run.ledger.count("shed")
        self.in_engine_waiting_max = max(one.waiting_max for one in run.gauges.replicas)
        return self

    def _scenario(self, asks: list[Ask], until: float) -> Scenario:
        gpu = find_gpu("H100")
        calibration = default_calibration(gpu)
        engine = EngineConfig(
            model=find_model("Llama-3.1-8B"),
            gpu=gpu,
            max_model_len=16_384,
            max_num_seqs=self.seats,
            calibration=replace(calibration, front_end=calibration.front_end.scaled(0.0)),
        )
        return Scenario(
            model=MODEL,
            engine=engine,
            replicas=self.engines,
            policy="cost" if self.routes_by_cost else "least-load",
            gateways=self.gateways,
            queue=self.queue,
            has_shared_limits=self.tells,
            capacity=Capacity(requests_max=self.seats) if self.knows_capacity else Capacity(),
            wait_s=dict.fromkeys(CLASSES, WAIT_S),
            tenants={ask.tenant: TenantRules(weight=ask.weight) for ask in asks},
            scrape_s=SCRAPE_S,
            in_flight_max=len(asks) + 1,
            until_s=until,
        )


def _request(ask: Ask) -> TraceRequest:
    return TraceRequest(
        at_s=ask.at,
        prompt_tokens=ask.prompt,
        output_tokens=ask.output,
        tenant=ask.tenant,
        traffic_class=ask.traffic_class,
        expected_output=ask.expected,
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
