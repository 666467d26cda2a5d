"""From a run to its report: percentiles, objectives, throughput, cost, prefix hits, balance, figures over time. Pure.

Guarantees: percentiles of requests are exact (nearest rank), those of gaps between tokens to 2 %; the same run gives
the same report. Shares of objectives are of the requests that were the fleet's to answer: a client's own mistakes, and
what a tenant's limits refused, are not; unfinished ones are, as misses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.simulate.engine import count_tokens
from penstock.simulate.fleet.gauges import columns
from penstock.simulate.fleet.ledger import Ledger, Row
from penstock.simulate.fleet.run import FleetRun
from penstock.simulate.fleet.scenario import Scenario
from penstock.simulate.fleet.shares import Shares, draw_shares
from penstock.simulate.fleet.verdict import QUEUED_S, Pressure, Verdict, judge
from penstock.simulate.workload.report import Spread, percentile
from penstock.simulate.workload.timeline import Timeline, draw_timeline

__all__ = ["HELD_SHARE", "Cost", "FleetReport", "Objective", "ReplicaReport", "draw_up"]

HELD_SHARE = 0.95
"""An objective is promised at the 95th percentile: so many requests must meet it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One promise. A request's ITL is its mean gap (TPOT); one that has no such figure meets it."""

    name: str
    limit_ms: float
    met_share: float
    p95_ms: float | None

    @property
    def is_held(self) -> bool:
        return self.met_share >= HELD_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """GPUs are paid for from the first arrival to the last answer. Money in millionths of a dollar; None: no price."""

    gpu_hours: float
    usd_micro_per_hour: int | None
    usd_micro: int | None
    usd_micro_per_million_output_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """One endpoint."""

    id: str
    requests: int
    output_tokens: int
    busy_share: float
    """Of the readings, with something running."""
    running_mean: float
    running_max: int
    waiting_max: int
    kv_max_share: float
    prefix_hit_share: float | None
    preemptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """Columns by interval of the timeline, of all replicas."""

    running: tuple[float, ...]
    """Mean."""
    waiting_max: tuple[float, ...]
    """In the engines."""
    queued: tuple[float, ...]
    """In the gateways, mean."""
    queued_max: tuple[float, ...]
    kv_max_share: tuple[float, ...]
    """Of the fullest replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """One run, ready for tables, JSON and HTML."""

    scenario: Scenario
    seconds: float
    requests: int
    ok: int
    client_errors: int
    """Prompts beyond the context: the engine's 400."""
    limited: int
    """Refused by tenants' limits."""
    shed: int
    timeouts: int
    no_endpoint: int
    """Nothing could serve within the queue's time."""
    sheds: tuple[tuple[str, int], ...]
    """Why gateways refused or dropped requests: reason and count, as a gateway's error code says it."""
    limits: tuple[tuple[str, int], ...]
    """Which limits refused: name and count."""
    unfinished: int
    cut_short: int
    verdict: Verdict
    objectives: tuple[Objective, ...]
    met_share: float | None
    """Of the requests, that met all objectives; None where there are no requests."""
    goodput_per_s: float
    requests_per_s: float
    prompt_tokens_per_s: float
    output_tokens_per_s: float
    prompt_tokens: int
    output_tokens: int
    prefix_hit_share: float | None
    """Of prompt tokens, found in the prefix cache; None where the workload does not say what requests share."""
    preemptions: int
    kv_blocks: int
    """Of one engine."""
    kv_tokens: int
    """The same as vLLM prints it."""
    ttft_ms: Spread
    itl_ms: Spread
    tpot_ms: Spread
    e2e_ms: Spread
    queue_ms: Spread
    """In the engine, until the first step."""
    waited_ms: Spread
    """In the gateway, of what it let into its queue or past it."""
    queued: int
    """Requests that waited in a gateway at all."""
    cost: Cost
    balance: float | None
    """The busiest replica's requests over the mean's."""
    running_max: int
    waiting_max: int
    """In the engines, at once."""
    queued_max: int
    """In the gateways, at once."""
    kv_max_share: float
    replicas: tuple[ReplicaReport, ...]
    timeline: Timeline
    over: Over
    shares: Shares

    @property
    def lost(self) -> int:
        """Requests that were the fleet's to answer and got none."""
        return self.shed + self.timeouts + self.no_endpoint

    @property
    def is_held(self) -> bool:
        """Every objective is held and nothing is lost."""
        return not self.lost and all(objective.is_held for objective in self.objectives)


