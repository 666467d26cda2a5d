"""Which parts of objects are values of a chart: found by what an object is, replaced by a mark, filled after emitting.

Marks are plain words, so that the emitter writes comments and indents as ever; `filled` puts the template in their
place. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from penstock.plan.manifests.manifest import Because, Manifest
from penstock.plan.manifests.site import Site

__all__ = ["ChartValues", "Entry"]

_MARK = "PENSTOCKCHARTVALUE{:05d}X"
_MARKS = re.compile(r"PENSTOCKCHARTVALUE\d{5}X")
_LABELS_MARK = "PENSTOCKCHARTLABELS"
_LABELS_LINE = re.compile(rf"^( *){_LABELS_MARK}: \"\"\n", re.MULTILINE)
_MODEL = "penstock.dev/model"
_QUANTITY = r"^[0-9.]+([eE][0-9]+|m|[kMGTPE]i?)?$"

_COUNT = {"type": "integer", "minimum": 0, "maximum": 1000}
_TEXT = {"type": "string", "minLength": 1}
_SIZE = {"type": ["string", "integer"], "pattern": _QUANTITY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One value: where it stands in values.yaml, what it is without one, and what it may be."""

    path: tuple[str, ...]
    default: Any
    words: str
    schema: dict[str, Any]


class ChartValues:
    """The values of one chart, gathered while its templates are made."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._entries: dict[tuple[str, ...], Entry] = {}
        self._marks: list[str] = []
        words = "Labels on every object, beside ours."
        self._add(Entry(path=("labels",), default={}, words=words, schema=_labels_schema()))

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    def switch(self, name: str, words: str) -> None:
        """A value that turns a group of objects off."""
        self._add(Entry(path=(name, "enabled"), default=True, words=words, schema={"type": "boolean"}))

    def templated(self, manifest: Manifest) -> Manifest:
        """The manifest with marks where values are."""
        body = _copied(manifest.body)
        for change in (self._of_workload, self._of_scaling, self._of_host):
            change(body)
        labels = _bare(body["metadata"].get("labels"))
        if isinstance(labels, dict):
            labels[_LABELS_MARK] = ""
        return replace(manifest, body=body)

    def filled(self, text: str) -> str:
        """Emitted text with templates in the place of marks."""
        text = _LABELS_LINE.sub(
            lambda found: (
                f"{found[1]}{{{{- with .Values.labels }}}}\n"
                f"{found[1]}{{{{- toYaml . | nindent {len(found[1])} }}}}\n"
                f"{found[1]}{{{{- end }}}}\n"
            ),
            text,
        )
        return _MARKS.sub(lambda found: self._marks[int(found[0][18:23])], text)

    def defaults(self) -> dict[str, Any]:
        """The tree of values.yaml, each with its words."""
        tree: dict[str, Any] = {}
        for entry in sorted(self._entries.values(), key=lambda entry: entry.path):
            place = tree
            for part in entry.path[:-1]:
                place = place.setdefault(part, {})
            place[entry.path[-1]] = Because(entry.default, entry.words)
        return tree

    def schema(self) -> dict[str, Any]:
        """JSON Schema of values.yaml: nothing unknown, so that a typing error is told."""
        root: dict[str, Any] = _object()
        for entry in sorted(self._entries.values(), key=lambda entry: entry.path):
            place = root
            for part in entry.path[:-1]:
                place = place["properties"].setdefault(part, _object())
            place["properties"][entry.path[-1]] = {"description": entry.words, **entry.schema}
        root["properties"]["global"] = {"type": "object"}  # Helm gives it to every chart
        return {"$schema": "http://json-schema.org/draft-07/schema#", **root}

    # ------------------------------------------------------------------ what is found where

    def _of_workload(self, body: dict[str, Any]) -> None:
        if body["kind"] not in ("Deployment", "LeaderWorkerSet"):
            return
        owner, spec = self._owner(body), body["spec"]
        if "replicas" in spec and owner[0] != "controller":
            is_floor = owner[0] == "models" and body["metadata"]["name"] != owner[1]
            name, words = "replicas", "How many run."
            if is_floor:
                name, words = "onDemandReplicas", "How many of them stay off spot nodes."
            self._mark(spec, "replicas", (*owner, name), words, _COUNT)
        for container in _containers(spec):
            self._of_container(container, owner)

    def _of_container(self, container: dict[str, Any], owner: tuple[str, ...]) -> None:
        if container.get("image") == self._site.image:
            self._mark(container, "image", ("image",), "Image of gateway and controller.", _TEXT)
        elif "image" in container:
            self._mark(container, "image", (*owner, "image"), "The engine's image.", _TEXT)
        if container["name"] not in ("engine", "gateway", "controller"):
            return
        for kind in ("requests", "limits"):
            block = _bare(_bare(container.get("resources", {})).get(kind))
            for name in ("cpu", "memory"):
                if isinstance(block, dict) and name in block:
                    words = {"cpu": "CPUs that it is promised.", "memory": "Host memory, request and limit."}[name]
                    self._mark(block, name, (*owner, "resources", name), words, _SIZE)

    def _of_scaling(self, body: dict[str, Any]) -> None:
        names = {
            "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
            "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
        }.get(body["kind"])
        if names is None:
            return
        owner = self._owner(body)
        for field, ours, words in zip(
            names, ("minReplicas", "maxReplicas"), ("Replicas at least.", "Replicas at most."), strict=True
        ):
            if field in body["spec"]:
                self._mark(body["spec"], field, (*owner, ours), words, _COUNT)

    def _of_host(self, body: dict[str, Any]) -> None:
        path, words = ("expose", "host"), "Host name that clients use."
        spec: dict[str, Any] = body.get("spec", {})
        match body["kind"]:
            case "HTTPRoute":
                self._mark(spec["hostnames"], 0, path, words, _TEXT)
            case "VirtualService":
                self._mark(spec["hosts"], 0, path, words, _TEXT)
            case "Ingress":
                self._mark(spec["rules"][0], "host", path, words, _TEXT)
                for entry in spec.get("tls", ()):
                    self._mark(entry["hosts"], 0, path, words, _TEXT)

    def _owner(self, body: dict[str, Any]) -> tuple[str, ...]:
        """Where in values.yaml an object's values are: its model, or its component."""
        labels = body["metadata"]["labels"]
        if _MODEL in labels:
            return "models", labels[_MODEL]
        return (labels["app.kubernetes.io/component"],)

    # ------------------------------------------------------------------ marks

    def _mark(self, holder: Any, key: Any, path: tuple[str, ...], words: str, schema: dict[str, Any]) -> None:
        """Replaces what stands at `holder[key]`; two places of one value must have said the same."""
        found = holder[key]
        default = _bare(found)
        known = self._entries.get(path)
        if known is not None and known.default != default:
            return
        self._add(Entry(path=path, default=default, words=words, schema=schema))
        mark = _MARK.format(len(self._marks))
        self._marks.append(f"{{{{ {_expression(path)}{'' if isinstance(default, int) else ' | quote'} }}}}")
        holder[key] = Because(mark, found.reason) if isinstance(found, Because) else mark

    def _add(self, entry: Entry) -> None:
        self._entries.setdefault(entry.path, entry)


def _expression(path: tuple[str, ...]) -> str:
    """`.Values.a.b`, or by `index` where a name has dashes."""
    if all(re.fullmatch(r"[A-Za-z]\w*", part) for part in path):
        return ".Values." + ".".join(path)
    return "(index .Values " + " ".join(f'"{part}"' for part in path) + ")"


def _containers(spec: Any) -> Iterator[dict[str, Any]]:
    """Every container of the pods below, those that run first included."""
    match spec:
        case Because():
            yield from _containers(spec.value)
        case dict():
            for name, value in spec.items():
                if name in ("containers", "initContainers") and isinstance(_bare(value), list):
                    yield from (_bare(item) for item in _bare(value))
                else:
                    yield from _containers(value)
        case list():
            for item in spec:
                yield from _containers(item)


def _copied(value: Any) -> Any:
    """The same with reasons, as new mappings and lists."""
    match value:
        case Because():
            return Because(_copied(value.value), value.reason)
        case dict():
            return {name: _copied(item) for name, item in value.items()}
        case list() | tuple():
            return [_copied(item) for item in value]
        case _:
            return value


def _bare(value: Any) -> Any:
    while isinstance(value, Because):
        value = value.value
    return value


def _object() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _labels_schema() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": {"type": "string"}}
