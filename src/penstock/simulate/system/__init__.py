"""The whole system in virtual time, from one seed: real gateways among simulated engines, clients, networks and faults.

Pure. The gateways themselves are put in by `penstock.simulate.io.system`, whose `simulate_seed` is what to call.
"""

from penstock.simulate.system.clock import Clock
from penstock.simulate.system.draw import Scenario, draw
from penstock.simulate.system.engine import Engine, Foul
from penstock.simulate.system.world import Verdict, World, run_seed

__all__ = ["Clock", "Engine", "Foul", "Scenario", "Verdict", "World", "draw", "run_seed"]
