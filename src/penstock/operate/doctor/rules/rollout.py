"""Rules on updates, drains and evictions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.facts.kubernetes import GONE_APIS
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.engines import Engine
from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.pods import Pod
from penstock.operate.doctor.quantities import count_of, quantity

__all__ = ["RULES"]

_DEFAULT_GRACE_S = 30
_MANY_REPLICAS = 3
_HASHED = re.compile(r"-[a-z0-9]{8,10}$")
_CHECKSUM = re.compile(r"checksum|hash|sha256|revision|reloader\.stakater\.com|config-version|configmap", re.IGNORECASE)
_WAITING_GREP = re.compile(r"grep\s[^|\n]*vllm:num_requests_waiting(?![_{\\])")


def _budgets(case: Case) -> Iterator[tuple[Resource, Pod | None]]:
    """Budgets with the workload that they hold, where it is there."""
    for resource in case.kind("PodDisruptionBudget"):
        selector = resource.root.at("spec", "selector")
        held = [
            pod
            for pod in case.selected(selector)
            if not pod.is_batch and pod.resource.namespace in (resource.namespace, "")
        ]
        yield resource, held[0] if held else None


def _blocked(case: Case) -> Iterator[Hit]:
    for resource, pod in _budgets(case):
        spec = resource.root["spec"]
        least, most = spec["minAvailable"], spec["maxUnavailable"]
        replicas = pod.replicas if pod is not None else None
        if most and most.text in ("0", "0%"):
            yield _blocked_hit(resource, most, replicas)
        elif least and (
            least.text == "100%"
            or (replicas is not None and (count_of(least.value, replicas, round_up=True) or 0) >= replicas > 0)
        ):
            yield _blocked_hit(resource, least, replicas)


def _blocked_hit(resource: Resource, node: Node, replicas: int | None) -> Hit:
    of = f" of {replicas} replica{'s' if replicas != 1 else ''}" if replicas is not None else ""
    return Hit(where=node.where, message=f"budget {resource.name} lets none{of} go: {node.shown}", evidence=node.shown)


def _one_left(case: Case) -> Iterator[Hit]:
    for resource, pod in _budgets(case):
        least = resource.root.at("spec", "minAvailable")
        count = least.number
        replicas = pod.replicas if pod is not None else None
        if count is None or (replicas is not None and (replicas < _MANY_REPLICAS or count > replicas / 2)):
            continue
        said = (
            f"with {replicas} replicas {replicas - count:g} may go at once"
            if replicas is not None
            else "with one replica it blocks every drain, with eight it lets seven go"
        )
        yield Hit(
            where=least.where,
            message=f"budget {resource.name}: {said}",
            evidence=least.shown,
            severity=Severity.INFO if replicas is None else None,
        )


def _unhealthy(case: Case) -> Iterator[Hit]:
    for resource, pod in _budgets(case):
        policy = resource.root.at("spec", "unhealthyPodEvictionPolicy")
        if pod is not None and id(pod) in case.engine_pods and policy.text != "AlwaysAllow":
            yield Hit(
                where=resource.root["spec"].key_where,
                message=f"budget {resource.name} also holds engines that are not ready: one that loads or crashes"
                f" blocks a drain",
                evidence=policy.shown or "spec without unhealthyPodEvictionPolicy",
            )


def _takes_down(pod: Pod) -> tuple[int, Node] | None:
    """How many replicas an update may take down at once, where that is written."""
    strategy = pod.resource.root.at("spec", "strategy") or pod.resource.root.at("spec", "updateStrategy")
    replicas = pod.replicas or 1
    if strategy["type"].text == "Recreate":
        return replicas, strategy["type"]
    most = strategy.at("rollingUpdate", "maxUnavailable")
    count = count_of(most.value, replicas, round_up=False) if most else None
    return None if count is None else (count, most)


def _rollout_beyond_budget(case: Case) -> Iterator[Hit]:
    for resource, pod in _budgets(case):
        taken = _takes_down(pod) if pod is not None else None
        if taken is None or pod is None or (pod.replicas or 1) < 2:
            continue
        count, node = taken
        spec, replicas = resource.root["spec"], pod.replicas or 1
        allowed = count_of(spec["maxUnavailable"].value, replicas, round_up=True)
        least = count_of(spec["minAvailable"].value, replicas, round_up=True)
        allowed = replicas - least if allowed is None and least is not None else allowed
        if allowed is not None and count > max(allowed, 1):
            yield Hit(
                where=node.where,
                message=f"{pod.title}: an update may take {count} of {replicas} replicas down at once; budget"
                f" {resource.name} allows {allowed}, and does not hold updates",
                evidence=node.shown,
            )


def _gone_api(case: Case) -> Iterator[Hit]:
    for resource in case.resources:
        gone = GONE_APIS.get((resource.api_version, resource.kind))
        if gone is not None:
            node = resource.root["apiVersion"]
            selector = resource.root.at("spec", "selector")
            is_safe = gone.is_same_shape and (resource.kind != "PodDisruptionBudget" or bool(selector.mapping))
            yield Hit(
                where=node.where,
                message=f"{resource.kind} {resource.name}: {resource.api_version} was removed in Kubernetes"
                f" {gone.gone_in}",
                evidence=node.shown,
                fix=f"apiVersion: {gone.instead}",
                edits=node.replaced(gone.instead) if is_safe else (),
            )


def _served(case: Case) -> Iterator[tuple[Engine, Pod]]:
    for engine in case.whole_engines:
        is_follower = engine.flags.find("headless") is not None  # another pod takes the requests
        if engine.pod is not None and not engine.pod.is_batch and engine.container is not None and not is_follower:
            yield engine, engine.pod


def _drains(engine: Engine) -> bool:
    """Whether running requests may end after SIGTERM, or are waited for before it."""
    return (engine.flags.number("shutdown-timeout") or 0) > 0 or _waits_for_requests(engine)


def _waits_for_requests(engine: Engine) -> bool:
    return "num_requests_running" in _stop_script(engine).text


def _stop_script(engine: Engine) -> Node:
    """What the container does before it is told to stop: its longest word."""
    assert engine.container is not None
    hook = engine.container.node.at("lifecycle", "preStop")
    words = list(hook.at("exec", "command"))
    return max(words, key=lambda node: len(node.text)) if words else hook["sleep"]["seconds"]


def _sleep_s(engine: Engine) -> float:
    """Seconds that the preStop hook sleeps."""
    assert engine.container is not None
    hook = engine.container.node.at("lifecycle", "preStop")
    seconds = hook.at("sleep", "seconds").number
    if seconds is not None:
        return seconds
    text = " ".join(node.text for node in hook.at("exec", "command"))
    match = re.search(r"\bsleep\s+(\d+)", text)
    return float(match.group(1)) if match else 0.0


def _grace(pod: Pod) -> Node:
    return pod.spec["terminationGracePeriodSeconds"]


def _surge_drops(case: Case) -> Iterator[Hit]:
    for engine, pod in _served(case):
        most = pod.resource.root.at("spec", "strategy", "rollingUpdate", "maxUnavailable")
        long_grace = (_grace(pod).number or 0) > _DEFAULT_GRACE_S
        if most.text in ("0", "0%") and not _drains(engine) and not long_grace:
            yield Hit(
                where=most.where,
                message=f"{engine.title}: the update keeps every replica (maxUnavailable 0), and each old one"
                f" aborts its requests when it goes: no --shutdown-timeout",
                evidence=most.shown,
                fix=_drain_fix(engine),
            )


def _drain_fix(engine: Engine) -> str:
    newer = "an image of 0.18 or newer, " if engine.is_older_than("0.18.0") else ""
    return f"{newer}--shutdown-timeout 90, a preStop sleep of 15 s, terminationGracePeriodSeconds 120"


def _grace_alone(case: Case) -> Iterator[Hit]:
    for engine, pod in _served(case):
        grace = _grace(pod)
        if grace.number is not None and grace.number > _DEFAULT_GRACE_S and not _drains(engine):
            yield Hit(
                where=grace.where,
                message=f"{engine.title}: a grace period of {grace.text} s finishes nothing: vLLM aborts its"
                f" requests at SIGTERM",
                evidence=grace.shown,
                fix=_drain_fix(engine),
            )


def _grace_short(case: Case) -> Iterator[Hit]:
    for engine, pod in _served(case):
        timeout = engine.flags.number("shutdown-timeout") or 0
        grace = _grace(pod)
        seconds = _DEFAULT_GRACE_S if grace.number is None else grace.number
        need = timeout + _sleep_s(engine)
        flag = engine.flags.find("shutdown-timeout")
        if flag is not None and timeout > 0 and need > seconds:
            yield Hit(
                where=grace.where if grace else flag.where,
                message=f"{engine.title}: {_sleep_s(engine):.0f} s of preStop and {timeout:.0f} s of"
                f" --shutdown-timeout, and SIGKILL after {seconds:.0f} s",
                evidence=grace.shown or flag.shown,
                fix=f"terminationGracePeriodSeconds: {need + 15:.0f}",
            )


def _no_pause(case: Case) -> Iterator[Hit]:
    for engine, _ in _served(case):
        flag = engine.flags.find("shutdown-timeout")
        if (
            flag is not None
            and (engine.flags.number("shutdown-timeout") or 0) > 0
            and engine.container is not None
            and not engine.container.node.at("lifecycle", "preStop")
        ):
            yield Hit(
                where=flag.where,
                message=f"{engine.title} stops taking requests at SIGTERM, before everybody knows that it goes: no"
                f" preStop hook",
                evidence=flag.shown,
            )


def _endless_stop(case: Case) -> Iterator[Hit]:
    for engine, _ in _served(case):
        node = _stop_script(engine)
        if _WAITING_GREP.search(node.text) and not engine.is_older_than("0.20.0"):
            yield Hit(
                where=node.where,
                message=f"{engine.title}: the preStop hook greps vllm:num_requests_waiting, which also matches"
                f" num_requests_waiting_by_reason: its comparison never holds",
                evidence="grep vllm:num_requests_waiting",
                fix="grep '^vllm:num_requests_waiting{'",
            )


def _no_free_gpu(case: Case) -> Iterator[Hit]:
    nodes = [quantity(r.root.at("status", "allocatable", "nvidia.com/gpu").value) or 0 for r in case.kind("Node")]
    if not nodes:
        return
    for engine, pod in _served(case):
        taken = _takes_down(pod)
        if taken is None or taken[0] > 0 or not engine.gpus or engine.mig:
            continue
        places = sum(int(count // engine.gpus) for count in nodes)
        if places < (pod.replicas or 1) + 1:
            yield Hit(
                where=taken[1].where,
                message=f"{engine.title}: a surge needs a free set of {engine.gpus} GPUs; the nodes hold"
                f" {places} and {pod.replicas} replicas take them",
                evidence=taken[1].shown,
                fix="maxSurge: 0, maxUnavailable: 1",
            )


def _config_unseen(case: Case) -> Iterator[Hit]:
    generated = {
        node["name"].text
        for r in case.resources
        if r.kind in ("Kustomization", "")
        for node in r.root["configMapGenerator"]
    }
    for engine, pod in _served(case):
        if any(
            _CHECKSUM.search(f"{key}")
            for key in (*pod.annotations, *pod.resource.root.at("metadata", "annotations").mapping)
        ):
            continue
        for name, node in _config_names(engine, pod):
            config = case.named("ConfigMap", pod.resource.namespace, name)
            is_fixed = config is not None and config.root["immutable"].value is True
            if name and name not in generated and not _is_hashed(name) and not is_fixed and name != "kube-root-ca.crt":
                yield Hit(
                    where=node.where,
                    message=f"{engine.title} reads ConfigMap {name} when it starts: a change of it reaches no running"
                    f" pod",
                    evidence=node.shown,
                )
                break


def _is_hashed(name: str) -> bool:
    match = _HASHED.search(name)
    return match is not None and any(c.isdigit() for c in match.group()) and any(c.isalpha() for c in match.group())


def _config_names(engine: Engine, pod: Pod) -> Iterator[tuple[str, Node]]:
    assert engine.container is not None
    for source in engine.container.node["envFrom"]:
        node = source.at("configMapRef", "name")
        if node:
            yield node.text, node
    for env in engine.container.env_nodes:
        node = env.at("valueFrom", "configMapKeyRef", "name")
        if node:
            yield node.text, node
    mounted = {mount["name"].text for mount in engine.container.mounts}
    for volume in pod.spec["volumes"]:
        node = volume.at("configMap", "name")
        if node and volume["name"].text in mounted:
            yield node.text, node


RULES = (
    Rule(
        id="PS025-budget-blocks-drains",
        title="The disruption budget lets no pod go",
        severity=Severity.ERROR,
        rows=(25,),
        consequence="No node with such a pod can ever be drained: upgrades and the cluster autoscaler stop there.",
        fix="`maxUnavailable: 1` and `unhealthyPodEvictionPolicy: AlwaysAllow`; no budget at one"
        " replica, or a second replica.",
        check=_blocked,
    ),
    Rule(
        id="PS130-budget-min-available",
        title="A fixed `minAvailable` lets most pods go at once",
        severity=Severity.WARNING,
        rows=(25,),
        consequence="A drain may take all replicas but that many; with one replica it blocks the drain.",
        fix="`maxUnavailable: 1`: right for any number of replicas.",
        check=_one_left,
    ),
    Rule(
        id="PS131-budget-holds-broken-pods",
        title="The budget also protects engines that do not serve",
        severity=Severity.INFO,
        rows=(25,),
        consequence="One engine that loads or crashes uses the budget up, and no node can be drained.",
        fix="`unhealthyPodEvictionPolicy: AlwaysAllow`.",
        check=_unhealthy,
    ),
    Rule(
        id="PS026-update-beyond-budget",
        title="An update takes down more than the budget allows",
        severity=Severity.WARNING,
        rows=(26,),
        consequence="A disruption budget holds evictions only; the update goes by its strategy and takes the"
        " capacity away.",
        fix="Set `strategy.rollingUpdate.maxUnavailable` as low as the budget.",
        check=_rollout_beyond_budget,
    ),
    Rule(
        id="PS027-gone-api-version",
        title="An API version that Kubernetes no longer has",
        severity=Severity.ERROR,
        rows=(27,),
        consequence="The API server refuses the object: no matches for kind.",
        fix="Write the current version.",
        check=_gone_api,
    ),
    Rule(
        id="PS028-update-aborts-requests",
        title="The update keeps its replicas and drops their requests",
        severity=Severity.WARNING,
        rows=(28,),
        consequence="vLLM aborts what runs at SIGTERM (`--shutdown-timeout` is 0): streams break with each"
        " pod that is replaced.",
        fix="preStop sleep, `--shutdown-timeout`, a grace period over both.",
        check=_surge_drops,
    ),
    Rule(
        id="PS029-grace-without-shutdown-timeout",
        title="A grace period alone finishes nothing",
        severity=Severity.WARNING,
        rows=(29,),
        consequence="vLLM aborts its requests at SIGTERM, however long the pod may take.",
        fix="`--shutdown-timeout 90` and a preStop sleep of 15 s with a grace period of 120 s.",
        check=_grace_alone,
    ),
    Rule(
        id="PS132-grace-too-short",
        title="SIGKILL comes before the engine has drained",
        severity=Severity.ERROR,
        rows=(29,),
        consequence="The preStop hook counts too: requests that would have ended are cut off.",
        fix="terminationGracePeriodSeconds over preStop plus `--shutdown-timeout`.",
        check=_grace_short,
    ),
    Rule(
        id="PS133-no-prestop-pause",
        title="No pause between leaving the Service and SIGTERM",
        severity=Severity.INFO,
        rows=(28, 29),
        consequence="For a few seconds requests still arrive, and are answered with an error.",
        fix="`lifecycle.preStop.sleep.seconds: 15`.",
        check=_no_pause,
    ),
    Rule(
        id="PS129-prestop-never-ends",
        title="The preStop hook waits for ever",
        severity=Severity.ERROR,
        rows=(29,),
        consequence="Every pod takes its whole grace period to stop, and is killed then.",
        fix="Match the series exactly: `^vllm:num_requests_waiting{`.",
        check=_endless_stop,
    ),
    Rule(
        id="PS134-no-room-to-surge",
        title="No free GPUs for the surge",
        severity=Severity.ERROR,
        rows=(28,),
        consequence="The new pod stays Pending, the old one stays, and the update never ends.",
        fix="maxSurge 0 and maxUnavailable 1, or a free set of GPUs.",
        check=_no_free_gpu,
    ),
    Rule(
        id="PS041-config-change-unseen",
        title="A changed ConfigMap reaches no running pod",
        severity=Severity.WARNING,
        rows=(41,),
        consequence="Environment and start-up files are read once: the change is there after the next crash,"
        " on one pod at a time.",
        fix="A checksum annotation on the pod template, or a hashed name (kustomize's configMapGenerator).",
        check=_config_unseen,
    ),
)
