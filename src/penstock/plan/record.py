"""A plan as plain values: what `penstock plan --output json` prints. Stable: a field keeps its name and unit.

Units are in the names; money is in US dollars, tokens and bytes are whole numbers; null is "not known" or "not said".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from penstock.perf import Regime
from penstock.plan.demand import Demand
from penstock.plan.engine_flags import engine_flags
from penstock.plan.host import HostNeeds, Startup
from penstock.plan.options import Option
from penstock.plan.reasons import changes, notes, reasons, shown_runners_up, verdict
from penstock.plan.serving import OperatingPoint
from penstock.plan.sizing import ModelPlan

__all__ = ["Cost", "cost_of", "fleet_record", "model_record"]

FORMAT = "penstock.dev/plan/v1alpha1"


def fleet_record(fleet: str, plans: Sequence[ModelPlan], *, price_words: str) -> dict[str, Any]:
    """All plans of a fleet, with their total."""
    prices = [plan.choice.price for plan in plans]
    known = [price for price in prices if price is not None]
    return {
        "format": FORMAT,
        "fleet": fleet,
        "gpus": sum(plan.choice.layout.gpus * plan.choice.replicas for plan in plans),
        "usd_per_hour": _usd(sum(known)) if len(known) == len(prices) else None,
        "prices": price_words,
        "models": [model_record(plan) for plan in plans],
    }


def model_record(plan: ModelPlan) -> dict[str, Any]:
    """One model's plan."""
    choice, ask = plan.choice, plan.ask
    return {
        "name": ask.name,
        "source": ask.source,
        "parameters": ask.model.params,
        "active_parameters": ask.model.active_params,
        "demand": _demand(ask.demand),
        "objectives": {
            "ttft_ms": ask.objectives.ttft_ms,
            "itl_ms": ask.objectives.itl_ms,
            "e2e_ms": ask.objectives.e2e_ms,
        },
        "choice": {
            **_option(choice),
            "context_tokens": plan.context,
            "max_num_seqs": choice.layout.max_num_seqs,
            "max_num_batched_tokens": choice.layout.batched_tokens,
            "gpu_memory_utilization": choice.layout.utilization,
            "engine_flags": engine_flags(plan),
        },
        "memory": _memory(plan),
        "calibration": {
            "name": choice.estimate.calibration.name,
            "source": choice.estimate.calibration.source,
            "machine": choice.estimate.calibration.machine,
        },
        "at_demand": _point(choice, choice.at_demand),
        "curve": [_point(choice, point) for point in plan.curve],
        "cost": _cost(plan),
        "startup": {"cold": _startup(plan.host.cold), "warm": _startup(plan.host.warm)},
        "host": _host(plan.host),
        "reasons": list(reasons(plan)),
        "notes": list(notes(plan)),
        "runners_up": [{**_option(o), "why_not": verdict(plan, o)} for o in shown_runners_up(plan)],
        "changes": list(changes(plan)),
    }


def _demand(demand: Demand) -> dict[str, Any]:
    return {
        "words": demand.words,
        "requests_per_s": demand.requests_per_s or None,
        "prompt_tokens_mean": round(demand.prompt_tokens, 1),
        "prompt_tokens_p95": round(demand.prompt_p95),
        "output_tokens_mean": round(demand.output_tokens, 1),
        "output_tokens_p95": round(demand.output_p95),
        "cached_share": demand.cached_share,
    }


def _option(option: Option) -> dict[str, Any]:
    layout = option.layout
    is_sized = option.is_possible and option.capacity > 0
    return {
        "gpu": layout.gpu.name,
        "gpus_per_replica": layout.gpus,
        "tensor_parallel": layout.tensor,
        "pipeline_parallel": layout.pipeline,
        "data_parallel": layout.data,
        "quantization": layout.quantization,
        "kv_cache_dtype": layout.kv_dtype or "auto",
        "replicas": option.replicas if is_sized else None,
        "requests_per_s_per_replica": _digits(option.capacity) if is_sized else None,
        "saturation_requests_per_s_per_replica": _digits(option.saturation) if option.is_possible else None,
        "usd_per_hour": _usd(option.price) if is_sized else None,
    }


