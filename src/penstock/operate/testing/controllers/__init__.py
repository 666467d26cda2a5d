"""What runs in a cluster besides its API server: workload controllers, scheduler and nodes, stepped by a test.

Each is a function of the world at `now` that writes what its namesake would write. Pure: no clock, no threads.
"""

from penstock.operate.testing.controllers.steps import STEPS_MAX, run_controllers
from penstock.operate.testing.controllers.world import Behaviour, World

__all__ = ["STEPS_MAX", "Behaviour", "World", "run_controllers"]
