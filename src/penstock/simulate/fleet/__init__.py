"""A fleet in virtual time: traces through the gateway's own queue and routing and simulated replicas. Pure."""

from penstock.simulate.fleet.page import html_page
from penstock.simulate.fleet.policies import DEFAULT_POLICY, POLICIES, make_policy
from penstock.simulate.fleet.record import cheapest_held, fleet_record, run_record
from penstock.simulate.fleet.report import HELD_SHARE, FleetReport, Objective, draw_up
from penstock.simulate.fleet.run import FleetRun, Traffic, simulate
from penstock.simulate.fleet.scenario import Scenario, TenantRules, engine_of
from penstock.simulate.fleet.shares import Share

__all__ = [
    "DEFAULT_POLICY",
    "HELD_SHARE",
    "POLICIES",
    "FleetReport",
    "FleetRun",
    "Objective",
    "Scenario",
    "Share",
    "TenantRules",
    "Traffic",
    "cheapest_held",
    "draw_up",
    "engine_of",
    "fleet_record",
    "html_page",
    "make_policy",
    "run_record",
    "simulate",
]
