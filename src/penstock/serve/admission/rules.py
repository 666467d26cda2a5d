"""Which model answers a request, where that is not the one asked for: the fleet file's rules, compiled.

The first rule that matches holds. Guarantees: the same request draws the same target for ever (by its session where it
has one, else by its id), targets get their weights' share, a class is only ever lowered, and a caller is never sent to
a model that it may not call: such targets are left out of the draw, and a rule that has no other does not match.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Literal

from penstock.spec import RuleSpec, TrafficClass

__all__ = ["Asked", "CompiledRule", "Routed", "RuleBook", "compile_rules", "wants_json"]

_RANKS: dict[TrafficClass, int] = {"interactive": 0, "batch": 1, "experimental": 2}
_DRAWS = 1 << 64


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request as rules see it."""

    name: str
    """Model that the client named: a name, an alias or an adapter."""
    model: str
    """Main name of that model; empty where there is none."""
    headers: Mapping[bytes, bytes]
    """Those of `RuleBook.headers_wanted` that it has, by lower-case name."""
    tenant: str
    traffic_class: TrafficClass
    models: frozenset[str] | None = None
    """Main names of the models that the caller may call; None for all."""
    prompt_tokens: int = -1
    """Estimated; -1 where nobody asked (`RuleBook.reads_prompt`)."""
    has_tools: bool = False
    has_json: bool = False
    """Whether the answer must be JSON: `wants_json`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """One rule. Empty or None: whatever it is, it matches."""

    name: str
    names: frozenset[str] = frozenset()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    tenants: frozenset[str] = frozenset()
    classes: frozenset[TrafficClass] = frozenset()
    prompt_tokens_min: int = 0
    prompt_tokens_max: int | None = None
    has_tools: bool | None = None
    has_json: bool | None = None
    targets: tuple[tuple[str, float], ...] = ()
    """(main name, weight); none: the model that was asked for."""
    set_class: TrafficClass | None = None
    shadow: str = ""
    shadow_share: float = 0.0
    """0 to 1."""

    def matches(self, asked: Asked) -> bool:
        """Whether this rule is for that request."""
        if self.names and asked.name not in self.names:
            return False
        for name, value in self.headers:
            if asked.headers.get(name) != value:
                return False
        if self.tenants and asked.tenant not in self.tenants:
            return False
        if self.classes and asked.traffic_class not in self.classes:
            return False
        if self.has_tools is not None and self.has_tools != asked.has_tools:
            return False
        if self.has_json is not None and self.has_json != asked.has_json:
            return False
        tokens = asked.prompt_tokens
        if tokens < self.prompt_tokens_min and self.prompt_tokens_min:
            return False
        return self.prompt_tokens_max is None or 0 <= tokens <= self.prompt_tokens_max


@dataclass(slots=True, kw_only=True)
class Routed:
    """What the rules made of a request."""

    model: str
    """Main name of the model that answers."""
    traffic_class: TrafficClass
    rule: str = ""
    """Name of the rule that held; empty for none."""
    shadow: str = ""
    """Model that gets a copy; empty for none."""


class RuleBook:
    """All rules of a fleet. Changes nothing; one for each configuration."""

    __slots__ = ("headers_wanted", "reads_prompt", "rules")

    def __init__(self, rules: Sequence[CompiledRule] = (), headers: Iterable[str] = ()) -> None:
        """`headers`: names that others look at, to be kept too (the model's header, the session's)."""
        self.rules = tuple(rules)
        self.headers_wanted: frozenset[bytes] = frozenset(
            [name for rule in rules for name, _ in rule.headers] + [name.lower().encode() for name in headers]
        )
        """Lower-case names of the request headers whose values must be kept."""
        self.reads_prompt: bool = any(r.prompt_tokens_min or r.prompt_tokens_max is not None for r in rules)
        """Whether a rule asks for the prompt's length, so that it must be estimated before."""

    def route(self, asked: Asked, request_id: str, session: str = "") -> Routed:
        """Where a request goes. Draws are by `session` where there is one, so that a conversation stays together, else
        by `request_id`; never by key or tenant, or one of them would get a single target."""
        for rule in self.rules:
            if rule.matches(asked):
                model = _drawn(rule, asked, session or request_id)
                if model is None:
                    continue
                shadow = rule.shadow
                if shadow and (shadow == model or _share(rule.name + "\0shadow", request_id) >= rule.shadow_share):
                    shadow = ""
                return Routed(
                    model=model,
                    traffic_class=_lowered(asked.traffic_class, rule.set_class),
                    rule=rule.name,
                    shadow=shadow,
                )
        return Routed(model=asked.model, traffic_class=asked.traffic_class)


def _drawn(rule: CompiledRule, asked: Asked, key: str) -> str | None:
    """The target of a request: None where the rule has none that it may have."""
    if not rule.targets:
        return asked.model or None
    allowed = asked.models
    targets = rule.targets if allowed is None else [t for t in rule.targets if t[0] in allowed]
    if len(targets) < 2:
        return targets[0][0] if targets else None
    sums = list(accumulate(weight for _, weight in targets))
    point = _share(rule.name, key) * sums[-1]
    return next((name for (name, _), most in zip(targets, sums, strict=True) if point < most), targets[-1][0])


def _share(salt: str, key: str) -> float:
    """A number from 0 to below 1 that is the same for the same words in every gateway, and evenly spread."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, person=b"penstock", salt=_salt(salt)).digest()
    return int.from_bytes(digest, "big") / _DRAWS


def _salt(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def _lowered(own: TrafficClass, to: TrafficClass | None) -> TrafficClass:
    return to if to is not None and _RANKS[to] > _RANKS[own] else own


def wants_json(fields: Mapping[str, Any]) -> bool:
    """Whether a body says that the answer must be JSON, in any API's words."""
    for holder in (fields.get("response_format"), (fields.get("text") or fields.get("output_config"))):
        if type(holder) is dict:
            inner = holder.get("format")
            kind = (inner if type(inner) is dict else holder).get("type")
            if kind in ("json_object", "json_schema"):
                return True
    outputs = fields.get("structured_outputs")
    return type(outputs) is dict and (outputs.get("json") is not None or outputs.get("json_object") is True)


def compile_rules(specs: Sequence[RuleSpec], main_names: Mapping[str, str]) -> tuple[CompiledRule, ...]:
    """The rules of a fleet file that was checked; `main_names` maps every name that a client may send to the main name
    of its model."""
    return tuple(_compiled(spec, main_names) for spec in specs)


def _compiled(spec: RuleSpec, main_names: Mapping[str, str]) -> CompiledRule:
    match, formats = spec.match, {"json": True, "text": False}
    wanted: Literal["text", "json"] | None = match.response_format
    return CompiledRule(
        name=spec.name,
        names=frozenset(match.models),
        headers=tuple(sorted((name.lower().encode(), value.encode()) for name, value in match.headers.items())),
        tenants=frozenset(match.tenants),
        classes=frozenset(match.classes),
        prompt_tokens_min=match.prompt_tokens_min or 0,
        prompt_tokens_max=match.prompt_tokens_max,
        has_tools=match.has_tools,
        has_json=formats[wanted] if wanted is not None else None,
        targets=tuple((main_names.get(target.model, target.model), target.weight) for target in spec.to),
        set_class=spec.set_class,
        shadow=main_names.get(spec.shadow.model, spec.shadow.model) if spec.shadow is not None else "",
        shadow_share=spec.shadow.percent / 100.0 if spec.shadow is not None else 0.0,
    )
