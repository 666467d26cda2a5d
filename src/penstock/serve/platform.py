"""What others tell telemetry about a model: the fleet file (profile) and whoever runs its engines (platform).

Plain values, replaced whole by their owner: the gateway on reload, the supervisor or discovery when replicas change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DiscoveryState", "ModelProfile", "PlatformEndpoint", "PlatformModel", "StoreState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """What the fleet file says of a model, as far as it is shown. Objectives in milliseconds."""

    aliases: tuple[str, ...] = ()
    ttft_ms: float | None = None
    itl_ms: float | None = None
    e2e_ms: float | None = None
    fallbacks: tuple[str, ...] = ()
    """Who answers when none of its endpoints can, in order: models, and models of providers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformEndpoint:
    """What the platform (supervisor or Kubernetes) knows of one replica, in its own words."""

    phase: str
    """As in `starting`, `ready`, `backoff`, `stopping`."""
    restarts: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformModel:
    """What the platform knows of one model. A replica without an address yet is in `endpoints` all the same."""

    engine: str = "external"
    """`vllm`, `simulated` or `external`."""
    engine_reason: str = ""
    """Why this engine, as in `vllm is not installed`."""
    replicas_desired: int | None = None
    """Default: as many as have an address."""
    endpoints: Mapping[str, PlatformEndpoint] = field(default_factory=dict)
    """By endpoint id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryState:
    """How well the gateway knows which endpoints there are, where a cluster tells it."""

    source: str
    """Who is asked, as in `kubernetes`."""
    is_synced: bool = False
    """Whether all endpoints were told once; from then on the last known ones hold."""
    is_connected: bool = False
    """Whether changes are heard now."""
    error: str = ""
    """Why not, in words."""
    heard_at: float = 0.0
    """Monotonic seconds when the source was last heard."""
    events_total: int = 0
    lists_total: int = 0
    """Whole lists taken: one at the start, one more each time that changes were missed."""
    failures_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """How well the gateway knows the keys of its store."""

    kind: str
    """`sqlite` or `postgresql`."""
    where: str
    """Its file or address."""
    is_connected: bool = False
    """Whether changes are heard now; if not, the last known keys hold."""
    source: str = ""
    """Where the keys that hold came from: `store`, `snapshot` of an earlier run, or "" for nowhere yet."""
    error: str = ""
    """Why it is away, in words."""
    snapshot_error: str = ""
    """Why the keys could not be kept for a restart without the store, in words."""
    read_at: float = 0.0
    """Monotonic seconds when the store was last read."""
    keys: int = 0
    """Valid ones."""
    changes_total: int = 0
    failures_total: int = 0
