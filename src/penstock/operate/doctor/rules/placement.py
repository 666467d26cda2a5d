"""Rules on where pods run and who gives way: spot machines, priorities, drivers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.facts.cuda import IMAGE_CUDA_MAJOR, driver_min, image_cuda_major
from penstock.facts.kubernetes import is_known_node_key
from penstock.facts.node_labels import is_spot_label
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.pods import Pod

__all__ = ["RULES"]

_BATCH_NAME = re.compile(r"batch|low|train|offline|best-?effort|preempt|background|\bjob", re.IGNORECASE)
_SERVING_NAME = re.compile(r"serv|infer|llm|vllm|interactive|online|gateway", re.IGNORECASE)
_NOTICE_S = {
    "cloud.google.com/gke-spot": 25,
    "cloud.google.com/gke-preemptible": 25,
    "kubernetes.azure.com/scalesetpriority": 30,
}


def _keys(pod: Pod) -> Iterator[Node]:
    """Every label and taint key that a pod's placement names."""
    for toleration in pod.spec["tolerations"]:
        yield toleration["key"]
    affinity = pod.spec.at("affinity", "nodeAffinity")
    for node in affinity.walk():
        if node.path[-1:] == ("key",):
            yield node


def _invented_taint(case: Case) -> Iterator[Hit]:
    own = {t["key"].text for r in case.kind("NodePool", "Node", "Provisioner") for t in _taints(r)}
    own |= {str(key) for r in case.kind("Node") for key in r.labels}
    own |= {key for r in case.kind("NodePool") for key in r.root.at("spec", "template", "metadata", "labels").mapping}
    for pod in case.pods:
        for node in _keys(pod):
            if not is_known_node_key(node.text) and node.text not in own:
                yield _taint_hit(pod, node, node.text)
        for key, node in pod.spec["nodeSelector"].fields():
            if not is_known_node_key(key) and key not in own:
                yield _taint_hit(pod, node, key)


def _taints(resource: Resource) -> Iterator[Node]:
    """Taints that nodes have, or will have."""
    yield from resource.root.at("spec", "taints")
    yield from resource.root.at("spec", "template", "spec", "taints")


def _taint_hit(pod: Pod, node: Node, key: str) -> Hit:
    is_name = node.path[-1] == key
    return Hit(
        where=node.key_where if is_name else node.where,
        message=f"{pod.title}: nothing sets {key} on a node",
        evidence=key,
    )


def _value(resource: Resource) -> float:
    return resource.root["value"].number or 0


def _low_serving(case: Case) -> Iterator[Hit]:
    classes = {r.name: r for r in case.kind("PriorityClass")}
    used = {p.spec["priorityClassName"].text: p for p in case.pods if id(p) in case.engine_pods and not p.is_batch}
    batch = {p.spec["priorityClassName"].text for p in case.pods if p.is_batch}
    said: set[str] = set()
    for name, resource in classes.items():
        is_serving = name in used or (
            _SERVING_NAME.search(f"{name} {resource.root['description'].text}") and not _BATCH_NAME.search(name)
        )
        others = [
            o
            for o in classes.values()
            if o is not resource
            and (
                o.name in batch
                or _BATCH_NAME.search(o.name)
                or (name in used and o.name not in used and not _SERVING_NAME.search(o.name))
            )
        ]
        above = [o for o in others if _value(o) > _value(resource)]
        if is_serving and (_value(resource) < 0 or above):
            said.add(name)
            than = f"below {above[0].name} ({_value(above[0]):g})" if above else "below every pod without a class (0)"
            yield Hit(
                where=resource.root["value"].where,
                message=f"priority class {name} of serving is {_value(resource):g}, {than}",
                evidence=resource.root["value"].shown,
            )
    for name, pod in used.items():
        if name and name not in classes and _BATCH_NAME.search(name) and not _SERVING_NAME.search(name):
            node = pod.spec["priorityClassName"]
            yield Hit(
                where=node.where, message=f"{pod.title} serves with the priority class {name}", evidence=node.shown
            )


def _is_spot_only(case: Case, pod: Pod) -> tuple[str, Node] | None:
    """The label that keeps a pod on spot machines: of the machines, or of a node pool that has no others."""
    for key, values, node in pod.demanded_labels:
        if values and all(is_spot_label(key, value) or _are_spot_pools(case, key, value) for value in values):
            return key, node
    return None


def _are_spot_pools(case: Case, key: str, value: str) -> bool:
    """Whether a label is that of Karpenter's node pools, each of which makes spot machines only."""
    pools = [
        pool
        for pool in case.kind("NodePool")
        if (pool.name if key == "karpenter.sh/nodepool" else _pool_label(pool, key)) == value
    ]
    return bool(pools) and all(_makes_spot_only(pool) for pool in pools)


def _pool_label(pool: Resource, key: str) -> str:
    return pool.root.at("spec", "template", "metadata", "labels")[key].text


def _makes_spot_only(pool: Resource) -> bool:
    for requirement in pool.root.at("spec", "template", "spec", "requirements"):
        values = [value.text for value in requirement["values"]]
        is_spot = bool(values) and all(is_spot_label(requirement["key"].text, value) for value in values)
        if is_spot and requirement["operator"].text == "In":
            return True
    return False