def _memory(plan: ModelPlan) -> dict[str, Any]:
    memory = plan.choice.estimate.memory
    return {
        "bytes_per_gpu": {name.replace(" ", "_").replace("-", "_").lower(): size for name, size in memory.parts},
        "total_bytes_per_gpu": memory.total,
        "kv_bytes_per_token_per_gpu": memory.kv_bytes_per_token,
        "kv_tokens": memory.kv_tokens,
        "kv_tokens_low": memory.kv_tokens_low,
        "kv_tokens_high": memory.kv_tokens_high,
        "requests_of_full_context": _digits(memory.full_requests) if memory.kv_tokens else None,
        "requests_of_mean_length": _whole(plan.choice.engine.kv_requests_max),
    }


def _point(option: Option, point: OperatingPoint) -> dict[str, Any]:
    """One replica at one load; every time with the ends of its 90 % interval."""
    engines = option.layout.data

    def ms(seconds: float, regime: Regime = "itl") -> dict[str, float]:
        interval = option.estimate.interval(seconds * 1000, regime)
        return {"value": _digits(seconds * 1000), "low": _digits(interval.low), "high": _digits(interval.high)}

    return {
        "requests_per_s": _digits(point.requests_per_s * engines),
        "share_of_saturation": round(point.requests_per_s / option.engine.saturation(), 3),
        "running": _digits(point.running * engines),
        "ttft_p50_ms": ms(point.ttft_p50_s, "ttft"),
        "ttft_p95_ms": ms(point.ttft_p95_s, "ttft"),
        "itl_p50_ms": ms(point.itl_p50_s),
        "itl_p95_ms": ms(point.itl_p95_s),
        "tpot_p95_ms": ms(point.tpot_p95_s),
        "e2e_p95_ms": ms(point.e2e_p95_s),
        "output_tokens_per_s": _digits(point.output_tokens_per_s * engines),
        "prompt_tokens_per_s": _digits(point.prompt_tokens_per_s * engines),
        "kv_share": round(point.kv_share, 3),
    }


class Cost:
    """What tokens cost at the demand; at a replica's capacity where no rate is said."""

    def __init__(self, plan: ModelPlan) -> None:
        choice = plan.choice
        engines, point = choice.replicas * choice.layout.data, choice.at_demand
        self.micros_per_hour = choice.price
        self.is_at_capacity = not plan.ask.demand.requests_per_s
        self.input_micros_per_million = self.output_micros_per_million = None
        if choice.price is None:
            return
        self.input_micros_per_million = _per_million(
            choice.price * point.prefill_share, point.prompt_tokens_per_s * engines
        )
        self.output_micros_per_million = _per_million(
            choice.price * (1 - point.prefill_share), point.output_tokens_per_s * engines
        )


def _per_million(micros_per_hour: float, tokens_per_s: float) -> float | None:
    return micros_per_hour / (tokens_per_s * 3600) * 1e6 if tokens_per_s else None


def cost_of(plan: ModelPlan) -> Cost:
    """What the plan costs."""
    return Cost(plan)


def _cost(plan: ModelPlan) -> dict[str, Any]:
    cost = cost_of(plan)
    return {
        "usd_per_gpu_hour": _usd(plan.ask.prices.get(plan.choice.layout.gpu.name)),
        "usd_per_hour": _usd(cost.micros_per_hour),
        "usd_per_million_input_tokens": _usd(cost.input_micros_per_million),
        "usd_per_million_output_tokens": _usd(cost.output_micros_per_million),
        "at": "capacity" if cost.is_at_capacity else "demand",
        "prices": plan.ask.price_words,
    }


def _startup(startup: Startup) -> dict[str, float]:
    return {
        "load_s": round(startup.load_s, 1),
        "compile_s": round(startup.compile_s, 1),
        "capture_s": round(startup.capture_s, 1),
        "other_s": round(startup.other_s, 1),
        "total_s": round(startup.total_s, 1),
    }


def _host(host: HostNeeds) -> dict[str, Any]:
    return {
        "memory_bytes": host.memory_bytes,
        "page_cache_bytes": host.page_cache_bytes,
        "shm_bytes": host.shm_bytes,
        "disk_bytes": host.disk_bytes,
        "image_bytes": host.image_bytes,
        "startup_probe": {"period_s": host.probe_period_s, "failure_threshold": host.probe_failures},
    }


def _usd(micros: float | None) -> float | None:
    return None if micros is None else round(micros / 1e6, 6)


def _digits(value: float, digits: int = 4) -> float:
    """Four digits: what the figures are worth, and short to read."""
    return (
        value
        if value == 0 or not math.isfinite(value)
        else round(value, digits - 1 - math.floor(math.log10(abs(value))))
    )


def _whole(value: float) -> int | None:
    return None if math.isinf(value) else math.floor(value)
