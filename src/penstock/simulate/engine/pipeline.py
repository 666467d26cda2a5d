"""The host and the GPU of one engine in virtual time, and the one step that is on its way between them.

With async scheduling (vLLM's default) the host decides and launches a step while the GPU runs the one before, and only
then reads that one's result. So a token comes one decision late, a step without a CUDA graph holds back the result of
the step before it, and a small model waits for its host. Without it, a step is decided when the last one is over.

Guarantees: results come in the order of decisions; neither host nor GPU does two things at a time.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from penstock.perf.timing import StepTime
from penstock.simulate.engine.pace import Pace
from penstock.simulate.engine.scheduler import Batch

__all__ = ["Flight", "Pipeline"]

T = TypeVar("T")


class Flight(NamedTuple, Generic[T]):
    """A step that was launched."""

    load: T
    """What it will have done; the caller's."""
    requests: int
    ends_at: float
    """When the GPU is through with it."""


class Pipeline(Generic[T]):
    """Owns both clocks. `step` once for each decision. `phase` sets when its host is slow."""

    def __init__(self, timing: StepTime, *, speed: float = 1.0, is_async: bool = True, phase: float = 0.0) -> None:
        self.timing = timing
        self.is_async = is_async
        self.host_free = 0.0
        """When the host can decide the next step."""
        self.gpu_free = 0.0
        self.flight: Flight[T] | None = None
        self.scale = 1.0 / speed
        self.pace = Pace(timing.calibration.host.slowest, phase=phase, speed=speed)

    def step(self, batch: Batch, load: T, now: float) -> tuple[float, T | None]:
        """Launches a batch decided at `now`; when the next result is there, and whose it is (None: nobody's yet)."""
        requests = len(batch.shares)
        host = max(now, self.host_free)
        scale = self.scale * self.pace.at(host)
        host += self.timing.schedule_s(requests) * scale
        launched: Flight[T] | None = None
        if requests:
            launch = self.timing.launch_s(batch.prefill_tokens, batch.decode_tokens)
            starts = max(self.gpu_free, host + self.timing.lead_of(launch) * scale)
            host += launch * scale
            self.gpu_free = max(starts + self._gpu_s(batch), host)
            launched = Flight(load, requests, self.gpu_free)
        due = self.flight if self.is_async else launched
        self.flight = launched if self.is_async else None
        if due is None:
            self.host_free = host
            return host, None
        ends_at = max(host, due.ends_at)
        self.host_free = ends_at + self.timing.deliver_s(due.requests) * scale
        return ends_at, due.load

    def _gpu_s(self, batch: Batch) -> float:
        return self.scale * self.timing.gpu_s(
            prefill_tokens=batch.prefill_tokens,
            decode_requests=batch.decode_tokens,
            decode_context=batch.decode_context,
            prefill_pairs=batch.prefill_pairs,
            prefill_requests=batch.prefill_requests,
            is_uneven=True,
        )
