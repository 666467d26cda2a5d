"""Runs a fleet: which engines and replicas should exist (pure), and the platforms that carry it out (`io`)."""

from penstock.operate.engines import EngineFacts, EnginePlan, plan_engine
from penstock.operate.events import Action, Event, ModelTarget
from penstock.operate.fakes import Behaviour, FakeMachine
from penstock.operate.replicas import Phase, Replica
from penstock.operate.status import platform_models
from penstock.operate.supervisor import Supervisor
from penstock.operate.targets import fleet_targets

__all__ = [
    "Action",
    "Behaviour",
    "EngineFacts",
    "EnginePlan",
    "Event",
    "FakeMachine",
    "ModelTarget",
    "Phase",
    "Replica",
    "Supervisor",
    "fleet_targets",
    "plan_engine",
    "platform_models",
]
