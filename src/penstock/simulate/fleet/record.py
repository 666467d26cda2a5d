"""A report as plain values: what `penstock simulate --output json` prints. Stable: a field keeps its name and unit.

Units are in the names; money is in US dollars; null is "not known" or "not said". Nothing in it depends on the clock or
the machine: the same call gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from penstock.simulate.fleet.report import FleetReport, Objective

__all__ = ["cheapest_held", "fleet_record", "run_record"]


def fleet_record(reports: Sequence[FleetReport], *, fleet: str, workload: str, seed: int) -> dict[str, Any]:
    """All runs of one call."""
    best = cheapest_held(reports)
    return {
        "fleet": fleet,
        "model": reports[0].scenario.model,
        "workload": workload,
        "seed": seed,
        "cheapest_that_holds": None if best is None else reports.index(best),
        "runs": [run_record(report) for report in reports],
    }


def cheapest_held(reports: Sequence[FleetReport]) -> FleetReport | None:
    """Of the runs that hold their objectives (and lose nothing), the one of the fewest dollars, then GPU-hours."""
    held = [report for report in reports if report.is_held and report.requests]
    return min(held, key=_price, default=None)


def _price(report: FleetReport) -> tuple[bool, int, float]:
    hourly = report.cost.usd_micro_per_hour
    return (hourly is None, hourly or 0, report.cost.gpu_hours)


def run_record(report: FleetReport) -> dict[str, Any]:
    """One run."""
    scenario, cost = report.scenario, report.cost
    return {
        "policy": scenario.policy,
        "gateways": scenario.gateways,
        "replicas": scenario.replicas,
        "gpu": scenario.engine.gpu.name,
        "gpus_per_replica": scenario.gpus // scenario.replicas,
        "kv_blocks_per_engine": report.kv_blocks,
        "block_tokens": scenario.engine.block_size,
        "context_tokens": scenario.engine.max_model_len or scenario.engine.model.context,
        "queue": scenario.queue.is_on,
        "seconds": report.seconds,
        "requests": {
            "total": report.requests,
            "ok": report.ok,
            "client_error": report.client_errors,
            "limited": report.limited,
            "shed": report.shed,
            "timeout": report.timeouts,
            "no_endpoint": report.no_endpoint,
            "unfinished": report.unfinished,
            "cut_short": report.cut_short,
        },
        "sheds": dict(report.sheds),
        "limits": dict(report.limits),
        "verdict": {"level": report.verdict.level, "words": report.verdict.words},
        "is_held": report.is_held,
        "objectives": [_objective(objective) for objective in report.objectives],
        "met_share": report.met_share,
        "goodput_per_s": report.goodput_per_s,
        "requests_per_s": report.requests_per_s,
        "prompt_tokens_per_s": report.prompt_tokens_per_s,
        "output_tokens_per_s": report.output_tokens_per_s,
        "prompt_tokens": report.prompt_tokens,
        "output_tokens": report.output_tokens,
        "ttft_ms": asdict(report.ttft_ms),
        "itl_ms": asdict(report.itl_ms),
        "tpot_ms": asdict(report.tpot_ms),
        "e2e_ms": asdict(report.e2e_ms),
        "queue_ms": asdict(report.queue_ms),
        "gateway_wait_ms": asdict(report.waited_ms),
        "gateway_waited": report.queued,
        "gateway_waiting_max": report.queued_max,
        "prefix_hit_share": report.prefix_hit_share,
        "preemptions": report.preemptions,
        "running_max": report.running_max,
        "waiting_max": report.waiting_max,
        "kv_max_share": report.kv_max_share,
        "gpu_hours": cost.gpu_hours,
        "usd": _usd(cost.usd_micro),
        "usd_per_hour": _usd(cost.usd_micro_per_hour),
        "usd_per_million_output_tokens": _usd(cost.usd_micro_per_million_output_tokens),
        "balance": report.balance,
        "endpoints": [asdict(replica) for replica in report.replicas],
        "tenants": [asdict(share) for share in report.shares.tenants],
        "classes": [asdict(share) for share in report.shares.classes],
        "timeline": {**asdict(report.timeline), **_over(report)},
    }


def _over(report: FleetReport) -> dict[str, Any]:
    found = asdict(report.over)
    named = {"gateway_waiting": found.pop("queued"), "gateway_waiting_max": found.pop("queued_max")}
    return found | named


def _objective(objective: Objective) -> dict[str, Any]:
    return {**asdict(objective), "is_held": objective.is_held}


def _usd(micro: int | None) -> float | None:
    """Millionths as dollars, to a hundredth of a cent."""
    return None if micro is None else round(micro / 1e6, 4)
