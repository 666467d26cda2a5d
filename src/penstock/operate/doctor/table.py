"""Every rule, in the order of its code, and the rows of the field guides that each answers. Pure."""

from __future__ import annotations

from penstock.errors import UsageError
from penstock.operate.doctor.findings import Rule
from penstock.operate.doctor.rules import (
    claims,
    cluster,
    commands,
    flags,
    fleet,
    live,
    logs,
    memory,
    metrics,
    metrics_api,
    network,
    placement,
    probes,
    rollout,
    scaling,
    storage,
    waiting,
)
from penstock.spec.nearest import nearest

__all__ = ["ROWS", "RULES", "chosen", "find_rule"]

_MODULES = (
    claims,
    cluster,
    commands,
    flags,
    fleet,
    live,
    logs,
    memory,
    metrics,
    metrics_api,
    network,
    placement,
    probes,
    rollout,
    scaling,
    storage,
    waiting,
)
RULES: tuple[Rule, ...] = tuple(sorted((rule for module in _MODULES for rule in module.RULES), key=lambda r: r.id))
"""All rules."""

ROWS: dict[int, tuple[str, ...]] = {row: tuple(rule.id for rule in RULES if row in rule.rows) for row in range(1, 54)}
"""Rows of the field guides, each with the rules that see its mistake."""

_BY_NAME = {name.lower(): rule for rule in RULES for name in (rule.id, rule.code, rule.id.partition("-")[2])}


def find_rule(name: str) -> Rule:
    """The rule of this id, code or name; `UsageError` with the nearest ones where there is none."""
    rule = _BY_NAME.get(name.strip().lower())
    if rule is None:
        near = nearest(name, [r.id for r in RULES], 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`penstock doctor --list` shows them all"
        raise UsageError(f"there is no rule {name!r}", hint=hint)
    return rule


def chosen(select: tuple[str, ...], ignore: tuple[str, ...]) -> tuple[Rule, ...]:
    """The rules that `select` names (all, where it names none) without those of `ignore`; a bare `PS2` is a group.

    Raises:
        UsageError: a name that no rule has.
    """
    wanted = {rule.id for name in select for rule in _group(name)} if select else {rule.id for rule in RULES}
    unwanted = {rule.id for name in ignore for rule in _group(name)}
    return tuple(rule for rule in RULES if rule.id in wanted - unwanted)


def _group(name: str) -> tuple[Rule, ...]:
    bare = name.strip().upper()
    if bare.startswith("PS") and bare[2:].isdigit() and len(bare) < 5:
        found = tuple(rule for rule in RULES if rule.code.startswith(bare))
        if found:
            return found
    return (find_rule(name),)
