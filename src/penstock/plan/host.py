"""What an engine needs around its GPUs: time to start, host memory, /dev/shm, disk. Pure.

Start-up is bytes over bandwidth plus what was measured on an H200 host with slow CPUs (vLLM 0.26, `memory.json` of the
measurements: 98.8 s cold and 48.0 s warm for an 8B): on a faster host it is shorter, so a probe sized from it is never
too strict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from penstock.plan.estimate import Estimate

__all__ = ["HostNeeds", "Startup", "host_needs", "startup"]

_GIB = 1 << 30
STORE_BYTES_PER_S = 1_000_000_000
"""Weights from a network volume: 1 GB/s, which file stores of the large clouds reach for one reader."""
PAGE_CACHE_BYTES_PER_S = 9_000_000_000
"""From the page cache: 16.06 GB in 1.7 s measured."""
_PROCESS_S = 35.0
"""Imports and the engine's process."""
_LOOKUP_S = 18.0
"""Model class look-up, without its cache."""
_COMPILE_LAYER_S = 0.6
"""Compilation of one layer's share: 20 s for 32 layers, 38 s for 62 measured."""
_COMPILE_WARM_SHARE = 0.22
"""Of a cold compile, when its cache is there: 4.3 of 20 s measured."""
_KERNELS_S = 14.0
"""Kernels compiled at first use; none warm."""
_EXPERT_CAPTURE_S = 24.0
"""More of that at a mixture-of-experts model's first start."""
_CAPTURE_LAYER_S = 0.125
"""Graph capture of one layer's share at 51 batch sizes: 4 s for 32 layers, 7 s for 62 measured."""
_PROFILE_S = 2.0
_PROBE_PERIOD_S = 10
_PROBE_MARGIN = 2.0
"""A start-up probe that ends a start which is merely slow loops for ever."""
_PROCESS_BYTES = 4 * _GIB
"""API server and engine core, and each GPU's process."""
_IMAGE_BYTES = 25 * _GIB
"""The engine's container image, unpacked, with its compile caches."""
_DISK_MARGIN = 1.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """Seconds from the start of the process until it answers, part by part."""

    load_s: float
    compile_s: float
    capture_s: float
    other_s: float

    @property
    def total_s(self) -> float:
        return self.load_s + self.compile_s + self.capture_s + self.other_s


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNeeds:
    """What one replica needs of its machine."""

    cold: Startup
    """First start on a machine: weights from the store, no compile cache."""
    warm: Startup
    """Restart: weights in the page cache, compile cache present."""
    probe_period_s: int
    probe_failures: int
    """`failureThreshold` of the startup probe: twice the cold start."""
    memory_bytes: int
    """Request and limit of the container, /dev/shm included."""
    page_cache_bytes: int
    """Of these, what keeps the weights in the page cache, so that a restart is warm."""
    shm_bytes: int
    disk_bytes: int
    """Volume for the model's files, with room for the next revision's partial download."""
    image_bytes: int


def startup(estimate: Estimate, *, is_cold: bool) -> Startup:
    """How long an engine takes to start."""
    model = estimate.model
    bandwidth = STORE_BYTES_PER_S if is_cold else PAGE_CACHE_BYTES_PER_S
    layers = math.ceil(model.layers / estimate.layout.pipeline)
    compile_s = layers * _COMPILE_LAYER_S
    first_use = _KERNELS_S + (_EXPERT_CAPTURE_S if model.experts else 0.0)
    return Startup(
        load_s=estimate.source_bytes / bandwidth,
        compile_s=compile_s if is_cold else compile_s * _COMPILE_WARM_SHARE,
        capture_s=layers * _CAPTURE_LAYER_S + (first_use if is_cold else 0.0),
        other_s=_PROCESS_S + _PROFILE_S + (_LOOKUP_S if is_cold else 0.0),
    )


def host_needs(estimate: Estimate) -> HostNeeds:
    """What one replica needs of its machine."""
    cold = startup(estimate, is_cold=True)
    gpus = estimate.layout.gpus
    shm = (1 + gpus) * _GIB
    cache = estimate.source_bytes
    memory = _PROCESS_BYTES * (1 + gpus) + cache + shm
    return HostNeeds(
        cold=cold,
        warm=startup(estimate, is_cold=False),
        probe_period_s=_PROBE_PERIOD_S,
        probe_failures=math.ceil(_PROBE_MARGIN * cold.total_s / _PROBE_PERIOD_S),
        memory_bytes=math.ceil(memory / _GIB) * _GIB,
        page_cache_bytes=cache,
        shm_bytes=shm,
        disk_bytes=math.ceil(estimate.source_bytes * _DISK_MARGIN / _GIB + 1) * _GIB,
        image_bytes=_IMAGE_BYTES,
    )
