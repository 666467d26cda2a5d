"""Label and field selectors: parsing as the API's query parameters have them, and matching.

Guarantees: what cannot be parsed is a 400 with the real server's words. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.operate.testing.status import Refusal, bad_request

__all__ = ["Requirement", "field_matches", "label_selector_matches", "labels_match", "parse_fields", "parse_labels"]


class Requirement(NamedTuple):
    """One condition on a label or a field."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case _:
                return value is None


_SET = re.compile(r"(?P<key>[^\s,=!()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\Z")
_EQUAL = re.compile(r"(?P<key>[^\s,=!()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s,=!()]*)\Z")
_EXISTS = re.compile(r"(?P<no>!?)\s*(?P<key>[^\s,=!()]+)\Z")


def _parts(text: str) -> list[str]:
    """Split at commas outside brackets."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """A label selector: `app=a,tier in (x,y),!canary`."""
    found: list[Requirement] = []
    for part in _parts(text):
        if match := _SET.match(part):
            values = tuple(value.strip() for value in match["values"].split(","))
            found.append(Requirement(match["key"], match["op"], values))
        elif match := _EQUAL.match(part):
            found.append(Requirement(match["key"], "notin" if match["op"] == "!=" else "in", (match["value"],)))
        elif match := _EXISTS.match(part):
            found.append(Requirement(match["key"], "absent" if match["no"] else "exists"))
        else:
            raise bad_request(f"unable to parse requirement: found '{part}', expected: identifier")
    return tuple(found)


def labels_match(selector: tuple[Requirement, ...], labels: Mapping[str, str] | None) -> bool:
    return all(requirement.matches(labels or {}) for requirement in selector)


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}


def label_selector_matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    """Whether a `LabelSelector` of an object (`matchLabels`, `matchExpressions`) takes these labels; absent: none."""
    if selector is None:
        return False
    found = labels or {}
    if any(found.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(
        Requirement(each["key"], _OPERATORS[each["operator"]], tuple(each.get("values") or ())).matches(found)
        for each in selector.get("matchExpressions") or ()
    )


_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork"),
        *("status.phase", "status.podIP", "status.nominatedNodeName"),
    ),
    "events": (
        *("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid"),
        *("involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath"),
        *("reason", "reportingComponent", "source", "type"),
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "jobs": ("status.successful",),
    "replicasets": ("status.replicas",),
    "services": ("spec.clusterIP", "spec.type"),
}
"""Fields a resource can be selected by, besides `metadata.name` and `metadata.namespace`."""


def parse_fields(text: str, plural: str, api_version: str, kind: str) -> tuple[Requirement, ...]:
    """A field selector: `metadata.name=a,status.phase!=Running`."""
    found: list[Requirement] = []
    known = {"metadata.name", "metadata.namespace", *_FIELDS.get(plural, ())}
    for part in _parts(text):
        match = re.match(r"(?P<key>[^=!]+)(?P<op>==|=|!=)(?P<value>.*)\Z", part)
        if match is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        if match["key"] not in known:
            raise _unsupported(match["key"], plural, api_version, kind)
        found.append(Requirement(match["key"], "notin" if match["op"] == "!=" else "in", (match["value"],)))
    return tuple(found)


def _unsupported(key: str, plural: str, api_version: str, kind: str) -> Refusal:
    if plural in _FIELDS:
        what = {"pods": "Pod", "events": "Event", "nodes": "Node", "namespaces": "Namespace"}.get(plural, kind)
        return bad_request(
            f"field label not supported for {what}: {key}" if what == "Node" else f"field label not supported: {key}"
        )
    group, _, version = api_version.rpartition("/")
    where = f"{group}/{version}, Kind={kind}" if group else f"/{version}, Kind={kind}"
    return bad_request(
        f'Unable to find "{where.split(",", maxsplit=1)[0]}, Resource={plural}" that match label selector "", field '
        f'selector "{key}": field label not supported: {key}'
    )


def _field(obj: Mapping[str, Any], key: str) -> str:
    if key == "source":
        return str((obj.get("source") or {}).get("component") or obj.get("reportingComponent") or "")
    if key == "status.successful":
        key = "status.succeeded"
    value: Any = obj
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        return {"spec.unschedulable": "false", "spec.hostNetwork": "false", "status.replicas": "0"}.get(key, "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def field_matches(selector: tuple[Requirement, ...], obj: Mapping[str, Any]) -> bool:
    return all(requirement.matches({requirement.key: _field(obj, requirement.key)}) for requirement in selector)
