"""The shape of `/api/v1/state` and `/api/v1/requests`: plain JSON values, made from what telemetry counted.

Guarantees: null where nothing was measured; every endpoint of the pool, and every replica the platform knows, once.
Never prompts, completions or keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from penstock.serve.histogram import Histogram, percentile
from penstock.serve.platform import DiscoveryState, ModelProfile, PlatformEndpoint, PlatformModel, StoreState
from penstock.serve.record import RequestRecord
from penstock.serve.routing.endpoints import Endpoint, EngineSample, Pool
from penstock.serve.tally import MARK_TICKS, ModelTally

__all__ = [
    "ModelView",
    "discovery_state",
    "fresh_sample",
    "model_state",
    "request_state",
    "rfc3339",
    "rounded",
    "store_state",
]

SAMPLE_STALE_S = 10.0
"""Seconds after which an engine's reading says nothing of now; ten missed scrapes."""

NAME_CHARS_MAX = 200
"""Characters shown of a name that a client chose; the longest name a fleet file may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """All that is known of one model at one moment."""

    now: float
    name: str
    profile: ModelProfile
    platform: PlatformModel
    pool: Pool
    tally: ModelTally
    requests_per_s: float
    tokens_per_s: float
    able_fallbacks: Sequence[str] = ()
    """Of the profile's, those that have an endpoint that answers, or was not asked yet."""


def model_state(view: ModelView) -> dict[str, Any]:
    """One model of `/api/v1/state`."""
    tally, profile, platform, pool = view.tally, view.profile, view.platform, view.pool
    outcomes = tally.outcomes()
    desired = platform.replicas_desired
    requests, errors, _ = tally.since(MARK_TICKS)
    return {
        "name": view.name,
        "aliases": list(profile.aliases),
        "engine": platform.engine,
        "engine_reason": platform.engine_reason,
        "replicas_desired": len(pool.endpoints) if desired is None else desired,
        "replicas_ready": sum(e.health == "ready" for e in pool.endpoints),
        "in_flight": tally.in_flight,
        "requests_total": sum(outcomes.values()),
        "outcomes": dict(outcomes),
        "last_minute": {"requests": requests, "errors": errors},
        "requests_per_s": round(view.requests_per_s, 2),
        "tokens_per_s": round(view.tokens_per_s, 1),
        "prompt_tokens_total": sum(c.prompt_tokens for c in tally.callers.values()),
        "cached_tokens_total": sum(c.cached_tokens for c in tally.callers.values()),
        "output_tokens_total": sum(c.output_tokens for c in tally.callers.values()),
        "retries_total": tally.retries,
        "hedges_total": sum(tally.hedges.values()),
        "ttft_ms": _percentiles(tally.ttft),
        "tpot_ms": _percentiles(tally.tpot),
        "total_ms": _percentiles(tally.total),
        "queue_ms": {name: _percentiles(histogram) for name, histogram in tally.waits.items()},
        "objectives": {"ttft_ms": profile.ttft_ms, "itl_ms": profile.itl_ms, "e2e_ms": profile.e2e_ms},
        "fallbacks": [{"model": name, "is_able": name in view.able_fallbacks} for name in profile.fallbacks],
        "endpoints": _endpoints(pool, platform, view.now),
    }


def discovery_state(discovery: DiscoveryState, now: float) -> dict[str, Any]:
    """Who tells the endpoints, as `gateway.discovery` of `/api/v1/state`."""
    return {
        "source": discovery.source,
        "is_synced": discovery.is_synced,
        "is_connected": discovery.is_connected,
        "error": discovery.error,
        "silent_s": round(max(0.0, now - discovery.heard_at), 1) if discovery.heard_at else None,
        "events_total": discovery.events_total,
        "lists_total": discovery.lists_total,
        "failures_total": discovery.failures_total,
    }


def store_state(store: StoreState, now: float) -> dict[str, Any]:
    """How well the keys of the store are known, as `gateway.store` of `/api/v1/state`."""
    return {
        "kind": store.kind,
        "where": store.where,
        "is_connected": store.is_connected,
        "source": store.source or None,
        "error": store.error,
        "snapshot_error": store.snapshot_error,
        "silent_s": round(max(0.0, now - store.read_at), 1) if store.read_at else None,
        "keys": store.keys,
        "changes_total": store.changes_total,
        "failures_total": store.failures_total,
    }


