"""Pods as workloads describe them: wherever a list of containers lies, in any kind. Pure.

Finds Deployments, StatefulSets, Jobs, LeaderWorkerSets, KServe's kinds, Argo Rollouts and whatever else holds a pod
template, without knowing the kinds. What a controller made (a ReplicaSet's pods) is left out where its maker is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.findings import Where
from penstock.operate.doctor.images import Image, image_of
from penstock.operate.doctor.quantities import quantity

__all__ = ["Container", "Pod", "is_given_later", "matches", "owned", "pods_of"]

_BATCH = frozenset({"Job", "CronJob", "Pod", "Workflow", "CronWorkflow"})
_GIVEN_LATER = (
    "leaderworkerset.sigs.k8s.io/", "statefulset.kubernetes.io/", "apps.kubernetes.io/", "batch.kubernetes.io/",
    "controller-revision-hash", "pod-template-hash", "job-name",
)  # fmt: skip
_SKIPPED = frozenset({"CustomResourceDefinition", "ConfigMap", "Secret", "PodDisruptionBudget"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Container:
    """One container of a pod."""

    node: Node
    pod: Pod
    is_init: bool

    @property
    def name(self) -> str:
        return self.node["name"].text

    @cached_property
    def image(self) -> Image | None:
        text = self.node["image"].text
        return image_of(text) if text else None

    @property
    def mounts(self) -> Iterator[Node]:
        return iter(self.node["volumeMounts"])

    @property
    def scripts(self) -> list[Node]:
        """Words of its command line that are programs of several words: what `sh -c` is given."""
        nodes = [*self.node["command"], *self.node["args"]]
        return [node for node in nodes if " " in node.text.strip() or "\n" in node.text]

    @property
    def env_nodes(self) -> Iterator[Node]:
        return iter(self.node["env"])

    def amount(self, name: str) -> float | None:
        """What it is limited to of a resource, else what it requests."""
        for table in ("limits", "requests"):
            found = quantity(self.node.at("resources", table, name).value)
            if found is not None:
                return found
        return None

    def resource_node(self, name: str) -> Node:
        for table in ("limits", "requests"):
            node = self.node.at("resources", table, name)
            if node:
                return node
        return self.node["resources"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pod:
    """A pod, or the template of pods."""

    resource: Resource
    spec: Node
    labels: Mapping[str, object]
    annotations: Mapping[str, object]
    group_size: int = 1
    """Pods that are one replica together (LeaderWorkerSet)."""

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Init containers first, as they run."""
        inits = [Container(node=node, pod=self, is_init=True) for node in self.spec["initContainers"]]
        return (*inits, *(Container(node=node, pod=self, is_init=False) for node in self._mains))

    @property
    def _mains(self) -> list[Node]:
        mains = list(self.spec["containers"])
        model = self.spec["model"]  # KServe's InferenceService: the container is the model's
        return [*mains, model] if model["modelFormat"] else mains

    @property
    def kind(self) -> str:
        return self.resource.kind

    @property
    def is_batch(self) -> bool:
        return self.kind in _BATCH

    @cached_property
    def replicas(self) -> int | None:
        """Replicas as written; 1 where a kind that has them leaves them out; None where they are not known."""
        for name in ("replicas", "minReplicas"):
            for node in (self.resource.root.at("spec", name), self.spec[name]):
                if node.number is not None:
                    return int(node.number)
        return 1 if self.kind in ("Deployment", "StatefulSet", "ReplicaSet", "Rollout", "LeaderWorkerSet") else None

    @property
    def title(self) -> str:
        return f"{self.kind} {self.resource.name}".strip()

    @property
    def where(self) -> Where:
        return self.resource.root["metadata"]["name"].where

    def volume(self, name: str) -> Node | None:
        """The volume of this name."""
        return next((node for node in self.spec["volumes"] if node["name"].text == name), None)

    def claims(self) -> Iterator[tuple[str, Node]]:
        """Names of claims that it mounts, each with the volume."""
        for node in self.spec["volumes"]:
            claim = node.at("persistentVolumeClaim", "claimName").text
            if claim:
                yield claim, node

    @property
    def demanded_labels(self) -> list[tuple[str, list[str], Node]]:
        """Node labels that it must have: selector, and required affinity with `In`; each with its values and place."""
        found = [(key, [node.text], node) for key, node in self.spec["nodeSelector"].fields()]
        affinity = self.spec.at("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
        terms = list(affinity["nodeSelectorTerms"])
        if len(terms) == 1:  # several terms are alternatives
            for expression in terms[0]["matchExpressions"]:
                if expression["operator"].text == "In":
                    values = [value.text for value in expression["values"]]
                    found.append((expression["key"].text, values, expression["key"]))
        return found


def owned(resources: tuple[Resource, ...]) -> set[int]:
    """Ids of objects whose maker is there too: what is wrong with them is said of the maker. Where it is not there,
    the first of its pods stands for them all."""
    makers = {(r.namespace, r.kind, r.name) for r in resources if r.is_object}
    found: set[int] = set()
    for resource in resources:
        owners = resource.root.at("metadata", "ownerReferences")
        keys = [(resource.namespace, o["kind"].text, o["name"].text) for o in owners]
        if any(key in makers for key in keys):
            found.add(id(resource))
        elif resource.kind == "Pod":
            makers |= {key for key, node in zip(keys, owners, strict=True) if node["controller"].value is True}
    return found


def pods_of(resource: Resource) -> list[Pod]:
    """Every pod template of an object."""
    if resource.kind in _SKIPPED or not isinstance(resource.value, dict):
        return []
    found: list[Pod] = []
    for node in resource.root.walk():
        if not isinstance(node.value, dict):
            continue
        containers = node.value.get("containers")
        is_pod = isinstance(containers, list) and any(
            isinstance(c, dict) and ("image" in c or "name" in c) for c in containers
        )
        is_predictor = isinstance(node.value.get("model"), dict) and "modelFormat" in node.value["model"]
        if (is_pod and not (node.path and node.path[-1] == "status")) or is_predictor:
            found.append(_pod(resource, node))
    return found


def _pod(resource: Resource, spec: Node) -> Pod:
    above = _step(resource, spec.path[:-1])
    meta = above["metadata"] if spec.path[-1:] == ("spec",) else spec["metadata"]
    if resource.kind == "Pod":
        meta = resource.root["metadata"]
    size = resource.root.at("spec", "leaderWorkerTemplate", "size").number
    return Pod(
        resource=resource,
        spec=spec,
        labels=meta["labels"].mapping,
        annotations=meta["annotations"].mapping,
        group_size=int(size) if size else 1,
    )


def _step(resource: Resource, path: tuple[str | int, ...]) -> Node:
    return resource.root.at(*path[len(resource.base) :])


def is_given_later(label: str) -> bool:
    """Whether a controller puts this label on its pods, so that no template has it."""
    return label.startswith(_GIVEN_LATER)


def matches(selector: Node, labels: Mapping[str, object]) -> bool:
    """Whether a label selector picks these labels. One that is not there picks nothing; an empty one everything."""
    if not selector:
        return False
    for key, value in selector["matchLabels"].fields():
        if not is_given_later(key) and str(labels.get(key, "\0")) != value.text:
            return False
    for expression in selector["matchExpressions"]:
        if is_given_later(expression["key"].text):
            continue
        name, values = expression["key"].text, [v.text for v in expression["values"]]
        has, found = name in labels, str(labels.get(name, ""))
        is_met = {
            "In": has and found in values,
            "NotIn": not has or found not in values,
            "Exists": has,
            "DoesNotExist": not has,
        }.get(expression["operator"].text, True)
        if not is_met:
            return False
    return True
