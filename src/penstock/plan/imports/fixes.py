"""What an imported fleet asks for and cannot have, or need not: proposed, or mended where that is asked for. Pure.

Each model is sized as it is. Where that is refused, the nearest that would do is looked for: other weights first, then
more GPUs, then other GPUs. Where fewer GPUs hold the model with room, that is said too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from penstock.facts import Architecture
from penstock.plan.fleet import FleetRefusal, size_fleet
from penstock.plan.imports.production_stack import Imported
from penstock.plan.imports.values import Ledger, Note
from penstock.plan.manifests.manifest import Because, plain
from penstock.plan.sizing import ModelPlan
from penstock.spec import API_VERSION, Fleet, parse_quantity
from penstock.spec.base import FieldPath

__all__ = ["mend"]

_COUNTS = (1, 2, 4, 8, 16)
_OTHER_GPUS = ("H200", "B200")


def mend(imported: Imported, *, architecture_of: Callable[[str], Architecture], is_fixing: bool) -> Imported:
    """The fleet with what sizing finds proposed, or mended. Notes point at `spec.models[…]` of the fleet."""
    ledger = Ledger(is_fixing=is_fixing)
    body = copy.deepcopy(imported.body)
    for place, model in enumerate(body["spec"]["models"]):
        if "endpoints" in model:
            continue
        case = _Case(body=body, model=model, at=("spec", "models", place), architecture_of=architecture_of)
        _mend_size(case, ledger)
        _mend_host(case, ledger)
    return replace(imported, body=body, notes=(*imported.notes, *_once(ledger.notes)))


def _once(notes: list[Note]) -> list[Note]:
    return list(dict.fromkeys(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One model of the fleet, to be tried otherwise."""

    body: dict[str, Any]
    model: dict[str, Any]
    at: FieldPath
    architecture_of: Callable[[str], Architecture]

    def plan(self, **changes: Any) -> ModelPlan | FleetRefusal:
        """Sizes the model alone, with these fields changed; `hardware` is merged into."""
        model = {**plain(self.model), **{k: v for k, v in changes.items() if k != "hardware"}}
        hardware = {**model.get("hardware", {}), **changes.get("hardware", {})}
        model["hardware"] = {name: value for name, value in hardware.items() if value is not None}
        model.pop("aliases", None)
        spec = {"models": [{name: value for name, value in model.items() if value is not None}]}
        if "hardware" in self.body["spec"]:
            spec["hardware"] = plain(self.body["spec"]["hardware"])
        fleet = Fleet.model_validate(
            {"apiVersion": API_VERSION, "kind": "Fleet", "metadata": {"name": "one"}, "spec": spec}
        )
        found = size_fleet(fleet, architecture_of=self.architecture_of)
        return found.refusals[0] if found.refusals else next(iter(found.plans.values()))


def _mend_size(case: _Case, ledger: Ledger) -> None:
    found = case.plan()
    if isinstance(found, FleetRefusal) and found.at[-2:] == ("storage", "size"):
        _mend_volume(case, found, ledger)
        found = case.plan(storage=None)
    if isinstance(found, ModelPlan):
        _mend_waste(case, found, ledger)
        return
    at = (*case.at, *found.at[3:])
    remedy = next(_remedies(case), None)
    if remedy is None:
        ledger.note(at, "left out", f"{found.message}; {found.hint}")
        return
    changes, words = remedy
    if ledger.mend(at, f"{found.message}: {words} would do"):
        reason = f"As it was, it cannot run: {found.message}."
        hardware = changes.get("hardware", {})
        _apply(case.model, {**changes, "hardware": hardware}, reason)


def _mend_volume(case: _Case, found: FleetRefusal, ledger: Ledger) -> None:
    if ledger.mend(found.at, f"{found.message}: it is left to the plan"):
        _drop(case.model, "storage", "size")


def _drop(model: dict[str, Any], part: str, field: str) -> None:
    """Takes a field out, and the part that is empty without it."""
    model[part].pop(field)
    if not model[part]:
        model.pop(part)


def _remedies(case: _Case) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes with which the model can be planned, the least first."""
    hardware = plain(case.model.get("hardware", {}))
    gpu, count = hardware.get("gpu"), hardware.get("count", 1)
    bare = {"tensorParallel": None, "pipelineParallel": None, "dataParallel": None}
    candidates: list[tuple[dict[str, Any], str]] = []
    for quantization in ({}, {"quantization": "fp8"}):
        weights = f" with {quantization['quantization']} weights" if quantization else ""
        for more in (c for c in _COUNTS if c >= count):
            words = f"{more} × {gpu or 'H100'}{weights}"
            candidates.append(({**quantization, "hardware": {**bare, "count": more}}, words))
    candidates.sort(key=lambda entry: (entry[0]["hardware"]["count"], "quantization" in entry[0]))
    candidates += [
        ({"hardware": {**bare, "gpu": other, "count": count}}, f"{count} × {other}") for other in _OTHER_GPUS
    ]
    for changes, words in candidates:
        if isinstance(case.plan(**changes), ModelPlan):
            yield changes, words


def _mend_waste(case: _Case, found: ModelPlan, ledger: Ledger) -> None:
    """Half the GPUs or fewer, with room for several requests of full context."""
    count = found.choice.layout.gpus
    if count == 1 or found.choice.layout.data > 1:
        return
    gpu = found.choice.layout.gpu.name
    free = case.plan(hardware={"gpu": gpu, "count": None, "tensorParallel": None, "pipelineParallel": None})
    if not isinstance(free, ModelPlan) or free.choice.layout.gpus > count // 2:
        return
    fewer, room = free.choice.layout.gpus, free.choice.estimate.memory.full_requests
    words = f"{fewer} × {gpu} hold it, with room for {room:.0f} requests of full context, at a fraction of the cost"
    at = (*case.at, "hardware", "count")
    if ledger.mend(at, words):
        _apply(case.model, {"hardware": {"count": fewer, "tensorParallel": None}}, f"{words}.")


def _apply(model: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    """Writes the changes into the model, with the reason beside the first of them."""
    hardware = model.setdefault("hardware", {})
    for name, value in changes.items():
        if name != "hardware":
            model[name] = Because(value, reason)
            reason = ""
    for name, value in changes.get("hardware", {}).items():
        if value is None:
            hardware.pop(name, None)
        elif plain(hardware.get(name)) != value:
            hardware[name] = Because(value, reason) if reason else value
            reason = ""


def _mend_host(case: _Case, ledger: Ledger) -> None:
    """Memory and disk that are less than the model needs."""
    found = case.plan()
    if not isinstance(found, ModelPlan):
        return
    memory = found.host.memory_bytes - found.host.page_cache_bytes  # less cache makes a restart slower, not impossible
    from_plan = (("resources", "memory", memory), ("storage", "size", found.host.disk_bytes))
    for part, field, needed in from_plan:
        said = plain(case.model.get(part, {})).get(field)
        if said is None or _bytes(said) >= needed:
            continue
        message = f"{said} is less than the {-(-needed >> 30)}Gi that it takes: it is left to the plan"
        if ledger.mend((*case.at, part, field), message):
            _drop(case.model, part, field)


def _bytes(text: str) -> int:

    return int(parse_quantity(text))
