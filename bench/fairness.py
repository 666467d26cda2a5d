"""Is the gateway's queue fair, and what does it cost? In virtual time, with simulated engines.

    python -m bench.fairness              # all, some minutes
    python -m bench.fairness isolation    # one of: isolation shares gateways uneven throughput cost memory

Prints figures as JSON; exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from bench.virtual_flow import MODEL, Fleet, Record, poisson, share_of_work
from penstock.serve.flow import Capacity, Flow, QueueSettings, Ticket
from penstock.serve.routing import Decision, Ended, Endpoint, EndpointAddress, EndpointTable, LeastLoad, Need
from penstock.simulate.workload.lengths import Hump, Lengths

ISOLATION_MAX = 1.2
SHARE_OFF_MAX = 0.05
COST_US_MAX = 6.0
MEMORY_GROWTH_MAX = 0.05
PAGE_BYTES = 4096
CHAT = (  # the `chat` workload of `penstock bench`: lengths as in Azure's public trace
    Lengths(
        humps=(
            Hump(weight=0.46, p50=380, p99=2_600),
            Hump(weight=0.32, p50=1_080, p99=1_250),
            Hump(weight=0.14, p50=2_000, p99=4_200),
            Hump(weight=0.08, p50=4_110, p99=4_200),
        )
    ),
    Lengths(
        humps=(
            Hump(weight=0.66, p50=95, p99=330),
            Hump(weight=0.32, p50=408, p99=470),
            Hump(weight=0.02, p50=600, p99=1_000),
        )
    ),
)
SEATS = 32
"""Of each engine: sized so that its steps stay short at full load."""


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * len(values))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """Tenant B sends `load` of its fair share, alone and while others send 20 times theirs."""

    engines: int = 32
    tenants: int = 1
    """That flood, each with as much weight as B."""
    lengths: tuple[Lengths, Lengths] | None = CHAT
    """None: log-normal about 800 and 200 tokens."""
    load: float = 0.8
    seats: int = SEATS
    """Of each engine."""
    knows_seats: bool = True
    """The file says how many; else they are learned."""
    from_s: tuple[float, float] = (0.0, 0.0)
    """When B begins, and when the others do."""
    seconds: float = 16.0
    seeds: tuple[int, ...] = (0, 1)


def _flooded(case: Flood) -> dict[str, Any]:
    """Times of B's requests, of all seeds together, and what the fleet did."""

    def ran(asks: list[Any], seconds: float) -> Fleet:
        queue = QueueSettings(requests_max=20_000)
        fleet = Fleet(
            engines=case.engines,
            seats=case.seats,
            knows_capacity=case.knows_seats,
            routes_by_cost=True,
            queue=queue,
        )
        return fleet.run(sorted(asks, key=lambda ask: ask.at), seconds)

    seconds, most_per_s = case.seconds, 30.0 * case.engines
    flood = ran(poisson("a", most_per_s, 14.0, Random(1), lengths=case.lengths), 14.0)
    share = sum(r.done_at >= 6.0 for r in flood.records) / 8.0 / (1 + case.tenants)
    found: tuple[list[Record], list[Record]] = ([], [])
    lost = work = 0.0
    for seed in case.seeds:
        mine = poisson("b", share * case.load, seconds, Random(100 * seed + 2), lengths=case.lengths)
        mine = [ask for ask in mine if ask.at >= case.from_s[0]]
        theirs = [
            ask
            for n in range(case.tenants)
            for ask in poisson(f"a{n}", share * 20, seconds, Random(100 * seed + 3 + n), lengths=case.lengths)
            if ask.at >= case.from_s[1]
        ]
        for number, asks in enumerate((mine, mine + theirs)):
            fleet = ran(asks, seconds)
            found[number].extend(r for r in fleet.records if r.ask.tenant == "b" and 5 < r.ask.at < seconds - 1)
            if number == 1:
                work += sum(share_of_work(fleet.records, 5, seconds - 3).values()) / (seconds - 8) / len(case.seeds)
        lost += len(found[0]) - len(found[1])
    alone, beside = ([r.ttft_s for r in records] for records in found)
    waits = [r.granted_at - r.ask.at for r in found[1]]
    return {
        "engines": case.engines,
        "tenants_that_flood": case.tenants,
        "b_requests": len(beside),
        "ttft_alone_p50_p99_ms": [round(quantile(alone, q) * 1e3, 1) for q in (0.5, 0.99)],
        "ttft_beside_p50_p99_ms": [round(quantile(beside, q) * 1e3, 1) for q in (0.5, 0.99)],
        "queue_beside_p50_p99_ms": [round(quantile(waits, q) * 1e3, 1) for q in (0.5, 0.99)],
        "tokens_per_s": round(work),
        "p99_ratio": round(quantile(beside, 0.99) / quantile(alone, 0.99), 3),
    }


