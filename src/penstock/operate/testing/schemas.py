"""The shape of kinds: which fields a struct has, which lists are maps by key, sets or atomic.

Built-in kinds take their shapes from the API server's own OpenAPI, as package `kubernetes-validate` carries it. The
package is a tool of development, so it may be absent: then only what server-side apply cannot do without is known (the
keys of lists, from the table below), and unknown fields are not noticed. Guarantees: a `Shape` is read-only.
"""

from __future__ import annotations

import importlib
from functools import cache, cached_property
from typing import Any

__all__ = ["ANY", "CUSTOM", "KUBERNETES", "Shape", "built_in_definitions", "built_in_shape", "definition_names"]

KUBERNETES = "1.36"
"""The version that the fake is."""
_REF = "#/$defs/"
_KEY_DEFAULTS = {"protocol": "TCP"}
"""Keys of lists that have a default in the API's schema, so that an item without it has a key all the same."""

CUSTOM = "x-custom"
"""Mark among the definitions of a custom resource's schema."""
_LISTS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "resourceClaims": ("name",),
    "secrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""Lists of the workload kinds that are maps, where no schema is at hand. `ports` depends on what is around it."""
_ATOMIC = {
    "selector",
    "labelSelector",
    "podSelector",
    "namespaceSelector",
    "secretKeyRef",
    "configMapKeyRef",
    "fieldRef",
}


class Shape:
    """What is known of one place in an object: an OpenAPI schema, or nothing (`ANY`)."""

    def __init__(self, raw: dict[str, Any], definitions: dict[str, Any], *, around: str = "", is_guess: bool = False):
        reference = str(raw.get("$ref", ""))
        self.raw: dict[str, Any] = definitions[reference.removeprefix(_REF)] | raw if reference else raw
        self.reference = reference.removeprefix(_REF)
        self.definitions = definitions
        self._around = around
        self._is_guess = is_guess
        self._children: dict[str, Shape | None] = {}

    @property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = self.raw.get("properties") or {}
        return found

    @property
    def is_struct(self) -> bool:
        return bool(self.properties)

    @cached_property
    def is_known(self) -> bool:
        """Whether the fields below are known, so that another one is unknown."""
        is_closed = self.is_struct or (self.is_custom and self.raw.get("type") == "object" and not self.is_free_map)
        return is_closed and not self.preserves_unknown

    @property
    def is_custom(self) -> bool:
        """Whether this is part of a definition's schema, in which an object without fields has none."""
        return CUSTOM in self.definitions and not self.reference

    @property
    def preserves_unknown(self) -> bool:
        return bool(self.raw.get("x-kubernetes-preserve-unknown-fields"))

    @property
    def is_embedded(self) -> bool:
        return bool(self.raw.get("x-kubernetes-embedded-resource"))

    @property
    def is_free_map(self) -> bool:
        return isinstance(self.raw.get("additionalProperties"), dict)

    @property
    def is_atomic_map(self) -> bool:
        if self._is_guess:
            return self._around.rsplit(".", 1)[-1] in _ATOMIC
        return self.raw.get("x-kubernetes-map-type") == "atomic"

    def child(self, name: str) -> Shape | None:
        """The shape of field `name`; None where the schema knows no such field."""
        if name not in self._children:
            self._children[name] = self._find(name)
        return self._children[name]

    def _find(self, name: str) -> Shape | None:
        if self._is_guess:
            return Shape({}, {}, around=f"{self._around}.{name}", is_guess=True)
        if name in self.properties:
            return Shape(self.properties[name], self.definitions)
        if self.is_free_map:
            return Shape(self.raw["additionalProperties"], self.definitions)
        return None

    def has_field(self, name: str) -> bool:
        """Whether `name` is a field of a struct, not a key of a map."""
        is_guessed = self._around in ("", ".metadata") or name in ("metadata", "spec", "template")
        return name in self.properties or (self._is_guess and is_guessed)

    @cached_property
    def item(self) -> Shape:
        if self._is_guess:
            return Shape({}, {}, around=self._around, is_guess=True)
        items = self.raw.get("items")
        return Shape(items, self.definitions) if isinstance(items, dict) else ANY

    @cached_property
    def list_type(self) -> str:
        """`map`, `set` or `atomic`."""
        if self._is_guess:
            return "set" if self._around.endswith(".finalizers") else "map" if self.list_keys else "atomic"
        return str(self.raw.get("x-kubernetes-list-type", "atomic"))

    @cached_property
    def list_keys(self) -> tuple[str, ...]:
        if self._is_guess:
            name = self._around.rsplit(".", 1)[-1]
            if name == "ports":
                return ("containerPort", "protocol") if "ontainers" in self._around else ("port", "protocol")
            return _LISTS.get(name, ())
        return tuple(self.raw.get("x-kubernetes-list-map-keys") or ())

    def key_default(self, name: str) -> Any:
        """What an item that lacks key `name` has for it; None where there is no default."""
        known = self.item.properties.get(name, {})
        return known.get("default", None if self.is_custom else _KEY_DEFAULTS.get(name))

    @property
    def types(self) -> tuple[str, ...]:
        found = self.raw.get("type", ())
        return (found,) if isinstance(found, str) else tuple(found)


ANY = Shape({}, {})
"""Nothing is known: maps are merged by key, lists are atomic."""


@cache
def built_in_definitions() -> dict[str, Any]:
    """The definitions of the real server's OpenAPI by name; empty where `kubernetes-validate` is not installed."""
    try:
        package: Any = importlib.import_module("kubernetes_validate.utils")
    except ImportError:
        return {}
    contents = package.schema_contents(f"kubernetes-json-schema/v{KUBERNETES}.0-local/_definitions.json", KUBERNETES)
    found: dict[str, Any] = contents["$defs"]
    return found


@cache
def definition_names() -> dict[tuple[str, str, str], str]:
    """Definition of each group, version and kind."""
    return {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, definition in built_in_definitions().items()
        for gvk in definition.get("x-kubernetes-group-version-kind", ())
        if len(definition["x-kubernetes-group-version-kind"]) == 1
    }


@cache
def built_in_shape(group: str, version: str, kind: str) -> Shape:
    """The shape of a built-in kind; a guess by field names where its schema is not at hand."""
    name = definition_names().get((group, version, kind))
    if name is None:
        return Shape({}, {}, is_guess=True)
    return Shape({"$ref": _REF + name}, built_in_definitions())
