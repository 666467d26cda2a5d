"""What the supervisor knows, in the words of the state record that the dashboard, `up`'s table and users read. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.operate.events import ModelTarget
from penstock.operate.replicas import Replica
from penstock.operate.supervisor import Supervisor
from penstock.serve.platform import PlatformEndpoint, PlatformModel

__all__ = ["platform_models"]


def platform_models(supervisor: Supervisor) -> Mapping[str, PlatformModel]:
    """One record for each model that is wanted, or still has replicas."""
    names = sorted({*supervisor.targets, *(r.model for r in supervisor.replicas.values())})
    return {name: _model(supervisor.targets.get(name), supervisor.of_model(name)) for name in names}


def _model(target: ModelTarget | None, replicas: list[Replica]) -> PlatformModel:
    endpoints = {
        r.id: PlatformEndpoint(phase=r.phase.value, restarts=r.restarts, last_error=_last_error(r)) for r in replicas
    }
    plan = target.plan if target is not None else None
    if target is None or plan is None:
        far = {a.id: PlatformEndpoint(phase="external") for a in target.addresses} if target is not None else {}
        reason = "the file names endpoints that run elsewhere" if far else ""
        return PlatformModel(
            engine="external", engine_reason=reason, replicas_desired=len(far), endpoints={**far, **endpoints}
        )
    return PlatformModel(
        engine=plan.kind, engine_reason=plan.reason, replicas_desired=target.replicas, endpoints=endpoints
    )


def _last_error(replica: Replica) -> str:
    """Why its process last died, and whether it keeps dying."""
    if replica.is_crash_looping:
        return f"crash loop, {replica.failures} exits in a row: {replica.last_error}"
    return replica.last_error
