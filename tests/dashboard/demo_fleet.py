"""A made-up fleet with a past, for looking at the dashboard and for its tests: real telemetry, invented traffic.

Run it and open the page:  python tests/dashboard/demo_fleet.py [calm|trouble|starting|empty|many] [PORT]
"""

from __future__ import annotations

import asyncio
import copy
import math
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from penstock import __version__
from penstock.dashboard import dashboard_routes
from penstock.serve.flow import CLASSES
from penstock.serve.flow.limits_state import LimitsState
from penstock.serve.io.admin import AdminServer, admin_app
from penstock.serve.io.ledger import LedgerState
from penstock.serve.io.metrics import MetricsPage
from penstock.serve.platform import ModelProfile, PlatformEndpoint, PlatformModel
from penstock.serve.record import RequestRecord
from penstock.serve.routing import Decision, DecisionRing, Endpoint, Need, decisions_shown
from penstock.serve.routing.condition import health_shown
from penstock.serve.routing.endpoints import EndpointAddress, EndpointTable, EngineSample
from penstock.serve.telemetry import Telemetry
from penstock.serve.verdict import with_leanings

SCENES = ("calm", "trouble", "starting", "empty", "many")
TENANTS = ("search", "support-bot", "analytics", "internal-tools")


@dataclass(kw_only=True)
class Engine:
    """One invented engine's totals."""

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.1
    generated: float = 0.0


@dataclass(kw_only=True)
class Traffic:
    """How one model is used."""

    replicas: int
    requests_per_s: float
    ttft_ms: float
    tpot_ms: float
    output_tokens: int
    engine: str = "vllm"
    reason: str = ""
    aliases: tuple[str, ...] = ()
    objectives: dict[str, float] = field(default_factory=dict)
    phases: dict[int, tuple[str, int, str]] = field(default_factory=dict)


CALM = {
    "qwen3-8b": Traffic(
        replicas=3, requests_per_s=14, ttft_ms=85, tpot_ms=11, output_tokens=180, aliases=("chat", "gpt-4o-mini"),
        objectives={"ttft_ms": 500, "itl_ms": 40},
    ),
    "qwen3-coder-30b": Traffic(
        replicas=2, requests_per_s=4, ttft_ms=240, tpot_ms=19, output_tokens=420, objectives={"ttft_ms": 1000},
    ),
    "bge-m3": Traffic(replicas=1, requests_per_s=22, ttft_ms=0, tpot_ms=0, output_tokens=0, aliases=("embed",)),
}  # fmt: skip