def _spot_only(case: Case) -> Iterator[Hit]:
    engines = [e for e in case.whole_engines if e.pod is not None and not e.pod.is_batch]
    floors = {
        e.model for e in engines if e.pod is not None and _is_spot_only(case, e.pod) is None and (e.replicas or 1) > 0
    }
    for engine in engines:
        spot = _is_spot_only(case, engine.pod) if engine.pod is not None else None
        if spot is not None and engine.model not in floors:
            node = spot[1]
            yield Hit(
                where=node.where if node.path[-1] == "key" else node.key_where,
                message=f"{engine.title} runs on spot machines only: when the cloud takes them back, nothing"
                f" serves {engine.model or 'the model'}",
                evidence=f"{spot[0]}",
            )


def _spot_grace(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        spot = _is_spot_only(case, engine.pod) if engine.pod is not None else None
        if spot is None or engine.pod is None or spot[0] not in _NOTICE_S:
            continue
        grace = engine.pod.spec["terminationGracePeriodSeconds"]
        notice = _NOTICE_S[spot[0]]
        if grace.number is not None and grace.number > notice and engine.flags.find("shutdown-timeout"):
            yield Hit(
                where=grace.where,
                message=f"{engine.title} may take {grace.text} s to stop; a machine with {spot[0]} is gone about"
                f" {notice} s after the notice",
                evidence=grace.shown,
            )


def _old_driver(case: Case) -> Iterator[Hit]:
    need = _driver_needed(case)
    for node, major, what in _drivers(case):
        if major < need:
            yield Hit(
                where=node.where,
                message=f"{what} is driver {node.text}; the engine's image (CUDA"
                f" {IMAGE_CUDA_MAJOR if need >= 580 else 12}) needs {need} or newer",
                evidence=node.shown,
            )
    for command in case.commands:
        if command.snippet.kind == "dockerfile" and command.texts[:1] == ["FROM"] and len(command.words) > 1:
            cuda = re.match(r"(?:docker\.io/)?nvidia/cuda:(\d+)\.", command.words[1].text)
            if cuda and int(cuda.group(1)) < IMAGE_CUDA_MAJOR and "vllm" in command.snippet.text:
                yield Hit(
                    where=command.where(command.words[1]),
                    message=f"{command.words[1].text} is CUDA {cuda.group(1)}; current vLLM wheels are built for CUDA"
                    f" {IMAGE_CUDA_MAJOR}",
                    evidence=command.shown,
                )


def _driver_needed(case: Case) -> int:
    """What the evidence's engines need: the current image's where none says."""
    majors = []
    for engine in case.whole_engines:
        if engine.image is None:
            continue
        told = image_cuda_major(engine.image.tag)
        majors.append(told or (12 if engine.is_version_known and engine.is_older_than("0.20.0") else IMAGE_CUDA_MAJOR))
    return driver_min(max(majors, default=IMAGE_CUDA_MAJOR))


def _drivers(case: Case) -> Iterator[tuple[Node, int, str]]:
    for resource in case.kind("Node"):
        labels = resource.root.at("metadata", "labels")
        for key in ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major"):
            if labels[key].number is not None:
                yield labels[key], int(labels[key].number or 0), f"node {resource.name}"
                break
    for resource in case.resources:
        node = (
            resource.root.at("spec", "driver", "version")
            if resource.kind in ("ClusterPolicy", "NVIDIADriver")
            else resource.root.at("driver", "version")
        )
        if resource.kind == "NVIDIADriver":
            node = resource.root.at("spec", "version")
        match = re.match(r"(\d{3})\b", node.text)
        if match and (not resource.is_object or resource.kind in ("ClusterPolicy", "NVIDIADriver")):
            yield node, int(match.group(1)), "the GPU operator's"


RULES = (
    Rule(
        id="PS030-invented-node-key",
        title="A taint or label that no cloud sets",
        severity=Severity.ERROR,
        rows=(30,),
        consequence="As a toleration it tolerates nothing, as a selector it matches no node: spot machines stay empty.",
        fix="`cloud.google.com/gke-spot`, `kubernetes.azure.com/scalesetpriority`,"
        " `karpenter.sh/capacity-type`, `eks.amazonaws.com/capacityType`.",
        check=_invented_taint,
    ),
    Rule(
        id="PS031-serving-preempted-first",
        title="Serving has the lower priority",
        severity=Severity.ERROR,
        rows=(31,),
        consequence="When GPUs are short the engines are the first to go, and batch jobs take their place.",
        fix="Serving high, batch low (or negative, with `preemptionPolicy: Never`).",
        check=_low_serving,
    ),
    Rule(
        id="PS032-spot-only",
        title="A model that only spot machines serve",
        severity=Severity.WARNING,
        rows=(32,),
        consequence="They go together, with 30 s to 2 minutes of notice; streams break, and a reload takes"
        " minutes if there is a machine at all. A disruption budget does not hold them.",
        fix="A floor of on-demand replicas, spot for the rest, and a gateway that retries before the first token.",
        check=_spot_only,
    ),
    Rule(
        id="PS135-grace-beyond-notice",
        title="Stopping takes longer than the spot notice",
        severity=Severity.INFO,
        rows=(32,),
        consequence="The machine is gone before the drain ends.",
        fix="Drain within the notice there: preStop 5 s and `--shutdown-timeout` 15.",
        check=_spot_grace,
    ),
    Rule(
        id="PS045-old-driver",
        title="The driver is too old for the engine's image",
        severity=Severity.ERROR,
        rows=(45,),
        consequence="The container does not start (unsatisfied condition: cuda>=13.0), or CUDA fails to initialize.",
        fix="Driver 580 or newer, or an image built for CUDA 12 (its tag says so).",
        check=_old_driver,
    ),
)
