"""Which engine runs a model on this machine, why, and with which command.

Pure: what the machine has is given as `EngineFacts`. Guarantees that the choice carries its reason in words, that
`engine.type: vllm` never turns into a simulation silently, and that a plan's `revision` changes exactly when something
changes that the engine's process is started with. Leaves running it to `operate/io`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from penstock.errors import Problem, SpecError, StartError, UsageError
from penstock.facts import find_gpu, find_model
from penstock.plan.engine_command import SIMULATED_FLAGS, field_flags, flag_words, merged_flags, simulated_flags
from penstock.spec import HardwareSpec, ModelSpec
from penstock.spec.base import FieldPath

__all__ = ["SIMULATED_FLAGS", "EngineFacts", "EngineKind", "EnginePlan", "Report", "looks_like_path", "plan_engine"]

EngineKind = Literal["vllm", "simulated"]
Report = Callable[[FieldPath, str, str], Problem]
"""Makes a problem of a path in the fleet file, a message and a hint: it knows the file and the line."""

_OURS = {
    "host": "the gateway reaches its engines on loopback",
    "port": "each replica gets a free port",
    "served-model-name": "the model's `name` is what clients send",
    "model": "`source` names the model",
}
"""Flags that `up` sets itself, and why a file's value is not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What this machine has for one model."""

    python: str
    """Interpreter that runs Penstock, and so the simulated engine."""
    vllm_command: str | None
    """Path of the `vllm` command; None where there is none."""
    vllm_absence: str = ""
    """Why there is none and what installs it, in words."""
    source_path: str | None
    """Absolute path of `source` where that is on this machine."""
    is_model_folder: bool = False
    """Whether `source_path` is a folder with a config.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """How one model's replicas are started. `argv` holds the placeholders `{port}` and `{ready_file}`."""

    kind: EngineKind
    reason: str
    """Why this engine, in words."""
    notes: tuple[str, ...]
    """What of the file was not carried over, in words."""
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    """Variables added to the environment, sorted by name."""
    gpus: int = 0
    """GPUs that each replica is given of those that the machine has."""

    @property
    def revision(self) -> str:
        """Ten hexadecimal digits that name everything the process is started with."""
        content = json.dumps([self.kind, self.argv, self.env, self.gpus], separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:10]

    @property
    def writes_ready_file(self) -> bool:
        """Whether the engine picks its own port and tells it in a file; else the starter picks the port."""
        return self.kind == "simulated"

    def command(self, *, port: int, ready_file: str) -> list[str]:
        """The command line for one process."""
        places = {"{port}": str(port), "{ready_file}": ready_file}
        return [places.get(word, word) for word in self.argv]


def looks_like_path(source: str) -> bool:
    """Whether `source` can only be meant as a path, so that its absence is a mistake and not a hub name."""
    return source in (".", "..", "~") or source.startswith(("/", "./", "../", "~/"))


def plan_engine(model: ModelSpec, facts: EngineFacts, *, at: FieldPath, report: Report) -> EnginePlan:
    """Chooses the engine of `model`, which stands `at` a path of the file, and builds its command.

    Raises:
        SpecError: `source` is a path, and no model is there; or no GPU has the name that `hardware.gpu` gives.
        StartError: `engine.type` is `vllm` and this machine can't run it.
    """
    _check_source(model, facts, at, report)
    _check_gpu(model, at, report)
    hindrance = _vllm_hindrance(model, facts)
    wanted = model.engine.type
    if wanted == "simulated":
        return _simulated(model, facts, "the file asks for it (engine.type: simulated)")
    if hindrance is None:
        return _vllm(model, facts, f"{facts.vllm_command} is installed and {facts.source_path} is a model folder")
    if wanted == "vllm":
        message = f"model {model.name!r} asks for vllm, which can't run here: {hindrance}"
        problem = report((*at, "engine", "type"), message, "")
        hint = "mend that, or set engine.type to auto or simulated to try the fleet without it"
        raise StartError(str(replace(problem, hint=None)), hint=hint)
    return _simulated(model, facts, hindrance)


def _check_source(model: ModelSpec, facts: EngineFacts, at: FieldPath, report: Report) -> None:
    source = model.source_or_name
    if not looks_like_path(source) or facts.is_model_folder:
        return
    if facts.source_path is None:
        message, hint = f"the model path {source!r} does not exist", "correct the path, or download the model there"
    else:
        message = f"{facts.source_path} is not a model folder: it has no config.json"
        hint = "name the folder that holds config.json and the weights"
    raise SpecError([report((*at, "source"), message, hint)])


def _check_gpu(model: ModelSpec, at: FieldPath, report: Report) -> None:
    if model.hardware is None:
        return
    try:
        find_gpu(model.hardware.gpu)
    except UsageError as error:
        raise SpecError([report((*at, "hardware", "gpu"), error.message, error.hint or "")]) from error


def _vllm_hindrance(model: ModelSpec, facts: EngineFacts) -> str | None:
    """What keeps vLLM from running this model here; None when nothing does."""
    if facts.vllm_command is None:
        return facts.vllm_absence
    if not facts.is_model_folder:
        return f"source {model.source_or_name} is not a folder on this machine"
    return None


def _environment(model: ModelSpec, ours: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({**ours, **model.engine.env}.items()))


def _vllm(model: ModelSpec, facts: EngineFacts, reason: str) -> EnginePlan:
    assert facts.vllm_command is not None
    assert facts.source_path is not None
    merged = merged_flags(model, field_flags(model), owned=_OURS)
    flags = merged.flags
    if model.adapters:
        flags |= {"enable-lora": [], "lora-modules": [f"{a.name}={a.source}" for a in model.adapters]}
    argv = [facts.vllm_command, "serve", facts.source_path, "--host", "127.0.0.1", "--port", "{port}"]
    argv += ["--served-model-name", model.name, *flag_words(flags)]
    env = _environment(model, {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"})
    gpus = (model.hardware or HardwareSpec()).count
    return EnginePlan(kind="vllm", reason=reason, notes=merged.notes, argv=tuple(argv), env=env, gpus=gpus)


def _simulated(model: ModelSpec, facts: EngineFacts, reason: str) -> EnginePlan:
    merged = simulated_flags(merged_flags(model, field_flags(model), owned=_OURS))
    notes = list(merged.notes)
    gpu = (model.hardware or HardwareSpec()).gpu
    source = facts.source_path if facts.is_model_folder and facts.source_path else model.source_or_name
    if not facts.is_model_folder and (known := find_model(source)).is_guess:
        notes.append(f"the model {source} is not known here: simulated as one of {known.params / 1e9:.1f} B parameters")
    argv = [facts.python, "-m", "penstock", "engine", "--model", model.name, "--source", source, "--gpu", gpu]
    served = [model.name, *(adapter.name for adapter in model.adapters)] if model.adapters else []
    argv += [word for name in served for word in ("--served-model-name", name)]
    argv += ["--task", model.task, "--host", "127.0.0.1", "--port", "{port}", "--speed", str(model.engine.speed)]
    argv += ["--ready-file", "{ready_file}", *flag_words(merged.flags)]
    return EnginePlan(
        kind="simulated", reason=reason, notes=tuple(notes), argv=tuple(argv), env=_environment(model, {})
    )
