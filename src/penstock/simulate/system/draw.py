"""What a seed draws: engines, gateways and their fleet file, requests and how their clients behave, faults. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

__all__ = ["ENGINE_FAULTS", "FAULTS_S", "PROBE_KEY", "STREAM_FAULTS", "Fault", "Scenario", "Visit", "Wish", "draw"]

FAULTS_S = 10.0
"""Seconds of requests and faults, before everything heals."""
ENGINE_FAULTS = (
    "crash", "crash_quietly", "hang_core", "hang", "slow", "drop", "half_open", "core_dead", "draining", "busy",
    "errors", "garbage", "abort", "truncate", "metrics_wild", "metrics_frozen", "metrics_mute", "refuse", "black_hole",
)  # fmt: skip
STREAM_FAULTS = ("half_open_one", "preempt")
"""At one request of an engine."""
GATEWAY_FAULTS = ("freeze", "wall_jump", "reload", "reload", "restart", "kill", "pool_empty", "pool_shrinks")
MANNERS = (
    *("plain",) * 20, "hangs_up", "hangs_up_at", "stops_reading",
    "half_body", "half_closes", "bad_json", "bad_key", "bad_model", "bad_prompt", "pipelines", "http_1_0",
)  # fmt: skip
PATHS = (*("/v1/chat/completions",) * 5, *("/v1/completions",) * 2, "/v1/messages")
KEYS = ("key-of-anna-1", "key-of-bert-1", "key-of-carl-1")
PROBE_KEY = "key-of-probe"
"""Of a tenant without limits, for the requests that show whether an endpoint is in use again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One request."""

    id: str
    path: str
    model: str
    body: bytes
    is_stream: bool
    wants_usage: bool
    manner: str
    amount: float
    """0 to 1: how early or how long what the manner says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One client connection."""

    at: float
    key: str
    gateway: int
    wishes: tuple[Wish, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong for a while. Times are seconds from the beginning."""

    at: float
    lasts_s: float
    what: str
    target: int
    """Which engine or gateway, counted over all of them."""
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a seed draws."""

    seed: int
    gateways: int
    brings_endpoints: bool
    engines: dict[str, tuple[int, ...]]
    """Ports of the engines of each model."""
    pace_s: float
    seats: int
    fleets: tuple[dict[str, Any], ...]
    """Fleet files: the first, and those of the reloads in turn."""
    visits: tuple[Visit, ...]
    faults: tuple[Fault, ...]

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong."""
        return not self.faults


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(f"system {seed}")
    count = random.choice((1, 2, 2, 3, 3, 4, 6))
    engines = {"chat": tuple(range(8000, 8000 + count))}
    if random.random() < 0.4:
        engines["small"] = tuple(range(9000, 9000 + random.randint(1, 2)))
    gateways = random.choice((1, 1, 2))
    hedges = Random(f"hedging {seed}")  # of its own, so that all else is drawn as it was without
    is_dropped = "small" in engines and random.random() < 0.3
    fleets = (
        _fleet(random, engines, hedges),
        _fleet(random, engines, hedges),
        _fleet(random, {"chat": engines["chat"]} if is_dropped else engines, hedges),
    )
    everything = sum(len(ports) for ports in engines.values())
    is_calm = random.random() < 0.1
    faults = [] if is_calm else [_fault(random, everything, gateways) for _ in range(random.choice((1, 2, 3, 4, 6, 9)))]
    if faults and hedges.random() < 0.5:
        faults.append(_slow(hedges, everything))
    streams = Random(f"streams {seed}")  # likewise
    if faults:
        faults += [_at_a_stream(streams, everything) for _ in range(streams.choice((0, 0, 1, 3)))]
    return Scenario(
        seed=seed,
        gateways=gateways,
        brings_endpoints=random.random() < 0.5,
        engines=engines,
        pace_s=random.choice((0.01, 0.03, 0.08)),
        seats=random.choice((2, 4, 8, 64)),
        fleets=fleets,
        visits=tuple(_visits(random, tuple(engines), gateways)),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )


def _fleet(random: Random, engines: dict[str, tuple[int, ...]], hedges: Random) -> dict[str, Any]:
    """A fleet file; those of one seed differ in everything that a reload may change."""
    models: list[dict[str, Any]] = []
    for name, ports in engines.items():
        model: dict[str, Any] = {"name": name, "endpoints": [f"http://10.0.0.1:{port}" for port in ports]}
        if random.random() < 0.5:
            model["concurrency"] = random.choice((1, 2, 4, 16))
        if name == "chat" and "small" in engines and random.random() < 0.6:
            model["fallbacks"] = [{"model": "small", "when": ["error", "saturation"]}]
        models.append(model)
    gateway = {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "tenants": [
            *(_tenant(random, key) for key in KEYS),
            {"name": "probe", "keys": [{"value": PROBE_KEY}]},
        ],
        "queue": {
            "enabled": random.random() < 0.85,
            "requestsMax": random.choice((0, 2, 8, 1000, 1000, 1000)),
            "bytesMax": random.choice((600, 4000, 1 << 20)),
            "tenantShareMax": random.choice((0.25, 0.5, 1.0)),
            "starvationS": random.choice((0.5, 5.0)),
        },
        "classes": {
            "interactive": {"waitS": random.choice((1.0, 5.0)), **_timeout(random)},
            "batch": {"waitS": random.choice((3.0, 12.0))},
        },
        "routing": {
            "policy": random.choice(("cost", "cost", "round-robin", "least-load", "prefix-hash", "session")),
            "prefixBlocksMax": random.choice((4, 1000)),
        },
        "hedging": {"enabled": hedges.random() < 0.6, "shareMax": hedges.choice((0.05, 0.2, 0.5, 0.5))},
        "timeouts": {
            "bodyS": 2.0,
            "idleS": random.choice((1.0, 75.0)),
            "connectS": random.choice((0.5, 2.0)),
            "firstByteS": random.choice((3.0, 12.0)),
            "readS": random.choice((3.0, 10.0)),
            "clientWriteS": 3.0,
        },
    }
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "demo"},
        "spec": {"models": models, "gateway": gateway},
    }


