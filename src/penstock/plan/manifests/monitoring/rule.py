"""What a rule is: a recorded series, or an alert with the page that a person reads when it fires. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.plan.manifests.signals import duration

__all__ = ["Alert", "Cause", "Page", "Record", "Severity"]

Severity = Literal["critical", "warning", "info"]
"""`critical` wakes somebody; `warning` is for working hours; `info` is read when somebody looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A recorded series."""

    name: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        return {"record": self.name, "expr": _shown(self.expr), **({"labels": self.labels} if self.labels else {})}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an alert may fire, and what mends it, in sentences."""

    words: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An alert in words: the same for every fleet, so that its runbook page is."""

    name: str
    summary: str
    """One line; with Prometheus' `{{ $labels.model }}` and `{{ $value }}`."""
    description: str
    """What it means for those who use the model, in one or two sentences."""
    meaning: str
    """For the runbook: what is measured, and what is not."""
    first: str
    """The first command to run; NAMESPACE, FLEET, MODEL and POD stand for the alert's labels."""
    causes: tuple[Cause, ...]
    """The likely ones first."""
    wake: str
    """When somebody is to be woken, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule of an alert; several may share a page."""

    page: Page
    expr: str
    severity: Severity
    for_s: int = 0
    """Seconds that it must last."""
    labels: dict[str, str] = field(default_factory=dict)

    def body(self, runbook_url: str) -> dict[str, Any]:
        """As a PrometheusRule has it."""
        return {
            "alert": self.page.name,
            "expr": _shown(self.expr),
            **({"for": duration(self.for_s)} if self.for_s else {}),
            "labels": {**self.labels, "severity": self.severity},
            "annotations": {
                "summary": self.page.summary,
                "description": self.page.description,
                "runbook_url": f"{runbook_url.rstrip('/')}/{self.page.name}",
            },
        }


def _shown(expr: str) -> str:
    """With a line end where YAML would else have to escape its quotes."""
    return f"{expr}\n" if '"' in expr else expr