FLOODS = {
    "one tenant": Flood(),
    "1 engine": Flood(engines=1, seconds=90.0, seeds=(11, 12, 13)),
    "1 engine, B at half": Flood(engines=1, load=0.5, seconds=120.0, seeds=(11, 12, 13)),
    "2 engines": Flood(engines=2, seconds=50.0, seeds=(11, 12, 13)),
    "4 engines": Flood(engines=4, seconds=30.0, seeds=(11, 12, 13)),
    "8 engines, B at half": Flood(engines=8, load=0.5, seconds=25.0, seeds=(11, 12)),
    "16 engines": Flood(engines=16),
    "log-normal lengths, 2 engines": Flood(engines=2, lengths=None, seconds=40.0, seeds=(11, 12, 13)),
    "three tenants, 2 engines": Flood(engines=2, tenants=3, seconds=60.0, seeds=(11, 12, 13)),
    "nine tenants, 4 engines": Flood(engines=4, tenants=9, seconds=40.0, seeds=(11, 12)),
    "4 engines of 128 seats": Flood(engines=4, seats=128, seconds=30.0, seeds=(11, 12)),
    "4 engines, seats not known": Flood(engines=4, knows_seats=False, seconds=30.0, seeds=(11, 12)),
}
FEW_SEATS = {
    f"4 engines of 8 seats, {known}, {begins}": Flood(
        engines=4, seats=8, knows_seats=known == "known", from_s=from_s, seconds=60.0, seeds=(11, 12, 13)
    )
    for known in ("known", "not known")
    for begins, from_s in (("flood before B", (5.0, 0.0)), ("B before flood", (0.0, 10.0)))
}


def isolation() -> dict[str, Any]:
    """B's first tokens beside a flood, against alone. The bar is on the first case; harder ones are told beside it."""
    found = {name: _flooded(case) for name, case in (FLOODS | FEW_SEATS).items()}
    return found | {"holds": found["one tenant"]["p99_ratio"] <= ISOLATION_MAX}


WEIGHTS = {"chat": 1.0, "documents": 1.0, "novels": 2.0, "liars": 1.0}


BEGIN_S, END_S, ENDED_S = 20, 52, 100
"""Work is looked at between the first two; until the third the longest of those answers are over, and tenants go on
asking for most of it: an answer that is not over is not counted."""


def _unlike(gateways: int, seed: int) -> list[Any]:
    """Four tenants that always have a backlog: short chats, long prompts, long answers, and answers of unknown length.
    With several gateways each has all of that."""
    per_s, seconds, asks = 40.0, 60.0, []
    for gateway in range(gateways):
        more: dict[str, Any] = {"gateway": gateway}
        chat, documents, novels, liars = (Random(1000 * seed + 10 * n + gateway) for n in (1, 2, 3, 4))
        asks += poisson("chat", 6 * per_s, seconds, chat, prompt=100, output=60, **more)
        asks += poisson("documents", per_s, seconds, documents, prompt=3000, output=60, **more)
        asks += poisson("novels", 3 * per_s, seconds, novels, prompt=100, output=800, weight=2.0, **more)
        asks += poisson("liars", per_s, seconds, liars, output=300, spread=1.0, known=False, **more)
    return sorted(asks, key=lambda ask: ask.at)