def _timeout(random: Random) -> dict[str, float]:
    return {"timeoutS": random.choice((2.0, 8.0))} if random.random() < 0.3 else {}


def _tenant(random: Random, key: str) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if random.random() < 0.2:
        limits["concurrentRequests"] = random.choice((1, 3, 10))
    if random.random() < 0.1:
        limits["requestsPerMinute"] = random.choice((6, 30))
    if random.random() < 0.1:
        limits["tokensPerMinute"] = random.choice((800, 6000))
    return {
        "name": key.split("-")[2],
        "keys": [{"value": key}],
        "limits": limits,
        "weight": random.choice((1, 3)),
        "class": random.choice(("interactive", "interactive", "batch", "experimental")),
    }


def _fault(random: Random, engines: int, gateways: int) -> Fault:
    is_gateway = random.random() < 0.25
    return Fault(
        at=random.uniform(0.1, FAULTS_S - 1),
        lasts_s=random.choice((0.3, 1.0, 3.0, 8.0)),
        what=random.choice(GATEWAY_FAULTS if is_gateway else ENGINE_FAULTS),
        target=random.randrange(gateways if is_gateway else engines),
        amount=random.random(),
    )


def _slow(random: Random, engines: int) -> Fault:
    """An engine is slow for a moment, as hedging is for."""
    return Fault(
        at=random.uniform(2.0, FAULTS_S - 1),
        lasts_s=random.choice((0.5, 1.0, 3.0)),
        what="slow",
        target=random.randrange(engines),
        amount=random.random(),
    )


def _at_a_stream(random: Random, engines: int) -> Fault:
    return Fault(
        at=random.uniform(0.5, FAULTS_S - 1),
        lasts_s=random.choice((0.5, 3.0, 8.0)),
        what=random.choice(STREAM_FAULTS),
        target=random.randrange(engines),
        amount=random.random(),
    )


def _visits(random: Random, models: tuple[str, ...], gateways: int) -> list[Visit]:
    visits: list[Visit] = []
    number = 0
    bursts = [random.uniform(0, FAULTS_S) for _ in range(random.choice((0, 1, 2)))]
    for _ in range(random.randint(10, 28)):
        at = random.choice(bursts) if bursts and random.random() < 0.5 else random.uniform(0, FAULTS_S)
        wishes = []
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            number += 1
            wishes.append(_wish(random, f"w{number}", models))
        visits.append(Visit(at=at, key=random.choice(KEYS), gateway=random.randrange(gateways), wishes=tuple(wishes)))
    return sorted(visits, key=lambda visit: visit.at)


def _wish(random: Random, wish_id: str, models: tuple[str, ...]) -> Wish:
    manner = random.choice(MANNERS)
    model = "no-such-model" if manner == "bad_model" else random.choice(models)
    words = " ".join(random.choice(("why", "is", "the", "sky", "blue")) for _ in range(random.choice((2, 10, 60))))
    if manner == "bad_prompt":
        words = "refuse me"
    path = random.choice(PATHS)
    body: dict[str, Any] = {"model": model, "stream": random.random() < 0.8}
    body |= {"prompt": words} if path == "/v1/completions" else {"messages": [{"role": "user", "content": words}]}
    wants_usage = body["stream"] and path != "/v1/messages" and random.random() < 0.4
    if wants_usage:
        body["stream_options"] = {"include_usage": True}
    if random.random() < 0.4:
        body["temperature"] = random.choice((0, 0.7))
    if random.random() < 0.3 and path != "/v1/messages":
        body["seed"] = random.randrange(5)
    if random.random() < 0.5 or path == "/v1/messages":
        body["max_tokens"] = random.choice((1, 5, 30))
    elif path == "/v1/completions":
        body["max_tokens"] = 100  # more than any answer has: without a word vLLM ends completions after 16
    text = json.dumps(body).encode()
    return Wish(
        id=wish_id,
        path=path,
        model=model,
        body=text[:-3] if manner == "bad_json" else text,
        is_stream=body["stream"],
        wants_usage=wants_usage,
        manner=manner,
        amount=random.random(),
    )
