"""The order of the controllers, and when a step is over: once nothing changes any more at this moment. Pure."""

from __future__ import annotations

from penstock.operate.testing.controllers.batch import run_jobs
from penstock.operate.testing.controllers.budgets import run_budgets
from penstock.operate.testing.controllers.claims import bind_claims
from penstock.operate.testing.controllers.endpoints import run_services
from penstock.operate.testing.controllers.nodes import run_nodes
from penstock.operate.testing.controllers.scheduling import schedule
from penstock.operate.testing.controllers.workloads import run_deployments, run_replica_sets
from penstock.operate.testing.controllers.world import Controller, World

__all__ = ["STEPS_MAX", "run_controllers"]

STEPS_MAX = 400
"""Rounds after which a step ends though something still changes; the next goes on."""
_ORDER: tuple[Controller, ...] = (
    *(run_deployments, run_replica_sets, run_jobs, bind_claims, schedule, run_nodes, run_services, run_budgets),
)


def run_controllers(world: World) -> bool:
    """Runs every controller until nothing changes; whether anything did."""
    began = world.store.revision
    for _ in range(STEPS_MAX):
        before = world.store.revision
        for run in _ORDER:
            run(world)
        if world.store.revision == before:
            break
    return world.store.revision != began