def _off(records: list[Record]) -> float:
    """The most by which any tenant's work is off its weight's share in any 10 s."""
    worst = 0.0
    for at in range(BEGIN_S, END_S - 10):
        work = share_of_work(records, at, at + 10)
        whole, weights = sum(work.values()), sum(WEIGHTS.values())
        worst = max([worst, *(abs(work.get(t, 0.0) / whole / (w / weights) - 1.0) for t, w in WEIGHTS.items())])
    return worst


def shares(*, engines: int = 8, gateways: int = 1, tells: bool = True, seeds: int = 4) -> dict[str, Any]:
    """Work that four tenants of very unlike requests get, against their weights. `tells`: several gateways tell each
    other what tenants had, as those do that share a Redis."""
    offs, work = [], dict.fromkeys(WEIGHTS, 0.0)
    for seed in range(seeds):
        fleet = Fleet(
            engines=engines, seats=64, gateways=gateways, tells=tells, queue=QueueSettings(requests_max=60_000)
        )
        fleet.run(_unlike(gateways, seed), ENDED_S)
        offs.append(_off(fleet.records))
        got = share_of_work(fleet.records, BEGIN_S, END_S)
        work = {tenant: work[tenant] + got[tenant] for tenant in WEIGHTS}
    whole = sum(work.values())
    return {
        "engines": engines,
        "gateways": gateways,
        "weights": WEIGHTS,
        "share_of_work": {t: round(work[t] / whole, 4) for t in WEIGHTS},
        "tokens_per_s": round(whole / seeds / (END_S - BEGIN_S)),
        "worst_off_over_any_10_s": [round(off, 4) for off in offs],
        "waiting_in_an_engine_max": fleet.in_engine_waiting_max,
        "holds": max(offs) <= SHARE_OFF_MAX,
    }


AT = {"a": (0, 1, 2), "b": (0, 1, 2), "c": (0, 1)}
"""At which gateways tenants ask."""


def uneven(*, tells: bool = True) -> dict[str, Any]:
    """Three equal tenants, one of which comes to two gateways of three."""
    asks = [
        ask
        for number, (tenant, places) in enumerate(AT.items())
        for place in places
        for ask in poisson(tenant, 60.0, 40.0, Random(100 * number + place), gateway=place)
    ]
    fleet = Fleet(engines=8, seats=64, gateways=3, tells=tells, queue=QueueSettings(requests_max=60_000))
    fleet.run(sorted(asks, key=lambda ask: ask.at), 60.0)
    work = share_of_work(fleet.records, 15, 35)
    off = max(abs(work[tenant] / sum(work.values()) * len(AT) - 1.0) for tenant in AT)
    return {
        "share_of_work": {tenant: round(work[tenant] / sum(work.values()), 4) for tenant in AT},
        "worst_off_over_20_s": round(off, 4),
        "holds": off <= SHARE_OFF_MAX,
    }


def throughput(*, engines: int = 4, seconds: float = 40.0) -> dict[str, Any]:
    """What the fleet does under a flood with the queue in the gateway, known and unknown engines, and without it."""
    out: dict[str, Any] = {}
    for name, made in (
        ("queue, known engines", Fleet(engines=engines)),
        ("queue, unknown engines", Fleet(engines=engines, knows_capacity=False)),
        ("no queue", Fleet(engines=engines, queue=QueueSettings(is_on=False))),
    ):
        made.run(poisson("a", 25.0 * engines, seconds, Random(1)), seconds)
        work = sum(share_of_work(made.records, seconds / 4, seconds - 10).values()) / (seconds * 0.75 - 10)
        inside = [r.first_at - r.granted_at for r in made.records if r.granted_at > seconds / 4]
        out[name] = {
            "tokens_per_s": round(work),
            "first_token_in_engine_p99_ms": round(quantile(inside, 0.99) * 1e3) if inside else None,
            "waiting_in_an_engine_max": made.in_engine_waiting_max,
        }
    with_queue, without = out["queue, known engines"]["tokens_per_s"], out["no queue"]["tokens_per_s"]
    return out | {"holds": with_queue >= 0.95 * without}


