"""The local platform: engines as processes of this machine."""

from penstock.operate.io.local import LocalPlatform, PoolSink
from penstock.operate.io.machine import survey
from penstock.operate.io.processes import LocalProcesses, log_of
from penstock.operate.io.state_folder import StateFolder

__all__ = ["LocalPlatform", "LocalProcesses", "PoolSink", "StateFolder", "log_of", "survey"]
