"""Sizes a whole fleet as its file says: what `render`, `apply` and the controller start from. Pure.

Guarantees: every model that Penstock starts has a plan, or its refusals are all told, each with its place in the file;
equal asks are sized once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from penstock.errors import UsageError
from penstock.facts import Architecture, Gpu, find_gpu
from penstock.perf import Calibration
from penstock.plan.ask import Ask, ask_of_model, unknown_model
from penstock.plan.demand import Demand
from penstock.plan.prices import PRICE_WORDS, list_prices
from penstock.plan.refusal import Refusal
from penstock.plan.sizing import ModelPlan, size
from penstock.spec import Fleet, HardwareSpec, ModelSpec
from penstock.spec.base import FieldPath

__all__ = ["FleetPlan", "FleetRefusal", "size_fleet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRefusal:
    """Why a model cannot run as its file says. `at` is a path of the file."""

    model: str
    at: FieldPath
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """The plan of each model that Penstock starts, by its name; those with `endpoints` run elsewhere."""

    plans: Mapping[str, ModelPlan]
    refusals: tuple[FleetRefusal, ...] = ()


def size_fleet(
    fleet: Fleet,
    *,
    architecture_of: Callable[[str], Architecture],
    demand_of: Callable[[ModelSpec], Demand | None] | None = None,
    calibrations: Mapping[str, Calibration] | None = None,
) -> FleetPlan:
    """The plans of a fleet. `demand_of` reads a model's trace; None: what the file says without it.

    Raises:
        UsageError: `spec.hardware` names a GPU that nobody knows.
    """
    prices = list_prices(fleet.spec.hardware.usd_per_gpu_hour)
    gpus = _gpus(fleet)
    plans: dict[str, ModelPlan] = {}
    refusals: list[FleetRefusal] = []
    sized: dict[str, ModelPlan | list[Refusal]] = {}
    for place, model in enumerate(fleet.spec.models):
        if model.endpoints is not None:
            continue
        ask = _ask(
            model,
            architecture_of(model.source_or_name),
            demand=demand_of(model) if demand_of is not None else None,
            gpus=gpus,
            prices=prices,
            calibrations=calibrations or {},
        )
        found = ask if isinstance(ask, list) else _sized(ask, sized)
        if isinstance(found, ModelPlan):
            plans[model.name] = found
            continue
        at: FieldPath = ("spec", "models", place)
        refusals += [
            FleetRefusal(model=model.name, at=(*at, *refusal.at), message=refusal.message, hint=refusal.hint)
            for refusal in found
        ]
    return FleetPlan(plans=plans, refusals=tuple(refusals))


def _ask(
    model: ModelSpec,
    architecture: Architecture,
    *,
    demand: Demand | None,
    gpus: tuple[Gpu, ...],
    prices: Mapping[str, int],
    calibrations: Mapping[str, Calibration],
) -> Ask | list[Refusal]:
    if architecture.is_guess:
        at: FieldPath = ("source",) if model.source else ("name",)
        return [replace(unknown_model(model.source_or_name), at=at)]
    return ask_of_model(
        model,
        architecture,
        demand=demand,
        gpus=gpus,
        prices=prices,
        price_words=PRICE_WORDS,
        calibrations=calibrations,
    )


def _sized(ask: Ask, sized: dict[str, ModelPlan | list[Refusal]]) -> ModelPlan | list[Refusal]:
    """The plan of an ask, or of one that was the same but for its name."""
    key = repr(replace(ask, name="", prices={}, places={}))
    if key not in sized:
        sized[key] = size(ask)
    found = sized[key]
    return replace(found, ask=ask) if isinstance(found, ModelPlan) else found


def _gpus(fleet: Fleet) -> tuple[Gpu, ...]:
    """What may be chosen where a model names none: what the file lists, else what the cluster has, else the default."""
    hardware = fleet.spec.hardware
    named = hardware.gpus or [entry.gpu for entry in hardware.classes] or [HardwareSpec().gpu]
    try:
        return tuple(dict.fromkeys(find_gpu(name) for name in named))
    except UsageError as error:
        raise UsageError(f"spec.hardware: {error.message}", hint=error.hint) from error