class DemoFleet:
    """An `AdminSource` over real telemetry. `advance` lets seconds pass; nothing here reads a clock."""

    def __init__(self, scene: str = "calm", seed: int = 7, unix_now: float = 1_767_225_600.0) -> None:
        self.scene = scene
        self.now = 10_000.0
        self._unix_offset = unix_now - self.now
        self._random = random.Random(seed)
        self.is_broken = False
        self.models = copy.deepcopy(CALM)
        if scene == "many":
            for i in range(8):
                self.models[f"llama-{i}-70b-instruct-with-a-long-name"] = Traffic(
                    replicas=2, requests_per_s=1 + i, ttft_ms=90 * (i + 1), tpot_ms=10 + i, output_tokens=100
                )
        if scene in ("starting", "empty"):
            self.models = {
                "tiny": Traffic(
                    replicas=2, requests_per_s=0, ttft_ms=10, tpot_ms=2, output_tokens=50, engine="simulated",
                    reason="vllm is not installed",
                )
            }  # fmt: skip
        if scene == "starting":
            self.models["tiny"].phases = {0: ("starting", 0, ""), 1: ("starting", 0, "")}
        profiles = {name: ModelProfile(aliases=t.aliases, **t.objectives) for name, t in self.models.items()}
        self.telemetry = Telemetry(
            profiles, "quickstart" if len(self.models) == 1 else "team-eu", __version__, unix_now
        )
        self.table = EndpointTable()
        self.engines: dict[str, Engine] = {}
        self.decisions_kept = DecisionRing(200)
        self.queues: dict[str, dict[str, int]] = {}
        for number, (name, traffic) in enumerate(self.models.items()):
            self._add(name, traffic, 40_000 + 10 * number)
        self._page = MetricsPage(self.telemetry, self.table, now=lambda: self.now, connections=lambda: 64)

    def _add(self, name: str, traffic: Traffic, port: int) -> None:
        short = name.split("-")[0] if len(self.models) < 4 else name
        ids = [f"{short if name != 'qwen3-coder-30b' else 'coder'}-{i}" for i in range(traffic.replicas)]
        self.table.set_pool(
            name,
            [
                EndpointAddress(id=id_, host="127.0.0.1", port=port + i)
                for i, id_ in enumerate(ids)
                if i not in traffic.phases
            ],
        )
        self.engines.update((id_, Engine()) for id_ in ids)
        self._set_platform(name, traffic, ids)

    def _set_platform(self, name: str, traffic: Traffic, ids: list[str]) -> None:
        phases = dict.fromkeys(range(len(ids)), ("ready", 0, "")) | traffic.phases
        endpoints = {
            ids[i]: PlatformEndpoint(phase=phase, restarts=restarts, last_error=error)
            for i, (phase, restarts, error) in phases.items()
        }
        model = PlatformModel(
            engine=traffic.engine, engine_reason=traffic.reason, replicas_desired=len(ids), endpoints=endpoints
        )
        self.telemetry.platform = {**self.telemetry.platform, name: model}

    def advance(self, seconds: int) -> None:
        """Lets traffic flow for so many seconds."""
        for _ in range(seconds):
            self.now += 1.0
            for name, traffic in self.models.items():
                self._second(name, traffic)
            self.telemetry.sample_endpoints(self.table, self.now)

    def break_something(self) -> None:
        """The scene `trouble` from here on: a replica dies, its neighbours are overloaded, another crash-loops."""
        coder = self.models["qwen3-coder-30b"]
        coder.phases = {1: ("backoff", 4, "exited with code 1: CUDA out of memory, tried to allocate 2.3 GiB")}
        pool = self.table.pools["qwen3-coder-30b"]
        kept = [EndpointAddress(id=e.id, host=e.host, port=e.port) for e in pool.endpoints[:1]]
        self.table.set_pool("qwen3-coder-30b", kept)
        self._set_platform("qwen3-coder-30b", coder, ["coder-0", "coder-1"])
        chat = self.models["qwen3-8b"]
        chat.ttft_ms, chat.tpot_ms = 420.0, 24.0
        self.queues = {"qwen3-8b": {"interactive": 17, "batch": 240, "experimental": 0}}
        self.is_broken = True

    def _second(self, name: str, traffic: Traffic) -> None:
        wave = 1 + 0.35 * math.sin(self.now / 47) + 0.15 * math.sin(self.now / 9)
        pool = self.table.pools[name]
        is_hurt = self.is_broken and name == "qwen3-8b"
        for endpoint in pool.endpoints:
            if is_hurt and endpoint.id == "qwen3-1":
                self.table.failed(endpoint, "connect: connection refused", self.now)
                continue
            engine = self.engines[endpoint.id]
            load = traffic.requests_per_s * wave / max(1, len(pool.endpoints) - is_hurt)
            engine.running = max(0, round(load * traffic.output_tokens * traffic.tpot_ms / 1000 + load * 0.05))
            engine.waiting = round(load * 1.4) if is_hurt else 0
            engine.kv_usage = min(0.985, 0.05 + engine.running / (40 if not is_hurt else 22))
            engine.generated += load * traffic.output_tokens * self._random.uniform(0.9, 1.1)
            endpoint.in_flight = engine.running + engine.waiting
            self.table.observe(
                endpoint.id,
                EngineSample(
                    at=self.now, running=engine.running, waiting=engine.waiting, kv_usage=engine.kv_usage,
                    generation_tokens_total=int(engine.generated), steps_total=round(self.now * 40),
                ),
            )  # fmt: skip
        in_flight = sum(e.in_flight for e in pool.endpoints)
        tally = dict(self.telemetry.tallies())[name]
        while tally.in_flight < in_flight:
            self.telemetry.begin(name, self.now)
        for _ in range(self._arrivals(traffic.requests_per_s * wave)):
            self._request(name, traffic, is_hurt)
        tally.in_flight = in_flight

    def _arrivals(self, mean: float) -> int:
        return sum(self._random.random() < mean / 40 for _ in range(40))

    def _request(self, name: str, traffic: Traffic, is_hurt: bool) -> None:
        draw = self._random
        live = [e for e in self.table.pools[name].endpoints if e.health != "down"]
        endpoint = draw.choice(live)
        endpoint.dispatched_total += 1
        tokens = (
            max(1, round(draw.lognormvariate(math.log(traffic.output_tokens), 0.6))) if traffic.output_tokens else 0
        )
        ttft = draw.lognormvariate(math.log(traffic.ttft_ms), 0.35) if traffic.ttft_ms else -1.0
        total = ttft + tokens * traffic.tpot_ms * draw.uniform(0.85, 1.2) if tokens else draw.uniform(5, 14)
        prompt = round(draw.lognormvariate(6.2, 0.9))
        record = RequestRecord(
            at=self.now + self._unix_offset - draw.random(),
            request_id=f"req-{draw.getrandbits(48):012x}",
            route="/v1/chat/completions" if tokens else "/v1/embeddings",
            model=name, requested_model=name, endpoint=endpoint.id, tenant=draw.choice(TENANTS), key="default",
            is_stream=tokens > 0, status=200, prompt_tokens=prompt, cached_tokens=prompt // 3, output_tokens=tokens,
            ttft_ms=ttft, total_ms=total,
        )  # fmt: skip
        chance = draw.random()
        if is_hurt and chance < 0.13:
            record.outcome, record.reason, record.status = "upstream_error", "connect_failed", 502
            record.endpoint, record.retries, record.ttft_ms, record.output_tokens = "qwen3-1", 1, -1.0, -1
        elif is_hurt and chance < 0.16:
            record.outcome, record.reason, record.status, record.output_tokens = "timeout", "first_byte", 504, -1
        elif chance > 0.995:
            record.outcome, record.reason = "cancelled", "client_gone"
        elif chance > 0.99:
            record.outcome, record.reason, record.status = "client_error", "prompt_too_long", 400
            record.output_tokens, record.prompt_tokens, record.ttft_ms, record.total_ms = -1, -1, -1.0, 0.8
        if is_hurt and chance > 0.4:
            record.queue_ms = draw.lognormvariate(5.5, 0.6)
        self._decide(record, endpoint, live)
        self.telemetry.begin(name, self.now)
        self.telemetry.end(record, self.now)

    def _decide(self, record: RequestRecord, chosen: Endpoint, live: list[Endpoint]) -> None:
        """Remembers why it went there: the chosen endpoint had a part of the prompt."""
        prompt = max(0, record.prompt_tokens)
        weighed = []
        for endpoint in live:
            cached = record.cached_tokens if endpoint is chosen else 0
            prefill_s, before_s = (prompt - cached) / 9_000, endpoint.in_flight * 0.004
            rest_s = 0.02 + 0.011 * endpoint.in_flight
            whole_s = prefill_s + before_s + rest_s
            weighed.append((endpoint.id, whole_s, prefill_s, before_s, rest_s, cached, endpoint.in_flight))
        decision = Decision(endpoint=chosen, policy="cost", weighed=weighed, basis="learned")
        self.decisions_kept.add(record.at, record.request_id, record.model, decision, Need(prompt_tokens=prompt))

    # The `AdminSource`.

    def state(self) -> dict[str, Any]:
        whole = self.telemetry.state(
            self.table,
            self.now,
            self.now + self._unix_offset,
            listen="127.0.0.1:8080",
            connections=64,
            is_ready=self.is_ready()[0],
        )
        for model in whole["models"]:
            model["waiting"] = self.queues.get(model["name"], dict.fromkeys(CLASSES, 0))
            for shown in model["endpoints"]:
                endpoint = self.table.get(shown["id"])
                shown["health_detail"] = health_shown(endpoint, self.now) if endpoint is not None else None
        whole["gateway"] |= {"limits": self._limits(), "ledger": asdict(self._ledger())}
        whole["problems"] = with_leanings(whole["problems"], whole["gateway"])
        return whole

    def _limits(self) -> dict[str, Any] | None:
        if self.scene in ("starting", "empty"):
            return None
        if not self.is_broken:
            return asdict(LimitsState(where="redis.example:6379/0", is_connected=True, source="redis", gateways=3))
        error = "no answer within 250 ms"
        return asdict(
            LimitsState(where="redis.example:6379/0", source="share", error=error, gateways=3, degraded_total=1840)
        )

    def _ledger(self) -> LedgerState:
        return LedgerState(
            where="penstock.usage.db",
            journal="ledger",
            is_connected=not self.is_broken,
            error="db.example:5432 refuses the connection" if self.is_broken else "",
            journal_error="",
            waiting=1902 if self.is_broken else 0,
            silent_s=118.0 if self.is_broken else 0.0,
            journal_bytes=640_000,
            shipped_total=30_000,
            recovered_total=0,
            dropped_total=0,
            failures_total=9 if self.is_broken else 0,
        )

    def decisions(self, *, model: str = "", limit: int = 100) -> list[dict[str, Any]]:
        return decisions_shown(self.decisions_kept, model=model, limit=limit)

    def timeseries(self, window_s: float) -> dict[str, Any]:
        return self.telemetry.timeseries(window_s, self.now, self.now + self._unix_offset)

    def recent(self, limit: int, *, failed_only: bool = False) -> list[dict[str, Any]]:
        return self.telemetry.recent(limit, failed_only=failed_only)

    def metrics(self) -> bytes:
        return self._page.render()

    def is_ready(self) -> tuple[bool, str]:
        is_ready = any(pool.ready_count for pool in self.table.pools.values())
        return is_ready, "" if is_ready else "no model has an endpoint that answers"


def demo_fleet(scene: str, unix_now: float = 1_767_225_600.0) -> DemoFleet:
    """The fleet of a scene with its past: fifteen minutes, of which the last two are bad in `trouble`."""
    past_s = {"calm": 900, "many": 900, "trouble": 780, "starting": 5, "empty": 20}[scene]
    fleet = DemoFleet(scene, unix_now=unix_now - (900 if scene == "trouble" else past_s))
    fleet.advance(past_s)
    if scene == "trouble":
        fleet.break_something()
        fleet.advance(120)
    return fleet


async def main(scene: str, port: int) -> None:
    fleet = demo_fleet(scene, time.time())
    server = AdminServer(admin_app(fleet, dashboard_routes()), "127.0.0.1", port)
    await server.start()
    print(server.url, flush=True)
    try:
        while True:
            await asyncio.sleep(1)
            fleet.advance(1)
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(*(sys.argv[1:2] or ["calm"]), int((sys.argv[2:3] or ["0"])[0])))
