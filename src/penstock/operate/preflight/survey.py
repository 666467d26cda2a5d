"""What a cluster shows of itself before anything is applied, and what we find of it. Pure values.

`operate/io/kubernetes/survey.py` fills a `Survey`. What could not be read is None there, with the reason in `unread`:
a check on it is `unknown`, never `ok`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock.operate.apply.objects import Object

__all__ = ["Check", "DryRun", "Status", "Survey"]


class Status(StrEnum):
    """What became of one check, from good to bad."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It could not be looked at."""
    WARNING = "warning"
    """It will run, and not as well as it should."""
    FAILED = "failed"
    """It will not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question about the cluster, and its answer."""

    id: str
    """Short and stable, as in `gpu-capacity`."""
    about: str
    """The model, the Secret, the class that is asked about; empty for the cluster."""
    status: Status
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What the API server said to an object that was applied without effect."""

    subject: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A cluster as it was read."""

    version: str | None = None
    """Of the API server, as in `1.36.2`."""
    nodes: tuple[Object, ...] | None = None
    pods: tuple[Object, ...] | None = None
    """Of all namespaces: what takes the GPUs."""
    daemon_sets: tuple[Object, ...] | None = None
    storage_classes: tuple[Object, ...] | None = None
    priority_classes: tuple[Object, ...] | None = None
    runtime_classes: tuple[Object, ...] | None = None
    device_classes: tuple[Object, ...] | None = None
    claims: tuple[Object, ...] | None = None
    """Volumes of the fleet's namespace."""
    quotas: tuple[Object, ...] | None = None
    """ResourceQuotas of the fleet's namespace."""
    namespace: Object | None = None
    """None where it does not exist, or could not be read."""
    secrets: Mapping[str, frozenset[str] | None] | None = None
    """Keys of each Secret that the fleet names; None for one that is not there. Values are never read in."""
    missing_kinds: tuple[tuple[str, str], ...] = ()
    """`apiVersion` and kind of what the fleet renders and the cluster does not serve."""
    dry_runs: tuple[DryRun, ...] = ()
    """Refusals of the API server; of objects that it would take there is none."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Why a field could not be read, by its name."""
