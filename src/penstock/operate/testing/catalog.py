"""Everything that is served, and the shape of each kind: built-in ones and those that definitions add.

One owner: `Cluster`, which tells it of every CustomResourceDefinition. Guarantees: what is found here is what discovery
shows. Leaves to others: what decoding, defaulting and validation do (`decoding.py`, `defaults.py`, `structural.py`).
"""

from __future__ import annotations

import json
from typing import Any

from penstock.operate.testing.crds import Custom, customs_of
from penstock.operate.testing.decoding import decode, missing_fields, unknown_fields
from penstock.operate.testing.defaults import with_defaults
from penstock.operate.testing.kinds import BUILT_IN, REVIEWS, Resource
from penstock.operate.testing.merge import duplicate_keys
from penstock.operate.testing.requests import Options
from penstock.operate.testing.schemas import Shape, built_in_shape
from penstock.operate.testing.status import Cause, Refusal, bad_request
from penstock.operate.testing.structural import structural_causes, with_structural_defaults, without_unknown

__all__ = ["Catalog"]


class Catalog:
    """The served resources. Owned by one `Cluster`."""

    def __init__(self) -> None:
        self._built_in = {(r.group, r.version, r.plural): r for r in (*BUILT_IN, *REVIEWS)}
        self._customs: dict[tuple[str, str, str], Custom] = {}

    @property
    def resources(self) -> list[Resource]:
        return [*self._built_in.values(), *(custom.resource for custom in self._customs.values())]

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        key = (group, version, plural)
        if key in self._customs:
            return self._customs[key].resource
        return self._built_in.get(key)

    def built_in(self, plural: str, group: str = "") -> Resource:
        """A built-in resource by its name, which is known to be there."""
        return next(r for r in self._built_in.values() if (r.group, r.plural) == (group, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        return next((r for r in self.resources if (r.api_version, r.kind) == (api_version, kind)), None)

    def of_group(self, group: str, plural: str) -> Resource | None:
        """Any version of a resource."""
        return next((r for r in self.resources if (r.group, r.plural) == (group, plural)), None)

    def custom(self, resource: Resource) -> Custom | None:
        return self._customs.get((resource.group, resource.version, resource.plural)) if resource.crd else None

    def define(self, crd: dict[str, Any]) -> None:
        """Serves what a CustomResourceDefinition defines, in place of what it defined before."""
        self.undefine(crd["metadata"]["name"])
        for custom in customs_of(crd):
            r = custom.resource
            self._customs[(r.group, r.version, r.plural)] = custom

    def undefine(self, name: str) -> None:
        self._customs = {key: custom for key, custom in self._customs.items() if custom.resource.crd != name}

    def shape(self, resource: Resource) -> Shape:
        custom = self.custom(resource)
        if custom is not None:
            return custom.shape
        return built_in_shape(resource.group, resource.version, resource.kind)

    def decoded(
        self, resource: Resource, obj: dict[str, Any], options: Options, warnings: list[str], *, patch: Any = None
    ) -> dict[str, Any]:
        """`obj` without fields that the kind does not have; what they were is refused or warned of, as asked."""
        shape = self.shape(resource)
        found = unknown_fields(obj, shape)
        if found:
            words = [f'unknown field "{path}"' for path in found]
            if options.validation == "Strict":
                raise self._strict(resource, words, patch=patch)
            if options.validation != "Ignore":
                warnings.extend(words)
        custom = self.custom(resource)
        if custom is not None:
            return without_unknown(obj, custom.shape)
        return decode(obj, shape, resource)

    def _strict(self, resource: Resource, words: list[str], *, patch: Any) -> Refusal:
        said = "strict decoding error: " + ", ".join(words)
        if patch is not None:
            shown = json.dumps(json.dumps(patch, separators=(",", ":")))
            cause = {"reason": "FieldValueInvalid", "message": f"Invalid value: {shown}: {said}", "field": "patch"}
            message = f' "" is invalid: patch: {cause["message"]}'
            return Refusal(422, "Invalid", message, {"causes": [cause]})
        kind = resource.kind
        return bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {said}')

    def defaulted(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        """`obj` as it is stored: defaults filled in, values in their canonical form."""
        custom = self.custom(resource)
        if custom is not None:
            return with_structural_defaults(obj, custom.shape)
        return with_defaults(resource, decode(obj, self.shape(resource), resource))

    def causes(self, resource: Resource, obj: dict[str, Any], live: dict[str, Any] | None) -> list[Cause]:
        """What the kind's schema finds wrong."""
        custom = self.custom(resource)
        if custom is None:
            return list(missing_fields(obj, self.shape(resource)))
        return structural_causes(obj, live, custom.shape)

    def refuse_undeclared(self, resource: Resource, body: Any, namespace: str) -> None:
        """Refuses an applied object with a field that the kind does not have, whatever validation was asked for."""
        found = unknown_fields(body, self.shape(resource)) if isinstance(body, dict) else []
        if found:
            name = (body.get("metadata") or {}).get("name", "")
            said = [f".{path}: field not declared in schema" for path in found]
            words = said[0] if len(said) == 1 else "errors:\n" + "".join(f"  {each}\n" for each in said)
            where = f"({namespace}/{name}; {resource.api_version}, Kind={resource.kind})"
            raise Refusal(500, "", f"failed to create typed patch object {where}: {words}")

    def merge_problems(self, resource: Resource, obj: dict[str, Any]) -> None:
        """Refuses an applied object whose lists have an item twice."""
        for path, element in duplicate_keys(obj, self.shape(resource)):
            shown = element[2:].replace("{", "").replace("}", "").replace('":', '"=')
            words = f"failed to create typed patch object ({obj['metadata'].get('namespace', '')}/"
            words += f"{obj['metadata'].get('name', '')}; {resource.api_version}, Kind={resource.kind}): "
            words += (
                f"errors:\n  {path}: duplicate entries for key [{shown.replace(chr(34) + '=', '=').lstrip(chr(34))}]\n"
            )
            raise Refusal(500, "", words)

    def presented(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        """`obj` in the version of `resource` (the conversion strategy None: only the version's name changes)."""
        if obj.get("apiVersion") == resource.api_version:
            return obj
        return obj | {"apiVersion": resource.api_version}
