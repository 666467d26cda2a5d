"""A small fleet and requests for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.facts import find_gpu, find_model
from penstock.serve.flow import QueueSettings
from penstock.simulate.engine import EngineConfig
from penstock.simulate.fleet.report import FleetReport, draw_up
from penstock.simulate.fleet.run import FleetRun, Traffic, simulate
from penstock.simulate.fleet.scenario import Scenario
from penstock.simulate.workload import Session, TraceRequest

LLAMA, H200 = find_model("Llama-3.1-8B"), find_gpu("H200")


def engine(**changes: Any) -> EngineConfig:
    """Of 4,096 tokens of context."""
    return EngineConfig(**({"model": LLAMA, "gpu": H200, "max_model_len": 4096, "num_gpu_blocks": 2000} | changes))


def scenario(*, settings: dict[str, Any] | None = None, **changes: Any) -> Scenario:
    """Two replicas; `settings` are the engine's."""
    return Scenario(**({"model": "chat", "engine": engine(**(settings or {})), "replicas": 2} | changes))


NO_QUEUE = QueueSettings(is_on=False)
"""Everything goes to the engines at once: what engines measured alone are compared with."""


def ask(at_s: float = 0.0, prompt: int = 100, output: int = 20, **more: Any) -> TraceRequest:
    return TraceRequest(at_s=at_s, prompt_tokens=prompt, output_tokens=output, **more)


def traffic(requests: Iterable[TraceRequest], **more: Any) -> Traffic:
    """Each request a session of its own."""
    return Traffic(sessions=(Session(turns=(r,)) for r in sorted(requests, key=lambda r: r.at_s)), **more)


def ran(requests: Iterable[TraceRequest], **changes: Any) -> FleetRun:
    return simulate(traffic(requests), scenario(**changes))


def reported(requests: Iterable[TraceRequest], **changes: Any) -> FleetReport:
    return draw_up(ran(requests, **changes))
