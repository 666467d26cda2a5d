"""How many replicas a model runs as its load changes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject, Words

__all__ = ["AutoscalingSpec", "ScheduleSpec"]

CronLine = Annotated[
    str,
    Field(pattern=r"^(\S+\s+){4}\S+$"),
    Words("five cron fields: minute, hour, day of month, month, day of week, as in `0 8 * * 1-5`"),
]


class ScheduleSpec(SpecObject):
    """A time of the week with more replicas: warm before the load comes."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """What it is called in reports."""
    start: CronLine
    """When it begins, as cron says it."""
    end: CronLine
    """When it ends, as cron says it."""
    timezone: Annotated[str, Field(min_length=1)] = "UTC"
    """Time zone of both, as in `Europe/Paris`."""
    replicas: Annotated[int, Field(ge=1, le=1000)]
    """Replicas at least, between the two."""


class AutoscalingSpec(SpecObject):
    """How many replicas run as the load changes. With it `replicas` is where the model starts."""

    via: Literal["penstock", "keda", "hpa"] = "keda"
    """Who scales: `keda` by Prometheus, `hpa` by Prometheus through prometheus-adapter, `penstock` by the controller's
    forecast, through KEDA."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Replicas at least. 0 lets the model sleep when nobody asks for it; the first request then waits for a start."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Replicas at most."""
    target_concurrency: Annotated[float, Field(gt=0)] | None = None
    """Requests, running and waiting, that one replica is meant to have. Default: what the plan gives one replica at the
    objectives."""
    scale_up_window_s: Annotated[int, Field(ge=0, le=3600)] = 0
    """How long more load must last before replicas are added."""
    scale_down_window_s: Annotated[int, Field(ge=0, le=3600)] = 600
    """How long less load must last before replicas are taken away."""
    idle_s: Annotated[int, Field(ge=30)] = 1800
    """`minReplicas: 0` only: how long nobody may ask before the last replica goes."""
    schedule: list[ScheduleSpec] = Field(default_factory=list)
    """Times with more replicas."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        findings: list[Finding] = []
        if self.max_replicas < max(1, self.min_replicas):
            message = f"is {self.max_replicas}, less than `minReplicas`, which is {self.min_replicas}"
            findings.append(Finding(at=("maxReplicas",), message=message))
        if self.via == "hpa" and self.min_replicas == 0:
            hint = "use `via: keda`, or `minReplicas: 1`"
            message = "is 0, and a HorizontalPodAutoscaler does not scale to zero by a per-replica metric"
            findings.append(Finding(at=("minReplicas",), message=message, hint=hint))
        for place, entry in enumerate(self.schedule):
            if self.via == "hpa":
                message = "needs KEDA: a HorizontalPodAutoscaler knows no times"
                findings.append(Finding(at=("schedule", place), message=message, hint="use `via: keda`"))
            elif entry.replicas > self.max_replicas:
                message = f"is {entry.replicas}, more than `maxReplicas`, which is {self.max_replicas}"
                findings.append(Finding(at=("schedule", place, "replicas"), message=message))
        if findings:
            raise Refusal(findings)
        return self