def draw_up(run: FleetRun) -> FleetReport:
    """The report of a run."""
    ledger, gauges, first = run.ledger, run.gauges, run.replicas[0].engine
    seconds = run.ended_s
    per_s = 1.0 / seconds if seconds > 0 else 0.0
    replicas = _replicas(run)
    prompt, output, cached = _token_sums(ledger)
    met, share = _met_all(run)
    objectives = tuple(_objectives(run))
    timeline = draw_timeline(ledger)
    queue = _spread(ledger, lambda row: row.queue_s * 1000.0 if row.queue_s >= 0 else None)
    requests = [replica.requests for replica in replicas]
    e2e = _spread(ledger, lambda row: row.e2e_ms if row.outcome == "ok" else None)
    return FleetReport(
        scenario=run.scenario,
        seconds=round(seconds, 3),
        requests=run.requests,
        ok=ledger.count("ok"),
        client_errors=ledger.count("client_error"),
        limited=ledger.count("limited"),
        shed=ledger.count("shed"),
        timeouts=ledger.count("timeout"),
        no_endpoint=ledger.count("upstream_error"),
        sheds=tuple(sorted(run.sheds.items())),
        limits=tuple(sorted(run.limited.items())),
        unfinished=run.unfinished,
        cut_short=run.cut_short,
        verdict=judge(_pressure(run, e2e, objectives)),
        objectives=objectives,
        met_share=share,
        goodput_per_s=round(met * per_s, 3),
        requests_per_s=round(ledger.count("ok") * per_s, 3),
        prompt_tokens_per_s=round(prompt * per_s, 1),
        output_tokens_per_s=round(output * per_s, 1),
        prompt_tokens=prompt,
        output_tokens=output,
        prefix_hit_share=round(cached / prompt, 4) if prompt and run.names_prefixes else None,
        preemptions=sum(replica.preemptions for replica in replicas),
        kv_blocks=first.num_gpu_blocks,
        kv_tokens=count_tokens(first.config, first.max_model_len, first.num_gpu_blocks),
        ttft_ms=_spread(ledger, lambda row: row.ttft_ms),
        itl_ms=_gaps(run),
        tpot_ms=_spread(ledger, lambda row: row.tpot_ms),
        e2e_ms=e2e,
        queue_ms=queue,
        waited_ms=_spread(ledger, lambda row: row.waited_s * 1000.0 if row.waited_s >= 0 else None),
        queued=run.queued,
        cost=_cost(run.scenario, seconds, output),
        balance=round(max(requests) * len(requests) / sum(requests), 3) if sum(requests) else None,
        running_max=max(gauges.running, default=0),
        waiting_max=max(gauges.waiting, default=0),
        queued_max=max(gauges.queued, default=0),
        kv_max_share=round(max(gauges.kv, default=0.0), 4),
        replicas=replicas,
        timeline=timeline,
        over=_over(run, timeline),
        shares=draw_shares(ledger),
    )


def _spread(ledger: Ledger, figure: Callable[[Row], float | None]) -> Spread:
    return Spread.of(value for row in ledger if (value := figure(row)) is not None)


def _gaps(run: FleetRun) -> Spread:
    gaps = run.gaps
    if not gaps.total:
        return Spread()
    p50, p90, p95, p99, longest = (round(gaps.quantile(q) * 1000.0, 3) for q in (0.5, 0.9, 0.95, 0.99, 1.0))
    return Spread(count=gaps.total, p50=p50, p90=p90, p95=p95, p99=p99, max=longest)


def _token_sums(ledger: Ledger) -> tuple[int, int, int]:
    """Prompt, output and cached tokens of the requests that were answered."""
    prompt = output = cached = 0
    for row in ledger:
        if row.outcome == "ok":
            prompt += row.prompt_tokens
            output += row.output_tokens
            cached += row.cached_tokens
    return prompt, output, cached


def _ours(run: FleetRun) -> int:
    """Requests that were the fleet's to answer."""
    return run.requests - run.ledger.count("client_error") - run.ledger.count("limited")


def _met_all(run: FleetRun) -> tuple[int, float | None]:
    """How many met all objectives, and their share."""
    limits = [(figure, limit) for _, figure, limit in _limits(run.scenario)]
    met = sum(
        row.outcome == "ok" and all((value := figure(row)) is None or value <= limit for figure, limit in limits)
        for row in run.ledger
    )
    ours = _ours(run)
    return met, round(met / ours, 4) if ours else None


