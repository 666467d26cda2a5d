"""Names and labels of a fleet's objects. Pure.

Guarantees: every name is a DNS label of at most 40 characters, so that what controllers add to it still is one; two
models never share a name; a model's name does not change when others come and go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

__all__ = ["COMPONENTS", "component_labels", "dns_name", "fleet_labels", "model_names", "selector"]

_LENGTH_MAX = 40
"""A pod is named after its Deployment plus 17 characters, and its host name ends at 63."""
COMPONENTS = ("engine", "gateway", "controller", "models")
_TAKEN = (*COMPONENTS, "fleet", "env", "engines")
"""What the fleet's own objects are called after its name: no model's are."""


def dns_name(*parts: str) -> str:
    """The parts as one DNS label; where that loses something, a hash of the whole keeps it apart from others."""
    whole = "-".join(parts)
    name = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]", "-", whole.lower())).strip("-")
    if name == whole and len(name) <= _LENGTH_MAX:
        return name
    if len(name) <= _LENGTH_MAX and re.fullmatch(r"[A-Za-z0-9./_:-]+", whole) and name:
        return name
    digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
    return f"{name[: _LENGTH_MAX - 7].rstrip('-') or 'x'}-{digest}"


def model_names(fleet: str, models: list[str]) -> dict[str, str]:
    """Name of each model's objects, by the model's name.

    Where two models come to one name, as `a/b` and `a-b` do, all of them get a hash; so does one called `gateway`.
    """
    short = {model: dns_name(fleet, model.rsplit("/", 1)[-1]) for model in models}
    counts = dict.fromkeys((dns_name(fleet, taken) for taken in _TAKEN), 1)
    for name in short.values():
        counts[name] = counts.get(name, 0) + 1
    return {model: name if counts[name] == 1 else _hashed(name, model) for model, name in short.items()}


def _hashed(name: str, model: str) -> str:
    digest = hashlib.sha256(model.encode()).hexdigest()[:6]
    return f"{name[: _LENGTH_MAX - 7].rstrip('-')}-{digest}"


def selector(fleet: str, component: str, model: str | None = None) -> dict[str, str]:
    """Labels by which Services, budgets and policies find the pods of a component. Never changed once applied: a
    Deployment's selector is immutable. `model` is the name of the model's objects."""
    labels = {"penstock.dev/fleet": fleet, "app.kubernetes.io/component": component}
    return labels if model is None else {**labels, "penstock.dev/model": model}


def fleet_labels(fleet: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Labels of every object; by `penstock.dev/fleet` we know what is ours to prune."""
    return {
        **(extra or {}),
        "app.kubernetes.io/name": "penstock",
        "app.kubernetes.io/part-of": fleet,
        "app.kubernetes.io/managed-by": "penstock",
        "penstock.dev/fleet": fleet,
    }


def component_labels(
    fleet: str, component: str, model: str | None = None, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Labels of an object that belongs to one component, and of its pods."""
    return {**fleet_labels(fleet, extra), **selector(fleet, component, model)}
