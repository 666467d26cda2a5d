"""A calibration: overheads with their source, and how far figures made from them may be off.

Made from measurements by `penstock.perf.fitting`, kept as JSON, applied by `StepTime`. `default_calibration` has one
for each GPU: the H200's was measured, the others take its efficiencies over their own data sheet and a faster host,
with wider intervals. Guarantees: `from_json(to_json(c)) == c`; an unknown field is an error, a missing one its default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, TypeVar

from penstock.errors import UsageError
from penstock.facts.gpus import Gpu
from penstock.perf.overheads import FrontEndTime, HostTime, Overheads

__all__ = ["Calibration", "Interval", "Regime", "default_calibration"]

Regime = Literal["decode", "prefill", "ttft", "itl", "throughput"]
REGIMES: tuple[Regime, ...] = ("decode", "prefill", "ttft", "itl", "throughput")


class Interval(NamedTuple):
    """A figure's 90 % interval."""

    low: float
    high: float


_MEASURED_ERRORS: Mapping[Regime, tuple[float, float]] = {
    "decode": (0.95, 1.038),
    "prefill": (0.955, 1.24),
    "ttft": (0.90, 1.13),
    "itl": (0.92, 1.11),
    "throughput": (0.97, 1.03),
}
"""Factors of measured over predicted that hold 90 % of what a fit without its model left over, each model counted alike
however many points it has; for loads, of the replayed ones (`bench/accuracy.py`). Prefills err upwards: the host's slow
spells. Of the kinds of model that were measured: `StepTime` widens them for others."""
_DATA_SHEET_WIDENING = 1.15
"""For a GPU that nobody measured: published comparisons of the same kernels on other GPUs differ by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything that a step's time depends on beside the model and the data sheet."""

    name: str
    source: str
    """What it was fitted from."""
    machine: str = ""
    engine: str = ""
    """Engine and version it was measured with."""
    made_on: str = ""
    """Date, YYYY-MM-DD."""
    overheads: Overheads = field(default_factory=Overheads)
    host: HostTime = field(default_factory=HostTime)
    front_end: FrontEndTime = field(default_factory=FrontEndTime)
    errors: Mapping[Regime, tuple[float, float]] = field(default_factory=lambda: dict(_MEASURED_ERRORS))
    """For each kind of figure the factors that bound 90 % of truths around a prediction."""
    carried: float = 1.0
    """Factor more on each side, where the overheads were carried over from another GPU."""

    def interval(self, value: float, regime: Regime, *, widening: float = 1.0) -> Interval:
        """90 % interval around a predicted value. For rates give the rate, for times the time.

        `widening`: how many times as wide the errors are for this kind of model (`StepTime.widening`). Doubt about the
        GPU is another one and comes on top.
        """
        low, high = self.errors[regime]
        below, above = max(0.0, 1.0 - (1.0 - low) * widening), 1.0 + (high - 1.0) * widening
        return Interval(value * below / self.carried, value * above * self.carried)

    def to_json(self) -> str:
        """Text for a file; the same calibration gives the same bytes."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """What `to_json` wrote; `UsageError` naming what is wrong."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UsageError(
                f"a calibration cannot be read: {error}", hint="`penstock calibrate` writes one"
            ) from error
        if not isinstance(found, dict):
            raise UsageError("a calibration is a JSON object", hint="`penstock calibrate` writes one")
        parts: dict[str, Any] = dict(found)
        parts["overheads"] = _numbers(Overheads, parts.get("overheads", {}))
        parts["host"] = _numbers(HostTime, parts.get("host", {}))
        parts["front_end"] = _numbers(FrontEndTime, parts.get("front_end", {}))
        parts["errors"] = _errors(parts.get("errors", {}))
        parts["carried"] = _carried(parts.get("carried", 1.0))
        unknown = sorted(set(parts) - {f.name for f in fields(cls)})
        missing = sorted({"name", "source"} - set(parts))
        if unknown or missing:
            what = f"has unknown fields: {', '.join(unknown)}" if unknown else f"lacks {', '.join(missing)}"
            raise UsageError(f"a calibration {what}", hint="`penstock calibrate` writes one")
        return cls(**parts)


_Numbers = TypeVar("_Numbers", Overheads, HostTime, FrontEndTime)


def _numbers(kind: type[_Numbers], found: Any) -> _Numbers:
    known = {f.name for f in fields(kind)}
    is_good = isinstance(found, dict) and all(
        name in known and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        for name, value in found.items()
    )
    if not is_good:
        raise UsageError(
            f"a calibration's {kind.__name__} are numbers of 0 or more among {', '.join(sorted(known))}",
            hint=f"found {found!r}",
        )
    return kind(**found)


def _errors(found: Any) -> dict[Regime, tuple[float, float]]:
    errors: dict[Regime, tuple[float, float]] = dict(_MEASURED_ERRORS)
    if not isinstance(found, dict) or set(found) - set(REGIMES):
        raise UsageError(f"a calibration's errors are of {', '.join(REGIMES)}", hint=f"found {found!r}")
    for regime in REGIMES:
        if regime in found:
            low, high = found[regime]
            errors[regime] = (float(low), float(high))
    return errors


def _carried(found: Any) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not found >= 1.0:
        raise UsageError("a calibration's carried is a factor of 1 or more", hint=f"found {found!r}")
    return float(found)


H200_CALIBRATION = Calibration(
    name="h200-vllm-0.26",
    source="fitted on Llama 3.1 8B, Qwen2.5 7B and Qwen3 30B-A3B (docs/accuracy.md)",
    machine="one NVIDIA H200, 16 virtual CPUs of 9 us per operator launch",
    engine="vLLM 0.26.0",
    made_on="2026-11-20",
)
_FAST_HOST = 5.0 / 9.0
"""A fast host launches an operator in 3 to 5 us, the measured one in 9."""


def default_calibration(gpu: Gpu) -> Calibration:
    """The calibration for a GPU that was given none."""
    if gpu.name == "H200":
        return H200_CALIBRATION
    if gpu.slice_of == "H200":
        return replace(H200_CALIBRATION, machine="not measured", carried=_DATA_SHEET_WIDENING)
    return replace(
        H200_CALIBRATION,
        name=f"{gpu.name.lower()}-data-sheet",
        source=f"efficiencies of the H200 over the data sheet of the {gpu.title}; a host of 5 us per operator launch",
        machine="not measured",
        host=H200_CALIBRATION.host.scaled(_FAST_HOST),
        front_end=H200_CALIBRATION.front_end.scaled(_FAST_HOST),
        carried=_DATA_SHEET_WIDENING,
    )
