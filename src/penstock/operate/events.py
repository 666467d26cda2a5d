"""What the supervisor hears and what it asks for, as values: its whole surface towards the world.

A platform (local processes, the fake in `fakes.py`) turns actions into effects and answers with events.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.operate.engines import EnginePlan
from penstock.operate.replicas import Phase
from penstock.serve.routing import EndpointAddress

__all__ = [
    "Action",
    "DesiredChanged",
    "DrainReplica",
    "Event",
    "KillReplica",
    "ModelTarget",
    "PublishPool",
    "RemovePool",
    "ReplicaChanged",
    "ReplicaDrained",
    "ReplicaExited",
    "ReplicaProven",
    "StartReplica",
    "StopReplica",
    "StopRequested",
    "TimePassed",
    "Wait",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTarget:
    """What the fleet file wants of one model."""

    name: str
    replicas: int = 0
    plan: EnginePlan | None = None
    """How its engines are started; None where they run elsewhere."""
    addresses: tuple[EndpointAddress, ...] = ()
    """Engines that run elsewhere."""
    start_timeout_s: float = 600.0
    stop_timeout_s: float = 30.0


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredChanged:
    """The whole of what is wanted; a model that is not named is removed."""

    models: tuple[ModelTarget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaProven:
    """A replica's process answered ready, at this address."""

    id: str
    attempt: int
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaExited:
    """A replica's process is gone, all of its children too."""

    id: str
    attempt: int
    reason: str
    """In words, as in `exited with code 1`."""
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDrained:
    """Nothing is in flight on a draining replica."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed:
    """A moment named by `Wait` has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """Everything must end: drained and stopped, or killed at once when hurried."""

    is_hurried: bool = False


Event = DesiredChanged | ReplicaProven | ReplicaExited | ReplicaDrained | TimePassed | StopRequested

# --- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReplica:
    """Start a process; answer with `ReplicaProven` when it is ready and `ReplicaExited` when it is gone."""

    id: str
    model: str
    attempt: int
    plan: EnginePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReplica:
    """Answer with `ReplicaDrained` when nothing is in flight on it."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReplica:
    """Ask the process to exit."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KillReplica:
    """End the process and all of its children now."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPool:
    """Tell the gateway which endpoints serve a model."""

    model: str
    addresses: tuple[EndpointAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePool:
    """Tell the gateway that a model is no more."""

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaChanged:
    """For people and logs: a replica entered a phase, and why."""

    id: str
    model: str
    phase: Phase
    reason: str
    attempt: int
    restart_in_s: float | None = None
    is_crash_looping: bool = False
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Come back with `TimePassed` at this moment, monotonic seconds, unless another event comes first."""

    until: float


Action = StartReplica | DrainReplica | StopReplica | KillReplica | PublishPool | RemovePool | ReplicaChanged | Wait
