"""Answers in a given form: JSON that fits a schema, one of several choices, a tool call.

Guarantees: the same schema, context and seed give the same text; the text is JSON and fits the schema, as far as
these words go: type, properties, required, items, prefixItems, minItems, maxItems, enum, const, anyOf, oneOf, allOf,
$ref inside the schema, minLength, maxLength, pattern, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf,
format. Others, as `not`, `if` and `patternProperties`, are not looked at. A schema that needs itself without end
is a `ValueError`.

The text is decided whole, at the start. So a structured answer that is continued elsewhere from its middle is not
continued there: give the engine the rest as forced tokens, or start over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.simulate.engine.generation import context_hash, mix
from penstock.simulate.engine.pattern import pattern_text
from penstock.simulate.engine.text import tokenizer
from penstock.simulate.engine.vocabulary import WORDS

__all__ = ["Draws", "choice_text", "encode_forced", "json_text", "regex_text", "tool_call"]

_DEPTH_OPTIONAL_MAX = 4
"""Nesting past which optional properties and items are left out."""
_DEPTH_MAX = 32
"""Nesting past which a schema is taken to have no end."""
_FORMATS = {
    "date": "2025-0{a}-1{b}",
    "time": "1{a}:2{b}:0{a}Z",
    "date-time": "2025-0{a}-1{b}T1{b}:2{a}:00Z",
    "email": "reader{b}@example.org",
    "uri": "https://example.org/{word}/{b}",
    "url": "https://example.org/{word}/{b}",
    "hostname": "{word}{b}.example.org",
    "ipv4": "192.0.2.{a}{b}",
    "ipv6": "2001:db8::{a}{b}",
    "uuid": "00000000-0000-4000-8000-00000000{a}{b}{a}{b}",
    "duration": "PT{a}M",
}


class Draws:
    """A stream of numbers that depends on a context and a seed only. Owned by one answer."""

    def __init__(self, prompt_ids: Sequence[int], seed: int = 0) -> None:
        self._state = mix(context_hash(prompt_ids) + (seed << 32) + 1)

    def below(self, bound: int) -> int:
        """The next number, from 0 to `bound` - 1."""
        self._state = mix(self._state + 0x9E3779B97F4A7C15)
        return (self._state >> 16) % bound

    def word(self) -> str:
        """The next word."""
        nouns = WORDS["noun"]
        return nouns[self.below(len(nouns))]


def encode_forced(text: str) -> tuple[int, ...]:
    """Token ids for `EngineRequest.forced_ids`."""
    return tuple(tokenizer().encode(text))


def choice_text(choices: Sequence[str], draws: Draws) -> str:
    """One of the choices."""
    return choices[draws.below(len(choices))]


def regex_text(regex: str, draws: Draws) -> str:
    """Text that a regular expression matches whole; `ValueError` where none is found."""
    return pattern_text(regex, draws.below, is_whole=True)


def json_text(schema: Mapping[str, Any] | bool | None, draws: Draws) -> str:
    """JSON that fits a schema; a small object where there is none (`json_object`)."""
    if schema is None or isinstance(schema, bool):
        schema = {"type": "object", "properties": {draws.word(): {"type": "string"}}, "minProperties": 1}
    return json.dumps(_Writer(schema, draws).value(schema, 0), ensure_ascii=False)


def tool_call(tools: Sequence[Mapping[str, Any]], name: str | None, draws: Draws) -> tuple[str, str]:
    """Name and JSON arguments of a call of the named tool, or of the first. `tools` as the chat API has them."""
    functions = [tool.get("function", tool) for tool in tools]
    chosen = next((f for f in functions if f.get("name") == name), functions[0])
    schema = chosen.get("parameters") or {"type": "object", "properties": {}}
    return str(chosen["name"]), json_text(schema, draws)


class _Writer:
    """Values for the schemas below one root."""

    def __init__(self, root: Mapping[str, Any], draws: Draws) -> None:
        self._root = root
        self._draws = draws

    def value(self, schema: Any, depth: int) -> Any:
        if depth > _DEPTH_MAX:
            raise ValueError("the JSON schema needs itself without end")
        schema = self._resolve(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._draws.below(len(schema["enum"]))]
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                rest = {k: v for k, v in schema.items() if k != key}
                return self.value(_merged(rest, self._resolve(self._simplest(schema[key], depth), depth)), depth + 1)
        return self._typed(schema, depth)

    def _simplest(self, schemas: Sequence[Any], depth: int) -> Any:
        """The first alternative; deep down, the first that ends."""
        if depth > _DEPTH_OPTIONAL_MAX:
            for schema in schemas:
                resolved = self._resolve(schema, depth)
                kind = resolved.get("type")
                if "const" in resolved or "enum" in resolved or kind not in ("object", "array", None):
                    return schema
        return schemas[0]

    def _resolve(self, schema: Any, depth: int) -> Mapping[str, Any]:
        """The schema itself: references followed, `allOf` merged."""
        for _ in range(_DEPTH_MAX):
            if not isinstance(schema, Mapping):
                return {"type": "string"}
            if "$ref" in schema:
                rest = {k: v for k, v in schema.items() if k != "$ref"}
                schema = _merged(self._target(str(schema["$ref"])), rest)
            elif schema.get("allOf"):
                merged: Mapping[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
                for part in schema["allOf"]:
                    merged = _merged(merged, part if isinstance(part, Mapping) else {})
                schema = merged
            else:
                return schema
        raise ValueError("the JSON schema refers to itself without end")

    def _target(self, reference: str) -> Mapping[str, Any]:
        target: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or name not in target:
                raise ValueError(f"the JSON schema refers to {reference!r}, which it does not hold")
            target = target[name]
        return target if isinstance(target, Mapping) else {}

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((k for k in kind if k != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return self._number(schema, is_integer=True)
            case "number":
                return self._number(schema, is_integer=False)
            case "boolean":
                return bool(self._draws.below(2))
            case "null":
                return None
        return self._string(schema)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = set(schema.get("required") or ())
        least = int(schema.get("minProperties", 0))
        made: dict[str, Any] = {}
        for name, part in properties.items():
            is_wanted = depth <= _DEPTH_OPTIONAL_MAX and self._draws.below(4) > 0
            if name in required or is_wanted or len(made) < least:
                made[name] = self.value(part, depth + 1)
        more = schema.get("additionalProperties", True)
        for name in [n for n in sorted(required) if n not in made]:
            made[name] = self.value(more if isinstance(more, Mapping) else {"type": "string"}, depth + 1)
        for number in range(max(0, least - len(made))):
            made[f"{self._draws.word()}{number}"] = self.value(
                more if isinstance(more, Mapping) else {"type": "string"}, depth + 1
            )
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = list(schema.get("prefixItems") or ())
        least = int(schema.get("minItems", 0 if depth > _DEPTH_OPTIONAL_MAX else min(1, schema.get("maxItems", 1))))
        most = int(schema.get("maxItems", max(least, 3)))
        count = (
            least
            if depth > _DEPTH_OPTIONAL_MAX
            else least + self._draws.below(max(1, min(most, least + 3) - least + 1))
        )
        if schema.get("items") is False:
            count = min(count, len(first))
        items = schema.get("items", {"type": "string"})
        return [self.value(first[i] if i < len(first) else items, depth + 1) for i in range(count)]

    def _number(self, schema: Mapping[str, Any], *, is_integer: bool) -> int | float:
        step = schema.get("multipleOf") or (1 if is_integer else 0.25)
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = 0 if high is None or high >= 0 else high - 100 * step
        first = -(-low // step)
        if first * step <= schema.get("exclusiveMinimum", first * step - 1):
            first += 1
        last = first + 100 if high is None else high // step
        if last * step >= schema.get("exclusiveMaximum", last * step + 1):
            last -= 1
        value = (first + self._draws.below(max(1, int(min(last, first + 100) - first) + 1))) * step
        if last < first:  # no multiple fits: the middle of the range
            value = (low + high) / 2
        return int(value) if is_integer else float(value)

    def _string(self, schema: Mapping[str, Any]) -> str:
        draws = self._draws
        if isinstance(schema.get("pattern"), str):
            return pattern_text(schema["pattern"], draws.below, is_whole=False)
        form = _FORMATS.get(str(schema.get("format")))
        if form is not None:
            return form.format(a=1 + draws.below(8), b=1 + draws.below(8), word=draws.word())
        text = " ".join(draws.word() for _ in range(1 + draws.below(3)))
        while len(text) < int(schema.get("minLength", 0)):
            text += " " + draws.word()
        return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas at once: properties and required add up, other words of `other` win."""
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return merged