def fresh_sample(endpoint: Endpoint, now: float) -> EngineSample | None:
    """The last reading of the engine, unless it is too old to say anything of now."""
    sample = endpoint.sample
    return sample if sample is not None and now - sample.at < SAMPLE_STALE_S else None


def request_state(record: RequestRecord) -> dict[str, Any]:
    """One finished request of `/api/v1/requests`. Only a stream shows when its first token came."""
    return {
        "at": rfc3339(record.at),
        "request_id": record.request_id[:NAME_CHARS_MAX],
        "route": record.route,
        "model": record.model,
        "requested_model": record.requested_model[:NAME_CHARS_MAX],
        "endpoint": record.endpoint,
        "tenant": record.tenant,
        "key": record.key,
        "class": record.traffic_class,
        "is_stream": record.is_stream,
        "status": record.status,
        "outcome": record.outcome,
        "reason": record.reason,
        "prompt_tokens": _known(record.prompt_tokens),
        "cached_tokens": _known(record.cached_tokens),
        "output_tokens": _known(record.output_tokens),
        "queue_ms": _known(record.queue_ms),
        "ttft_ms": _known(record.ttft_ms) if record.is_stream else None,
        "tpot_ms": _known(record.tpot_ms) if record.is_stream else None,
        "total_ms": _known(record.total_ms),
        "retries": record.retries,
        "resumes": record.resumes,
        "continued": record.continued,
        "rule": record.rule,
        "fallbacks": record.fallbacks,
        "hedged": record.hedged,
    }


def rfc3339(unix: float) -> str:
    """Unix seconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rounded(value: float | None) -> float | None:
    """To a hundredth, which is finer than a bucket; None stays None."""
    return None if value is None else round(value, 2)


def _known(value: float) -> float | None:
    return None if value < 0 else round(value, 2)


def _percentiles(histogram: Histogram) -> dict[str, float | None]:
    window = histogram.window()
    return {name: rounded(percentile(window, p)) for name, p in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


def _endpoints(pool: Pool, platform: PlatformModel, now: float) -> list[dict[str, Any]]:
    known = platform.endpoints
    addressed = [_endpoint(e, known.get(e.id) or PlatformEndpoint(phase=e.health), now) for e in pool.endpoints]
    ids = {e.id for e in pool.endpoints}
    absent = [_absent(id_, replica) for id_, replica in known.items() if id_ not in ids]
    return sorted([*addressed, *absent], key=lambda endpoint: _by_number(endpoint["id"]))


def _by_number(endpoint_id: str) -> tuple[str, int, str]:
    """`chat-10` after `chat-9`."""
    name, _, number = endpoint_id.rpartition("-")
    return (name, int(number), "") if number.isdecimal() else (endpoint_id, -1, "")


def _endpoint(endpoint: Endpoint, replica: PlatformEndpoint, now: float) -> dict[str, Any]:
    """One endpoint. What only the engine knows is null while it does not say."""
    sample = fresh_sample(endpoint, now)
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "health": endpoint.health,
        "phase": replica.phase,
        "in_flight": endpoint.in_flight,
        "running": sample.running if sample else None,
        "waiting": sample.waiting if sample else None,
        "kv_usage": round(sample.kv_usage, 4) if sample else None,
        "tokens_per_s": round(endpoint.tokens_per_s(), 1) if sample else None,
        "dispatched_total": endpoint.dispatched_total,
        "failures_total": endpoint.failures_total,
        "restarts": replica.restarts,
        "last_error": endpoint.last_error or replica.last_error,
    }


def _absent(endpoint_id: str, replica: PlatformEndpoint) -> dict[str, Any]:
    """A replica without an address: starting, or waiting to be started again."""
    return {
        "id": endpoint_id,
        "url": "",
        "health": "unproven",
        "phase": replica.phase,
        "in_flight": 0,
        "running": None,
        "waiting": None,
        "kv_usage": None,
        "tokens_per_s": None,
        "dispatched_total": 0,
        "failures_total": 0,
        "restarts": replica.restarts,
        "last_error": replica.last_error,
    }
