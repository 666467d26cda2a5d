"""The one performance model: what fits in memory, and how long a step takes."""

from penstock.perf.calibration import Calibration, Interval, Regime, default_calibration
from penstock.perf.kv import KvLayout, kv_bytes_per_token, kv_layout
from penstock.perf.memory import MemoryPlan, activation_bytes, plan_memory
from penstock.perf.overheads import FrontEndTime, HostTime, Overheads
from penstock.perf.timing import StepTime
from penstock.perf.weights import Parallelism, check_parallelism, weight_bytes

__all__ = [
    "Calibration",
    "FrontEndTime",
    "HostTime",
    "Interval",
    "KvLayout",
    "MemoryPlan",
    "Overheads",
    "Parallelism",
    "Regime",
    "StepTime",
    "activation_bytes",
    "check_parallelism",
    "default_calibration",
    "kv_bytes_per_token",
    "kv_layout",
    "plan_memory",
    "weight_bytes",
]
