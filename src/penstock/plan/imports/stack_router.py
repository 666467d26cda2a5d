"""The router of a vLLM production-stack values file as the gateway of a fleet. Pure."""

from __future__ import annotations

from typing import Any

from penstock.plan.imports.values import Values
from penstock.plan.manifests.manifest import Because

__all__ = ["far_models", "gateway_of"]

_OTHER = "the gateway is Penstock's own"
_LEFT = {
    "serviceDiscovery": "the gateway finds engines by itself",
    "engineScrapeInterval": "the gateway looks at engines four times a second (`gateway.routing.scrapeMs`)",
    "requestStatsWindow": _OTHER,
    "serviceType": "say `gateway.expose`",
    "serviceAnnotations": "say `gateway.expose`",
    "nodePort": "say `gateway.expose`",
    "pdb": "a disruption budget is always made",
    "strategy": "a gateway is always replaced after the next one is ready",
    "enableRouter": _OTHER,
}


_POLICIES = {"roundrobin": "round-robin", "session": "session", "prefixaware": "cost", "kvaware": "cost"}
"""Policies by the router's `routingLogic`."""


def gateway_of(router: Values) -> dict[str, Any]:
    """The gateway as a mapping of the fleet file, its tenants apart."""
    gateway: dict[str, Any] = {}
    scale = _scale(router)
    if scale:
        gateway["scale"] = scale
    expose = _expose(router)
    if expose:
        gateway["expose"] = expose
    routing = _routing(router)
    if routing:
        gateway["routing"] = routing
    router.leave_rest(_LEFT, _OTHER)
    return gateway


def _routing(router: Values) -> dict[str, Any]:
    """How the router chose an engine. `cost` is the default, and is not written."""
    at = (*router.at, "routingLogic")
    logic, header = router.take("routingLogic"), router.take("sessionKey")
    policy = _POLICIES.get(str(logic).lower()) if logic is not None else None
    if header is not None and policy != "session":
        router.ledger.note((*router.at, "sessionKey"), "left out", "only `routingLogic: session` reads it")
    if logic is not None and policy is None:
        router.leave("routingLogic", "the gateway has no such policy; it goes by cost (`gateway.routing.policy`)")
    elif policy == "cost":
        words = "`gateway.routing.policy: cost`, the default, which counts what each engine has cached beside its load"
        events = "; `gateway.routing.kvEventsPort` has engines tell what they hold" if logic == "kvaware" else ""
        router.ledger.note(at, "changed", words + events)
    elif policy == "session":
        router.ledger.note(at, "carried", "`gateway.routing.policy`")
        if header is not None:
            router.ledger.note((*router.at, "sessionKey"), "carried", "`gateway.routing.sessionHeader`")
        return {"policy": policy, **({"sessionHeader": str(header)} if header is not None else {})}
    elif policy == "round-robin":
        if router.ledger.mend(at, "in turn, whatever waits or is cached at each engine: by cost, which counts both"):
            return {}
        return {"policy": policy}
    return {}


def _scale(router: Values) -> dict[str, Any]:
    scale: dict[str, Any] = {}
    replicas = router.whole("replicaCount", "`gateway.scale.minReplicas`")
    autoscaling = router.part("autoscaling")
    if autoscaling.carry("enabled", "`gateway.scale`"):
        low = autoscaling.whole("minReplicas", "`gateway.scale.minReplicas`")
        high = autoscaling.whole("maxReplicas", "`gateway.scale.maxReplicas`")
        percent = autoscaling.whole("targetCPUUtilizationPercentage", "`gateway.scale.cpuPercent`")
        replicas = low or replicas
        scale |= {"maxReplicas": high} if high is not None else {}
        scale |= {"cpuPercent": percent} if percent is not None else {}
    else:
        for name in autoscaling.value:
            autoscaling.take(name)
        scale |= {"maxReplicas": replicas} if replicas is not None else {}
    if replicas is not None:
        scale = {"minReplicas": replicas, **scale}
    if replicas == 1 and router.ledger.mend((*router.at, "replicaCount"), "one gateway is gone with its node: two"):
        scale["minReplicas"] = Because(2, "One gateway is gone with its node.")
        scale["maxReplicas"] = max(2, scale.get("maxReplicas", 2))
    resources = router.part("resources")
    requests, limits = resources.part("requests"), resources.part("limits")
    cpu = requests.text("cpu", "`gateway.scale.cpu`")
    memory = limits.text("memory", "`gateway.scale.memory`, request and limit")
    asked = requests.text("memory", "`gateway.scale.memory`, request and limit, where no limit stands over it")
    memory = memory or asked
    if limits.take("cpu") is not None:
        router.ledger.note(
            (*limits.at, "cpu"), "left out", "no CPU limit is set: it would throttle every stream at once"
        )
    return scale | ({"cpu": cpu} if cpu else {}) | ({"memory": memory} if memory else {})


def _expose(router: Values) -> dict[str, Any]:
    ingress, route = router.part("ingress"), router.part("route")
    main = route.part("main")
    found: dict[str, Any] = {}
    if ingress.carry("enabled", "`gateway.expose`"):
        hosts = ingress.parts("hosts")
        host = hosts[0].text("host", "`gateway.expose.host`") if hosts else None
        if host is not None:
            found = {"kind": "ingress", "host": host}
            found |= _named(ingress.text("className", "`gateway.expose.className`"), "className")
            tls = ingress.parts("tls")
            found |= _named(tls[0].text("secretName", "`gateway.expose.tlsSecret`") if tls else None, "tlsSecret")
            annotations = ingress.carry("annotations", "`gateway.expose.annotations`")
            found |= {"annotations": {k: str(v) for k, v in annotations.items()}} if annotations else {}
    elif main.carry("enabled", "`gateway.expose`"):
        names, parents = main.take("hostnames"), main.parts("parentRefs")
        if names and parents:
            parent = parents[0]
            namespace = parent.text("namespace", "`gateway.expose.gateway`")
            name = parent.text("name", "`gateway.expose.gateway`") or ""
            found = {"host": str(names[0]), "gateway": f"{namespace}/{name}" if namespace else name}
            router.ledger.note((*main.at, "hostnames"), "carried", "`gateway.expose.host`, the first of them")
    else:
        for part in (ingress, main):
            for name in part.value:
                part.take(name)
    return found


def _named(value: str | None, name: str) -> dict[str, str]:
    return {} if value is None else {name: value}


def far_models(router: Values) -> list[dict[str, Any]]:
    """Models of a router with static discovery: engines that run elsewhere."""
    backends, names = router.take("staticBackends"), router.take("staticModels")
    if not backends or not names:
        return []
    far: dict[str, list[str]] = {}
    for url, name in zip(str(backends).split(","), str(names).split(","), strict=False):
        far.setdefault(name.strip(), []).append(url.strip())
    router.ledger.note((*router.at, "staticBackends"), "carried", "`endpoints` of each model")
    router.ledger.note((*router.at, "staticModels"), "carried", "`name` of each model")
    return [{"name": name, "endpoints": urls} for name, urls in far.items()]
