"""Routing: prefix hits, balance and latency of all policies on recorded conversations, and what a choice costs.

    python -m bench.routing ../shared/data/traces/prefix_conversation_mooncake.jsonl.gz [--model NAME] [--gpu NAME]

Runs the trace in virtual time through eight simulated replicas of 2 M tokens of KV and the gateway's own policies, then
with four gateways; then times `blocks_of` + `choose` + `sent` + `ended` for 8 endpoints and a prompt of 1.5 KB.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from penstock.facts import find_gpu, find_model
from penstock.perf import StepTime
from penstock.serve.flow import QueueSettings
from penstock.serve.routing import (
    POLICY_NAMES,
    Ended,
    EndpointAddress,
    EndpointTable,
    EngineSample,
    Need,
    blocks_of,
    make_policy,
)
from penstock.serve.routing.hardware import timing_of_steps
from penstock.simulate.engine import EngineConfig
from penstock.simulate.fleet import Scenario, Traffic, draw_up, simulate
from penstock.simulate.io.tracefile import load_trace
from penstock.simulate.workload.request import BLOCK_TOKENS, TraceRequest, faster, sessions_of

KV_TOKENS = 2_000_000
REPLICAS = 8
HITS_MIN, BALANCE_MAX, GATEWAYS_MIN, COST_MAX_US = 0.318, 1.05, 0.9, 12.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run."""

    policy: str
    gateways: int
    block_hits: float
    """Of the trace's blocks, partial last ones included, as its reference figures are."""
    work: float
    """Computed prompt tokens of the busiest replica over the mean."""
    ttft_ms: tuple[float, float]
    """p50, p99."""
    e2e_ms: tuple[float, float]
    seconds: float


def replay(requests: list[TraceRequest], policy: str, gateways: int, args: argparse.Namespace) -> Line:
    """The trace through one policy."""
    engine = EngineConfig(
        model=find_model(args.model),
        gpu=find_gpu(args.gpu),
        tensor_parallel=args.tp,
        max_model_len=131_072,
        num_gpu_blocks=KV_TOKENS // 16 + 1,
    )
    scenario = Scenario(
        model="chat",
        engine=engine,
        replicas=REPLICAS,
        policy=policy,
        gateways=gateways,
        queue=QueueSettings(is_on=args.queue),
    )
    began = time.perf_counter()
    run = simulate(Traffic(sessions=faster(sessions_of(requests), args.speed)), scenario)
    report = draw_up(run)
    rows = [row for row in run.ledger if row.outcome == "ok"]
    hits = sum(row.cached_tokens // BLOCK_TOKENS for row in rows)
    blocks = sum(-(-row.prompt_tokens // BLOCK_TOKENS) for row in rows)
    stats = [replica.engine.stats() for replica in run.replicas]
    computed = [one.prompt_tokens - one.cached_tokens for one in stats]
    return Line(
        policy=policy,
        gateways=gateways,
        block_hits=round(hits / blocks, 4),
        work=round(max(computed) * len(computed) / sum(computed), 3),
        ttft_ms=(report.ttft_ms.p50 or 0.0, report.ttft_ms.p99 or 0.0),
        e2e_ms=(report.e2e_ms.p50 or 0.0, report.e2e_ms.p99 or 0.0),
        seconds=round(time.perf_counter() - began, 1),
    )


def cost_us(policy_name: str, endpoints: int = 8, prompt_bytes: int = 1536, rounds: int = 20_000) -> float:
    """CPU microseconds of one request's routing, the least of five rounds; conversations of which every other one has
    been seen before."""
    step = StepTime(find_model("Llama-3.1-8B"), find_gpu("H200"))
    policy = make_policy(policy_name, timing={"chat": timing_of_steps(step, seqs_max=256)})
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=9000 + n) for n in range(endpoints)])
    for endpoint in table.all():
        table.observe(endpoint.id, EngineSample(at=0.0, running=4, kv_usage=0.3, kv_tokens=900_000))
    candidates = table.pools["chat"].candidates(0.0)
    prompts = [[f"system{n // 2:09}", "x" * (prompt_bytes - 15)] for n in range(512)]
    best, clock, numbers = float("inf"), 0.0, count()
    for _ in range(5):
        began = time.process_time()
        for _ in range(rounds):
            clock += 0.01
            blocks = blocks_of(prompts[next(numbers) % 512], "chat")
            need = Need(prompt_tokens=384, blocks=blocks, block_tokens=128, session=str(clock))
            endpoint = policy.choose(candidates, need, now=clock).endpoint
            policy.sent(endpoint, need, clock)
            outcome = Ended(
                now=clock + 0.5, is_ok=True, sent_at=clock, ttft_s=0.02, cached_tokens=128, output_tokens=50
            )
            policy.ended(endpoint, need, outcome)
        best = min(best, (time.process_time() - began) / rounds)
    return best * 1e6


def main() -> int:
    """Prints the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--model", default="Llama-3.1-8B")
    parser.add_argument("--gpu", default="H200")
    parser.add_argument("--tp", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--queue", action="store_true", help="requests wait in the gateways; else policies stand alone")
    parser.add_argument("--policy", action="append", choices=POLICY_NAMES)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    args = parser.parse_args()
    requests = load_trace(args.trace)
    if not isinstance(requests, list):
        parser.error("the trace has rates; requests with hash_ids are needed")
    policies = args.policy or list(POLICY_NAMES)
    lines = [replay(requests, policy, gateways, args) for policy in policies for gateways in (1, 4)]
    costs = {policy: round(cost_us(policy), 2) for policy in policies}
    by_run = {(line.policy, line.gateways): line for line in lines}
    bars: dict[str, bool] = {}
    if ("cost", 1) in by_run:
        one, four = by_run["cost", 1], by_run["cost", 4]
        bars = {
            f"block hits {one.block_hits} >= {HITS_MIN}": one.block_hits >= HITS_MIN,
            f"max/mean work {one.work} <= {BALANCE_MAX}": one.work <= BALANCE_MAX,
            f"hits of four gateways {four.block_hits} >= {GATEWAYS_MIN} of one's": four.block_hits
            >= GATEWAYS_MIN * one.block_hits,
            f"cost {costs['cost']} us <= {COST_MAX_US}": costs["cost"] <= COST_MAX_US,
        }
    if args.output == "json":
        print(json.dumps({"runs": [asdict(line) for line in lines], "cost_us": costs, "bars": bars}, indent=2))
    else:
        _print(lines, costs, bars, args)
    return 0 if all(bars.values()) else 1


def _print(lines: list[Line], costs: dict[str, float], bars: dict[str, bool], args: argparse.Namespace) -> None:
    print(f"{REPLICAS} replicas of {args.tp} {args.gpu}, {args.model}, {KV_TOKENS:,} KV tokens, speed {args.speed:g}")
    print(f"{'policy':<12} {'gateways':>8} {'block hits':>10} {'max/mean':>8} {'TTFT ms p50/p99':>17} {'E2E ms':>17}")
    for line in lines:
        ttft, e2e = (f"{p50:,.0f} / {p99:,.0f}" for p50, p99 in (line.ttft_ms, line.e2e_ms))
        print(f"{line.policy:<12} {line.gateways:>8} {line.block_hits:>10.4f} {line.work:>8.3f} {ttft:>17} {e2e:>17}")
    print("CPU of a request: " + ", ".join(f"{name} {us:.1f} us" for name, us in costs.items()))
    for words, is_met in bars.items():
        print(("met:    " if is_met else "MISSED: ") + words)


if __name__ == "__main__":
    sys.exit(main())
