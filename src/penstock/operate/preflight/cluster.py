"""What the cluster itself must be: its version, what it serves, the namespace, and what it would refuse. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.facts.flags import version_key
from penstock.operate.apply.objects import at, labels
from penstock.operate.preflight.case import Case, failed, ok
from penstock.operate.preflight.survey import Check, Status

__all__ = ["KUBERNETES_MIN", "dry_run", "kinds", "namespace", "version"]

KUBERNETES_MIN = "1.30"
"""Rendered pods wait before they stop by the `sleep` of their container, which Kubernetes has since 1.30."""
_SINCE = {"dra": "1.34", "image": "1.33"}
"""What a fleet may ask for, with the version that has it on: `resource.k8s.io/v1`; image volumes."""


def version(case: Case) -> Iterator[Check]:
    """Whether the cluster is new enough for what the fleet asks."""
    if case.survey.version is None:
        yield case.unknown("kubernetes-version", "version")
        return
    wanted = {KUBERNETES_MIN: "its pods are stopped in order"}
    for needs in case.site.needs.values():
        if case.site.gpu_class(needs).dra_class is not None:
            wanted[_SINCE["dra"]] = f"{needs.spec.name} claims its GPUs by dynamic resource allocation"
        if case.site.storage(needs).mode == "image":
            wanted[_SINCE["image"]] = f"{needs.spec.name} has its files in an image volume"
    for least, why in wanted.items():
        if version_key(case.survey.version)[:2] < version_key(least):
            message = f"the cluster is Kubernetes {case.survey.version}; {least} is needed, since {why}"
            yield failed("kubernetes-version", "", message, hint="upgrade it")
            return
    yield ok("kubernetes-version", "", f"Kubernetes {case.survey.version}")


_BRINGS = {
    "monitoring.coreos.com": "install the Prometheus operator, as by the chart kube-prometheus-stack",
    "keda.sh": "install KEDA, or say `autoscaling.via: hpa`",
    "gateway.networking.k8s.io": "install the Gateway API and a controller for it, or say `expose.kind: ingress`",
    "networking.istio.io": "install Istio, or say `expose.kind: httpRoute`",
    "leaderworkerset.x-k8s.io": "install LeaderWorkerSet, or use nodes with as many GPUs as a replica has",
    "external-secrets.io": "install the External Secrets operator, or make the Secrets yourself",
    "resource.k8s.io": "dynamic resource allocation is not served: leave `draClass` out",
    "penstock.dev": "`penstock apply` makes it",
}


def kinds(case: Case) -> Iterator[Check]:
    """Whether the cluster serves every kind that the fleet renders."""
    for api_version, kind in case.survey.missing_kinds:
        group = api_version.partition("/")[0]
        is_ours = group == "penstock.dev"
        yield Check(
            id="api-served",
            about=f"{kind}.{group}",
            status=Status.OK if is_ours else Status.FAILED,
            message=f"the cluster serves no {api_version} {kind}",
            hint=_BRINGS.get(group, "install what serves it"),
        )
    if not case.survey.missing_kinds:
        count = len({(str(m.body["apiVersion"]), m.kind) for m in case.bundle.manifests})
        yield ok("api-served", "", f"all {count} kinds are served")


def namespace(case: Case) -> Iterator[Check]:
    """Whether the namespace can be applied to."""
    if case.survey.namespace is None:
        if "namespace" in case.survey.unread:
            yield case.unknown("namespace", "namespace", case.site.namespace)
        else:
            message = f"there is no namespace {case.site.namespace} yet"
            yield ok("namespace", case.site.namespace, message, hint="`penstock apply` makes it")
        return
    phase = at(case.survey.namespace, "status", "phase", default="Active")
    if phase != "Active":
        message = f"the namespace {case.site.namespace} is {phase}"
        yield failed("namespace", case.site.namespace, message, hint="wait until it is gone")
        return
    enforced = labels(case.survey.namespace).get("pod-security.kubernetes.io/enforce", "privileged")
    message = f"the namespace is there; pod security: {enforced}"
    yield ok("namespace", case.site.namespace, message)


def dry_run(case: Case) -> Iterator[Check]:
    """What the API server, its admission and our rights say to each object."""
    for refusal in case.survey.dry_runs:
        yield failed("dry-run", refusal.subject, refusal.message, hint=refusal.hint)
    if "dry_runs" in case.survey.unread:
        yield case.unknown("dry-run", "dry_runs")
    elif not case.survey.dry_runs:
        message = f"the API server would take all {len(case.bundle.manifests)} objects"
        yield ok("dry-run", "", message)
