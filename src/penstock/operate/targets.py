"""From the fleet file to what the supervisor wants: one `ModelTarget` for each model. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from penstock.errors import SpecError
from penstock.operate.engines import EngineFacts, Report, plan_engine
from penstock.operate.events import ModelTarget
from penstock.serve.config import ServedModel
from penstock.serve.routing import EndpointAddress
from penstock.spec import Fleet, ModelSpec

__all__ = ["fleet_targets"]


def fleet_targets(
    fleet: Fleet,
    served: Mapping[str, ServedModel],
    *,
    survey: Callable[[ModelSpec], EngineFacts],
    report: Report,
) -> tuple[ModelTarget, ...]:
    """What each model of the fleet needs on this machine, in the file's order.

    `served` holds the models as the gateway has them; `report` places a problem in the file.

    Raises:
        SpecError: sources that are paths and hold no model; every one of them.
        StartError: an engine that was asked for can't run here.
    """
    targets: list[ModelTarget] = []
    problems: list[SpecError] = []
    for index, model in enumerate(fleet.spec.models):
        if model.endpoints is not None:
            far = _addresses(model.name, served[model.name].static_endpoints)
            targets.append(ModelTarget(name=model.name, addresses=far))
            continue
        try:
            plan = plan_engine(model, survey(model), at=("spec", "models", index), report=report)
        except SpecError as error:
            problems.append(error)
            continue
        engine = model.engine
        targets.append(
            ModelTarget(
                name=model.name,
                replicas=model.replicas,
                plan=plan,
                start_timeout_s=engine.start_timeout_s,
                stop_timeout_s=engine.stop_timeout_s,
            )
        )
    if problems:
        raise SpecError([problem for error in problems for problem in error.problems])
    return tuple(targets)


def _addresses(model: str, endpoints: Sequence[tuple[str, int]]) -> tuple[EndpointAddress, ...]:
    """Named as the gateway names them."""
    return tuple(EndpointAddress(id=f"{model}-{n}", host=host, port=port) for n, (host, port) in enumerate(endpoints))
