"""What differs between two fleet files, as the paths of fields. Pure.

Paths alone, never values: what changed may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock.spec.fleet import Fleet

__all__ = ["CHANGES_MAX", "changed_fields"]

CHANGES_MAX = 200
"""Paths that are told of one change; a person reads no more."""
_Path = tuple[str, ...]


def changed_fields(before: Fleet, after: Fleet) -> list[str]:
    """Paths of what was added, removed or changed, as in `spec.models[chat].replicas`, sorted; elements of lists go by
    their name where they have one. At most `CHANGES_MAX`."""
    old, new = (fleet.model_dump(by_alias=True, exclude_unset=True) for fleet in (before, after))
    return sorted("".join(path).removeprefix(".") for path in _differences((), old, new))[:CHANGES_MAX]


def _differences(at: _Path, old: Any, new: Any) -> Iterator[_Path]:
    if old == new:
        return
    olds, news = _parts(old), _parts(new)
    if olds is None or news is None or isinstance(old, Mapping) is not isinstance(new, Mapping):
        yield at
        return
    for name in olds.keys() | news.keys():
        if name in olds and name in news:
            yield from _differences((*at, name), olds[name], news[name])
        else:
            yield (*at, name)


def _parts(value: Any) -> dict[str, Any] | None:
    """The parts of a mapping or a list by the step that leads to them; None where it has none."""
    if isinstance(value, Mapping):
        return {f".{name}": part for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        names = [part.get("name") if isinstance(part, Mapping) else None for part in value]
        if None in names or len(set(names)) < len(names):
            names = list(range(len(value)))
        return {f"[{name}]": part for name, part in zip(names, value, strict=True)}
    return None