def _limits(scenario: Scenario) -> list[tuple[str, Callable[[Row], float | None], float]]:
    said = scenario.objectives
    named: tuple[tuple[str, Callable[[Row], float | None], float | None], ...] = (
        ("TTFT", lambda row: row.ttft_ms, said.ttft_ms),
        ("ITL", lambda row: row.tpot_ms, said.itl_ms),
        ("E2E", lambda row: row.e2e_ms, said.e2e_ms),
    )
    return [(name, figure, limit) for name, figure, limit in named if limit is not None]


def _objectives(run: FleetRun) -> list[Objective]:
    found: list[Objective] = []
    ours = _ours(run)
    for name, figure, limit in _limits(run.scenario):
        values = [figure(row) for row in run.ledger if row.outcome == "ok"]
        known = sorted(value for value in values if value is not None)
        met = sum(value is None or value <= limit for value in values)
        p95 = round(percentile(known, 95), 3) if known else None
        found.append(Objective(name=name, limit_ms=limit, met_share=round(met / ours, 4) if ours else 1.0, p95_ms=p95))
    return found


def _cost(scenario: Scenario, seconds: float, output_tokens: int) -> Cost:
    hours = scenario.gpus * seconds / 3600.0
    price = scenario.usd_micro_per_gpu_hour
    total = None if price is None else round(price * hours)
    return Cost(
        gpu_hours=round(hours, 4),
        usd_micro_per_hour=None if price is None else price * scenario.gpus,
        usd_micro=total,
        usd_micro_per_million_output_tokens=None
        if total is None or not output_tokens
        else round(total * 1_000_000 / output_tokens),
    )


def _replicas(run: FleetRun) -> tuple[ReplicaReport, ...]:
    ticks = max(1, len(run.gauges.running))
    found: list[ReplicaReport] = []
    views = zip(*run.endpoints, strict=True)
    for seen, replica, gauges in zip(views, run.replicas, run.gauges.replicas, strict=True):
        stats = replica.engine.stats()
        hits = stats.cached_tokens / stats.prompt_tokens if stats.prompt_tokens and run.names_prefixes else None
        found.append(
            ReplicaReport(
                id=seen[0].id,
                requests=sum(endpoint.dispatched_total for endpoint in seen),
                output_tokens=stats.generation_tokens,
                busy_share=round(gauges.busy_ticks / ticks, 4),
                running_mean=round(gauges.running_sum / ticks, 3),
                running_max=gauges.running_max,
                waiting_max=gauges.waiting_max,
                kv_max_share=round(gauges.kv_max, 4),
                prefix_hit_share=None if hits is None else round(hits, 4),
                preemptions=stats.preemptions,
            )
        )
    return tuple(found)


def _pressure(run: FleetRun, e2e: Spread, objectives: Sequence[Objective]) -> Pressure:
    """A wait counts wherever it was: in a gateway, in an engine, or in both."""
    ledger, gauges = run.ledger, run.gauges
    waits = [max(0.0, row.waited_s) + max(0.0, row.queue_s) for row in ledger]
    at_once = [waiting + queued for waiting, queued in zip(gauges.waiting, gauges.queued, strict=True)]
    return Pressure(
        requests=run.requests,
        queued=sum(wait > QUEUED_S for wait in waits),
        queue_max_s=round(max(waits, default=0.0), 6),
        waiting_max=max(at_once, default=0),
        running_max=max((one.running_max for one in gauges.replicas), default=0),
        running_limit=run.scenario.engine.max_num_seqs,
        kv_max=max(gauges.kv, default=0.0),
        preemptions=sum(replica.engine.stats().preemptions for replica in run.replicas),
        lost=sum(ledger.count(outcome) for outcome in ("shed", "timeout", "upstream_error")),
        unfinished=run.unfinished,
        still_waiting=at_once[-1] if run.unfinished and at_once else 0,
        drain_s=run.ended_s - run.last_due_s,
        e2e_p99_s=(e2e.p99 or 0.0) / 1000.0,
        missed=tuple(f"{o.name} ≤ {o.limit_ms:g} ms" for o in objectives if not o.is_held),
    )


def _over(run: FleetRun, timeline: Timeline) -> Over:
    gauges, step, count = run.gauges, timeline.interval_s, len(timeline.t_s)

    def mean(values: Sequence[int]) -> float:
        return round(sum(values) / len(values), 2)

    return Over(
        running=columns(gauges.running, step, count, mean),
        waiting_max=columns(gauges.waiting, step, count, lambda values: float(max(values))),
        queued=columns(gauges.queued, step, count, mean),
        queued_max=columns(gauges.queued, step, count, lambda values: float(max(values))),
        kv_max_share=columns(gauges.kv, step, count, lambda values: round(max(values), 4)),
    )