class _Fixed:
    """A policy that costs nothing."""

    name = "fixed"

    def __init__(self) -> None:
        self._decision: Decision | None = None

    def choose(self, candidates: Any, need: Need, *, now: float, explains: bool = False) -> Decision:
        if self._decision is None:
            self._decision = Decision(endpoint=candidates[0], policy=self.name)
        return self._decision

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        pass

    def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        pass


def _gate(policy: Any, seats: int) -> Flow:
    table = EndpointTable()
    table.set_pool(MODEL, [EndpointAddress(id=f"{MODEL}-{n}", host="127.0.0.1", port=n + 1) for n in range(8)])
    flow = Flow(table, policy)
    flow.configure(queue=QueueSettings(), capacities={MODEL: Capacity(requests_max=seats, kv_tokens=400_000)})
    return flow


def cost(*, count: int = 50_000) -> dict[str, Any]:
    """CPU of a request that passes at once, and of one that waits; 8 endpoints, the policy apart."""
    need = Need(prompt_tokens=500, output_tokens=200)

    def tickets() -> list[Ticket]:
        return [Ticket(model=MODEL, tenant=f"t{n % 50}", need=need, body_bytes=2000) for n in range(count)]

    best = waits = float("inf")
    for _ in range(5):
        flow, mine = _gate(_Fixed(), 256), tickets()
        began = time.process_time()
        for one in mine:
            flow.submit(one, 1.0)
            flow.ended(one, 2.0, prompt_tokens=500, cached_tokens=0, output_tokens=200)
        best = min(best, (time.process_time() - began) / count)
        flow, mine = _gate(LeastLoad(), 1), tickets()
        running = [flow.submit(one, 1.0) for one in mine[:8]]
        began = time.process_time()
        for number, one in enumerate(mine[8:]):
            flow.submit(one, 1.0 + number * 1e-3)
            flow.ended(running[number % 8], 1.0 + number * 1e-3, prompt_tokens=500, output_tokens=200)
            running[number % 8] = flow.pump(1.0 + number * 1e-3)[0]
        waits = min(waits, (time.process_time() - began) / count)
    return {"passes_us": round(best * 1e6, 2), "waits_us": round(waits * 1e6, 2), "holds": best * 1e6 <= COST_US_MAX}


def memory(*, tenants: int = 100_000, requests: int = 1_000_000) -> dict[str, Any]:
    """Resident bytes of the process while 10⁶ requests of 10⁵ tenants go through a line that is never empty."""
    flow, running = _gate(LeastLoad(), 1), []
    need = Need(prompt_tokens=500, output_tokens=200)
    held: list[int] = []
    for number in range(requests):
        now = number * 1e-3
        one = Ticket(model=MODEL, tenant=f"t{number * 7919 % tenants}", need=need, body_bytes=2000)
        if flow.submit(one, now).state == "granted":
            running.append(one)
        if number >= 500:
            flow.ended(running.pop(0), now, prompt_tokens=500, output_tokens=100 + number % 300)
            running += [one for one in flow.pump(now) if one.state == "granted"]
        if number in (requests // 10, requests - 1):
            held.append(int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES)
    growth = held[1] / held[0] - 1
    return {
        "tenants": tenants,
        "requests": requests,
        "bytes_after_a_tenth": held[0],
        "bytes_at_the_end": held[1],
        "tenants_kept": max(state.tenants for state in flow.snapshot()),
        "growth": round(growth, 4),
        "holds": growth <= MEMORY_GROWTH_MAX,
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "isolation": isolation,
    "shares": shares,
    "gateways": lambda: shares(gateways=3),
    "uneven": uneven,
    "throughput": throughput,
    "cost": cost,
    "memory": memory,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    chosen = parser.parse_args().parts or list(PARTS)
    results = {}
    for name in chosen:
        print(f"{name} …", file=sys.stderr, flush=True)
        results[name] = PARTS[name]()
    print(json.dumps(results, indent=2, ensure_ascii=False))
    return 0 if all(result["holds"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
