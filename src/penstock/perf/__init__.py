"""The one performance model: what fits in memory, and how long a step takes."""

from penstock.perf.memory import MemoryPlan, activation_bytes, kv_bytes_per_token, plan_memory, weight_bytes
from penstock.perf.timing import FrontEndTime, Overheads, StepTime

__all__ = [
    "FrontEndTime",
    "MemoryPlan",
    "Overheads",
    "StepTime",
    "activation_bytes",
    "kv_bytes_per_token",
    "plan_memory",
    "weight_bytes",
]
