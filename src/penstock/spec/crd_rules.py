"""The rules of the fleet file that span several fields, in CEL: what the API server refuses by itself. Pure.

Each says what the loader says. Left to the loader and the controller, as CEL cannot say it or would cost too much:
names that two adapters or a tenant claim, keys that two tenants share, flags said twice in `engine.args`, rules that
are never reached, fallbacks in a circle, keys beyond their tenant, and models that nothing answers to.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.spec.crd_schema import Node

__all__ = ["RULES", "Rule", "add_rules"]

Rule = tuple[str, str, str]
"""A CEL rule, what is said where it is broken, and the field of the object that it is about (empty: the object)."""


def _only_one(first: str, second: str) -> Rule:
    return (f"has(self.{first}) != has(self.{second})", f"needs exactly one of {first} and {second}", "")


_IS_INGRESS = "has(self.kind) && self.kind == 'ingress'"
_TOLERATION: tuple[Rule, ...] = (
    (
        "(has(self.operator) && self.operator == 'Equal') == has(self.value)",
        "value stands with operator Equal, and only with it",
        "",
    ),
)
_DEFAULT_WITHIN: tuple[Rule, ...] = (
    (
        "!has(self.outputTokensDefault) || !has(self.outputTokensMax) || "
        "self.outputTokensDefault <= self.outputTokensMax",
        "outputTokensDefault is more than outputTokensMax",
        ".outputTokensDefault",
    ),
)
RULES: Mapping[str, tuple[Rule, ...]] = {
    "spec": (
        (
            "self.models.all(n, self.models.all(m, !has(m.aliases) || !(n.name in m.aliases)))",
            "an alias names a model already: a request for it could mean either",
            ".models",
        ),
        (
            "self.models.all(m, !has(m.aliases) || m.aliases.all(a, "
            "self.models.exists_one(n, has(n.aliases) && a in n.aliases)))",
            "two models have the same alias: a request for it could mean either",
            ".models",
        ),
        (
            "self.models.all(m, !has(m.fallbacks) || m.fallbacks.all(f, !has(f.provider) || (has(self.gateway) && "
            "has(self.gateway.providers) && self.gateway.providers.exists(p, p.name == f.provider))))",
            "a fallback names a provider that is not in gateway.providers",
            ".models",
        ),
    ),
    "spec.models[]": (
        (
            "!has(self.endpoints) || !has(self.hardware)",
            "hardware is for engines to start, but endpoints names engines that already run: keep one of the two",
            ".hardware",
        ),
        (
            "!has(self.endpoints) || !has(self.replicas) || self.replicas == size(self.endpoints)",
            "replicas is not the number of endpoints: remove it, with endpoints nothing is started",
            ".replicas",
        ),
        (
            "!has(self.trustRemoteCode) || !self.trustRemoteCode || has(self.revision) || "
            "(has(self.source) && self.source.matches('^(/|[.][.]?/|~)'))",
            "trustRemoteCode runs whatever code the model's owner puts there: pin revision to a commit that was read",
            ".trustRemoteCode",
        ),
    ),
    "spec.models[].fallbacks[]": (
        _only_one("model", "provider"),
        ("!has(self.providerModel) || has(self.provider)", "providerModel stands without a provider", ".providerModel"),
    ),
    "spec.models[].requests": _DEFAULT_WITHIN,
    "spec.models[].hardware": (
        (
            "!has(self.mig) || !has(self.count) || self.count == 1",
            "mig is a slice of one GPU, and count is not 1: an engine cannot span slices",
            ".mig",
        ),
    ),
    "spec.models[].autoscaling": (
        (
            "self.maxReplicas >= (has(self.minReplicas) ? self.minReplicas : 1)",
            "maxReplicas is less than minReplicas",
            ".maxReplicas",
        ),
        (
            "!(has(self.via) && self.via == 'hpa' && has(self.minReplicas) && self.minReplicas == 0)",
            "a HorizontalPodAutoscaler does not scale to zero by a per-replica metric: use via keda, or minReplicas 1",
            ".minReplicas",
        ),
        (
            "!(has(self.via) && self.via == 'hpa' && has(self.schedule) && size(self.schedule) > 0)",
            "schedule needs KEDA: a HorizontalPodAutoscaler knows no times",
            ".schedule",
        ),
        (
            "!has(self.schedule) || self.schedule.all(s, s.replicas <= self.maxReplicas)",
            "a schedule has more replicas than maxReplicas",
            ".schedule",
        ),
    ),
    "spec.models[].demand": (
        (
            "!has(self.trace) || !(has(self.requestsPerS) || has(self.inputTokens) || has(self.outputTokens))",
            "trace has rate and lengths of its own: keep one of the two",
            ".trace",
        ),
    ),
    "spec.models[].scheduling": (
        (
            "!has(self.onDemandReplicas) || self.onDemandReplicas == 0 || (has(self.spot) && self.spot == 'allowed')",
            "onDemandReplicas is a floor beside spot: allowed",
            ".onDemandReplicas",
        ),
    ),
    "spec.models[].scheduling.tolerations[]": _TOLERATION,
    "spec.hardware.classes[].tolerations[]": _TOLERATION,
    "spec.hardware.classes[]": (
        (
            "!has(self.draClass) || !has(self.timeSlices)",
            "timeSlices is for the device plugin, which draClass does without: keep one of the two",
            ".timeSlices",
        ),
    ),
    "spec.gateway.scale": (
        (
            "(has(self.maxReplicas) ? self.maxReplicas : 10) >= (has(self.minReplicas) ? self.minReplicas : 2)",
            "maxReplicas (10 where it is left out) is less than minReplicas (2 where it is left out)",
            "",
        ),
    ),
    "spec.gateway.expose": (
        (
            f"({_IS_INGRESS}) != has(self.gateway)",
            "gateway stands with kind httpRoute and virtualService, which attach to one, and not with ingress",
            "",
        ),
        (
            f"({_IS_INGRESS}) || !(has(self.className) || has(self.tlsSecret))",
            "className and tlsSecret are for kind ingress",
            "",
        ),
    ),
    "spec.gateway": (
        (
            "!has(self.rules) || self.rules.all(r, self.rules.exists_one(s, s.name == r.name))",
            "two rules have one name: logs could not tell the two apart",
            ".rules",
        ),
    ),
    "spec.gateway.requests": _DEFAULT_WITHIN,
    "spec.gateway.rules[].match": (
        (
            "!has(self.promptTokensMin) || !has(self.promptTokensMax) || self.promptTokensMin <= self.promptTokensMax",
            "promptTokensMin is more than promptTokensMax: no prompt fits both",
            ".promptTokensMin",
        ),
    ),
    "spec.gateway.limits": (
        (
            "!has(self.passwordFrom) || has(self.url)",
            "passwordFrom stands without url: there is no Redis to send the password to",
            ".passwordFrom",
        ),
    ),
    "spec.gateway.limits.passwordFrom": (_only_one("env", "secretKeyRef"),),
    "spec.gateway.providers[]": (
        (
            "!has(self.caFile) || self.url.matches('^[Hh][Tt][Tt][Pp][Ss]:')",
            "caFile stands beside an address in plain HTTP, where there is no certificate to check",
            ".caFile",
        ),
    ),
    "spec.gateway.providers[].keyFrom": (_only_one("env", "secretKeyRef"),),
    "spec.gateway.adminTokenFrom": (_only_one("env", "secretKeyRef"),),
    "spec.gateway.store.passwordFrom": (_only_one("env", "secretKeyRef"),),
    "spec.gateway.tenants[].keys[]": (_only_one("value", "valueFrom"),),
    "spec.gateway.tenants[].keys[].valueFrom": (_only_one("env", "secretKeyRef"),),
}
"""By the path of the object whose rules they are."""


def add_rules(spec: Node) -> None:
    """Puts the rules into the schema of `spec`, in place."""
    for path, rules in RULES.items():
        node = _at(spec, path)
        node["x-kubernetes-validations"] = [
            {"rule": rule, "message": message, **({"fieldPath": field} if field else {})}
            for rule, message, field in rules
        ]


def _at(spec: Node, path: str) -> Node:
    node = spec
    for part in path.removeprefix("spec").removeprefix(".").replace("[]", ".[]").split("."):
        if part == "[]":
            node = node["items"]
        elif part:
            node = node["properties"][part]
    return node
