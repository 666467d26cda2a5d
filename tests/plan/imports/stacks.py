"""Values files of the production stack for tests: the least, with parts put in."""

from __future__ import annotations

from typing import Any

from penstock.plan.imports import Imported, import_values
from penstock.plan.manifests import plain
from penstock.spec import Fleet
from penstock.spec.loader import load_fleet

LEAST = {"name": "chat", "repository": "vllm/vllm-openai", "tag": "v0.32.0", "modelURL": "Qwen/Qwen3-8B"}


def read(model: dict[str, Any] | None = None, *, is_fixing: bool = False, **top: Any) -> Imported:
    """A values file of one model, with further fields of the model and of the file."""
    engines = {"modelSpec": [{**LEAST, **(model or {})}], **top.pop("engines", {})}
    return import_values({"servingEngineSpec": engines, **top}, name="stack", is_fixing=is_fixing)


def model_in(imported: Imported) -> dict[str, Any]:
    """The first model of the fleet, without reasons."""
    found: dict[str, Any] = plain(imported.body)["spec"]["models"][0]
    return found


def outcome(imported: Imported, end: str) -> list[str]:
    """What became of the value whose path ends so."""
    return [note.outcome for note in imported.notes if note.path.endswith(end)]


def loaded(imported: Imported) -> Fleet:
    """The fleet, as the loader reads it."""
    return load_fleet(imported.text, "imported.yaml")
