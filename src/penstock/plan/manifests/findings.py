"""What of a fleet file cannot be a cluster's objects, in words, each with its place in the file. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.plan.manifests.expose import expose_findings
from penstock.plan.manifests.keys import ca_files, key_findings, ref_findings
from penstock.plan.manifests.outside import outside_findings
from penstock.plan.manifests.store import store_findings
from penstock.spec import Fleet
from penstock.spec.base import FieldPath, Finding

__all__ = ["TEXT_BYTES_MAX", "cluster_findings", "is_namespace"]

TEXT_BYTES_MAX = 1_000_000
"""A ConfigMap holds 1 MiB with its metadata; last-applied copies and annotations take their part."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"(([a-z0-9]([-a-z0-9.]*[a-z0-9])?)/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def cluster_findings(fleet: Fleet, text: str) -> Iterator[Finding]:
    """Everything that is wrong at once."""
    yield from _open_to_all(fleet)
    yield from key_findings(fleet)
    yield from store_findings(fleet)
    yield from outside_findings(fleet)
    yield from _not_in_a_pod(fleet)
    yield from expose_findings(fleet)
    yield from _names(fleet)
    yield from _clusters(fleet)
    yield from _scaling(fleet)
    token = fleet.spec.kubernetes.hugging_face_token
    if token is not None:
        yield from ref_findings(("spec", "kubernetes", "huggingFaceToken"), token)
    if len(text.encode()) > TEXT_BYTES_MAX:
        message = f"the file has {len(text.encode()):,} bytes, and a ConfigMap holds {TEXT_BYTES_MAX:,}"
        yield Finding(at=(), message=message, hint="split it into two fleets")


def is_namespace(name: str) -> bool:
    """Whether a namespace may be called so."""
    return _NAMESPACE.fullmatch(name) is not None


def _clusters(fleet: Fleet) -> Iterator[Finding]:
    """Clusters that would write over each other's folder, or run a model that there is not."""
    models = {model.name for model in fleet.spec.models}
    known: set[str] = set()
    for place, cluster in enumerate(fleet.spec.clusters):
        at: FieldPath = ("spec", "clusters", place)
        if cluster.name in known:
            yield Finding(at=(*at, "name"), message=f"{cluster.name!r} is another cluster's name already")
        known.add(cluster.name)
        for index, name in enumerate(cluster.models or ()):
            if name not in models:
                hint = f"models here: {', '.join(sorted(models))}"
                yield Finding(at=(*at, "models", index), message=f"{name!r} is no model of this fleet", hint=hint)


def _scaling(fleet: Fleet) -> Iterator[Finding]:
    """A forecast that nobody makes: an HPA with one metric that fails never scales down."""
    for place, model in enumerate(fleet.spec.models):
        if model.autoscaling is None or model.autoscaling.via != "penstock" or fleet.spec.kubernetes.controller:
            continue
        message = "`penstock` asks the controller for its forecast, and this fleet has none: it would never scale down"
        hint = "say `kubernetes: {controller: true}`, or `via: keda`, which asks Prometheus alone"
        yield Finding(at=("spec", "models", place, "autoscaling", "via"), message=message, hint=hint)


def _open_to_all(fleet: Fleet) -> Iterator[Finding]:
    """The gateway itself refuses to start so."""
    gateway = fleet.spec.gateway
    if not gateway.tenants and gateway.store is None and gateway.auth.anonymous is None:
        message = (
            "names no tenant and no key, and in a cluster the gateway listens on the network: anyone who reaches it "
            "could use the GPUs"
        )
        hint = (
            "name a tenant with a key under spec.gateway.tenants, or a `store` that holds keys, or say "
            "`auth: {anonymous: true}` if it is meant"
        )
        yield Finding(at=("spec", "gateway"), message=message, hint=hint)


def _not_in_a_pod(fleet: Fleet) -> Iterator[Finding]:
    """Settings that name files of the machine the file was written for."""
    gateway = fleet.spec.gateway
    if gateway.tls is not None:
        message = "names files of this machine, which the gateway's pods do not have"
        hint = "let TLS end at the Gateway or the Ingress (`expose.tlsSecret`)"
        yield Finding(at=("spec", "gateway", "tls"), message=message, hint=hint)
    for at, ref in ca_files(fleet):
        if ref is None:
            message = "is a file of this machine, which the gateway's pods do not have"
            hint = "put it into a Secret and say `secrets/SECRET/KEY`: that key of that Secret is then mounted there"
            yield Finding(at=at, message=message, hint=hint)
    if gateway.access_log not in ("auto", "stdout", "stderr", "off"):
        message = "is a file, and the gateway's pods have no disk that lasts"
        yield Finding(at=("spec", "gateway", "accessLog"), message=message, hint="say `stdout`: the cluster keeps it")


def _names(fleet: Fleet) -> Iterator[Finding]:
    metadata = fleet.metadata
    if not metadata.name[0].isalpha():
        message = f"is {metadata.name}: Services are named after it, and their names begin with a letter"
        hint = f"begin it with a letter, as in `fleet-{metadata.name}`"
        yield Finding(at=("metadata", "name"), message=message, hint=hint)
    if metadata.namespace is not None and not is_namespace(metadata.namespace):
        hint = "at most 63 lower-case letters, digits and `-`"
        yield Finding(at=("metadata", "namespace"), message="is no name that a namespace may have", hint=hint)
    expose = fleet.spec.gateway.expose
    for key in expose.annotations if expose is not None else ():
        if not _LABEL.fullmatch(key):
            at: FieldPath = ("spec", "gateway", "expose", "annotations", key)
            yield Finding(at=at, message="is no name of an annotation", hint="as in `haproxy.org/timeout-server`")
    for key, value in metadata.labels.items():
        if not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            message = "is no label that an object may have"
            yield Finding(at=("metadata", "labels", key), message=message, hint="as in `team: search`")
