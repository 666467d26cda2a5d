"""A bundle as plain YAML: one stream, or one file for each group of objects. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.plan.manifests.emit import emit_all
from penstock.plan.manifests.manifest import Bundle, Manifest

__all__ = ["HEADER", "plain_files", "stream"]

HEADER = "Rendered by penstock from a fleet file: change that and render again, or the next render undoes it."
"""Stands at the top of every file of ours; only files with it are ever overwritten or removed."""


def stream(manifests: Iterable[Manifest]) -> str:
    """All objects as one YAML stream, in the order in which they are applied."""
    return emit_all(manifests)


def plain_files(bundle: Bundle) -> dict[str, str]:
    """Text of each file by its path below the output folder."""
    groups: dict[str, list[Manifest]] = {}
    for manifest in bundle.manifests:
        groups.setdefault(f"{manifest.file}.yaml", []).append(manifest)
    return {path: f"# {HEADER}\n{emit_all(groups[path])}" for path in sorted(groups)}
