"""What a fleet is sized for: the demand on a model, and the GPUs that may serve it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject, Words
from penstock.spec.placement import GpuClassSpec, GpuName

__all__ = ["DemandSpec", "FleetHardwareSpec"]

UsdPerHour = Annotated[float, Field(gt=0)]
CalibrationPath = Annotated[
    str,
    Field(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*\.json$", max_length=200),
    Words("a file at or below the fleet file's folder, as in `calibrations/h100.json`"),
]


class DemandSpec(SpecObject):
    """What clients ask of the model at its busiest; `penstock plan` sizes replicas for it."""

    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    """Requests that arrive per second at the peak."""
    input_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Mean prompt length, tokens. Default: 1024."""
    output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Mean answer length, tokens. Default: 256."""
    cached_share: Annotated[float, Field(ge=0, le=0.99)] = 0.0
    """Share of prompt tokens that the prefix cache is expected to hold already."""
    trace: str | None = None
    """Recorded requests to take rate and lengths from: a file that `penstock bench --trace` reads, relative to this
    one. With it only `cachedShare` is given beside it."""

    @model_validator(mode="after")
    def _trace_or_numbers(self) -> Self:
        given = {"requests_per_s": "requestsPerS", "input_tokens": "inputTokens", "output_tokens": "outputTokens"}
        if self.trace is not None:
            message = "contradicts `trace`, which has its own: keep one of the two"
            findings = [Finding(at=(name,), message=message) for field, name in given.items() if getattr(self, field)]
            if findings:
                raise Refusal(findings)
        return self


class FleetHardwareSpec(SpecObject):
    """GPUs that the fleet may use, and what they cost."""

    gpus: Annotated[list[GpuName], Field(min_length=1)] | None = None
    """GPUs that `penstock plan` may choose among where a model names none. Default: every one it has a price for."""
    usd_per_gpu_hour: dict[GpuName, UsdPerHour] = Field(default_factory=dict)
    """What you pay for one GPU for one hour, US dollars, by name. Default: list prices, with their date in the plan."""
    calibrations: dict[GpuName, CalibrationPath] = Field(default_factory=dict)
    """Files that `penstock calibrate` wrote of these GPUs, by GPU, relative to this file: `plan`, `simulate`, the
    gateway's routing and `render` use these times. Default: those of the GPU that was measured, carried over."""
    classes: list[GpuClassSpec] = Field(default_factory=list)
    """Nodes of the cluster by GPU. Default: any node whose device plugin has GPUs."""

    @model_validator(mode="after")
    def _one_class_of_each(self) -> Self:
        known: dict[str, int] = {}
        for place, entry in enumerate(self.classes):
            first = known.setdefault(entry.gpu.lower(), place)
            if first != place:
                message = f"{entry.gpu} is described by classes[{first}] already"
                raise Refusal([Finding(at=("classes", place, "gpu"), message=message)])
        return self
