"""Whether each rule of the gateway can ever hold, beside the rules before it. Pure.

The first rule that matches holds, so one that asks for no less than an earlier rule asks is never reached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from penstock.spec.base import FieldPath, Finding
from penstock.spec.quota import CLASS_ORDER
from penstock.spec.traffic import MatchSpec, RuleSpec

__all__ = ["rule_findings"]


def rule_findings(rules: Sequence[RuleSpec]) -> Iterator[Finding]:
    """Rules that never hold or say what changes nothing. Paths are relative to the gateway."""
    names: dict[str, int] = {}
    for place, rule in enumerate(rules):
        at: FieldPath = ("rules", place)
        if names.setdefault(rule.name, place) != place:
            message = f"{rule.name!r} already names rules[{names[rule.name]}]: logs could not tell the two apart"
            yield Finding(at=(*at, "name"), message=message, hint="give each rule a name of its own")
        yield from _never_reached(rules, place)
        yield from _repeated_targets(rule, at)
        yield from _class_upward(rule, at)


def _never_reached(rules: Sequence[RuleSpec], place: int) -> Iterator[Finding]:
    match = rules[place].match
    for before, earlier in enumerate(rules[:place]):
        if not _covers(earlier.match, match):
            continue
        whom = f"{earlier.name!r} (rules[{before}])"
        if _covers(match, earlier.match):
            message = f"matches the same requests as {whom} before it, so it never holds"
            hint = "keep one of the two, or make them differ"
        else:
            message = f"matches only requests that {whom} before it takes, so it never holds"
            hint = "put the narrower rule first"
        yield Finding(at=("rules", place), message=message, hint=hint)
        return


def _covers(wide: MatchSpec, narrow: MatchSpec) -> bool:
    """Whether every request that fits `narrow` fits `wide`."""
    return (
        _has_all(wide.models, narrow.models)
        and _has_all(wide.tenants, narrow.tenants)
        and _has_all(wide.classes, narrow.classes, whole=len(CLASS_ORDER))
        and wide.headers.items() <= narrow.headers.items()
        and (wide.prompt_tokens_min or 0) <= (narrow.prompt_tokens_min or 0)
        and _at_most(narrow.prompt_tokens_max, wide.prompt_tokens_max)
        and wide.has_tools in (None, narrow.has_tools)
        and wide.response_format in (None, narrow.response_format)
    )


def _has_all(wide: Collection[str], narrow: Collection[str], whole: int = 0) -> bool:
    """An empty list means any; so does one of `whole` entries, where that is all there are."""
    if not wide or len(set(wide)) == whole:
        return True
    return bool(narrow) and set(narrow) <= set(wide)


def _at_most(value: int | None, bound: int | None) -> bool:
    return bound is None or (value is not None and value <= bound)


def _repeated_targets(rule: RuleSpec, at: FieldPath) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, target in enumerate(rule.to):
        if target.model in seen:
            message = f"{target.model!r} is listed twice"
            hint = "keep one of the two, with the sum of their weights"
            yield Finding(at=(*at, "to", place, "model"), message=message, hint=hint)
        seen.add(target.model)


def _class_upward(rule: RuleSpec, at: FieldPath) -> Iterator[Finding]:
    if rule.set_class is None:
        return
    rank = CLASS_ORDER.index(rule.set_class)
    if all(CLASS_ORDER.index(own) >= rank for own in rule.match.classes or CLASS_ORDER):
        own = " and ".join(sorted(set(rule.match.classes), key=CLASS_ORDER.index)) or "every request's"
        message = f"is {rule.set_class}, which is not lower than {own}: a rule can only lower a class"
        hint = "take it out; the class of a tenant or of a key stands at the tenant or at the key"
        yield Finding(at=(*at, "setClass"), message=message, hint=hint)
