"""Sites for tests: a fleet file's `spec` as text, settled for one cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.facts import find_model
from penstock.plan.manifests import Bundle, Manifest, Site
from penstock.plan.manifests.render import render, settle
from penstock.spec import ClusterSpec
from penstock.spec.base import Finding
from penstock.spec.loader import load_fleet

__all__ = ["CHAT", "DATABASE", "OPEN", "TENANT", "bundle_of", "findings_of", "found", "site_from"]

CHAT = """\
  models:
    - {name: chat, source: Qwen/Qwen3-8B, replicas: 2, hardware: {gpu: H100}}
"""
OPEN = "  gateway: {auth: {anonymous: true}}\n"
TENANT = """\
  gateway:
    tenants:
      - {name: acme, keys: [{valueFrom: {secretKeyRef: {name: keys, key: acme}}}]}
"""
DATABASE = """\
  gateway:
    adminTokenFrom: {env: ADMIN_TOKEN}
    store:
      url: postgresql://penstock@db.example:6432/penstock?sslmode=verify-full&sslrootcert=/etc/penstock/secrets/db/ca.crt
      passwordFrom: {secretKeyRef: {name: db, key: password}}
"""


def _text(spec: str, namespace: str | None) -> str:
    place = f", namespace: {namespace}" if namespace else ""
    head = f"apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: demo{place}}}\nspec:\n"
    return head + spec


def site_from(spec: str = CHAT + OPEN, *, namespace: str | None = None, cluster: ClusterSpec | None = None) -> Site:
    """The site of a fleet whose file says `spec`, two spaces deep."""
    text = _text(spec, namespace)
    settled = settle(load_fleet(text, "fleet.yaml"), text, architecture_of=find_model, cluster=cluster)
    assert settled.site is not None, settled.findings
    return settled.site


def findings_of(spec: str) -> list[Finding]:
    """Why such a fleet is not rendered."""
    text = _text(spec, None)
    return list(settle(load_fleet(text, "fleet.yaml"), text, architecture_of=find_model).findings)


def bundle_of(spec: str = CHAT + OPEN, *, namespace: str | None = None) -> Bundle:
    """Everything that such a fleet is."""
    return render(site_from(spec, namespace=namespace))


def found(source: Bundle | Iterable[Manifest], kind: str, name: str | None = None) -> dict[str, Any]:
    """The one object of a kind and name, without reasons."""
    manifests = list(source.manifests) if isinstance(source, Bundle) else list(source)
    objects = [m.object for m in manifests if m.kind == kind and name in (None, m.name)]
    assert len(objects) == 1, [(m.kind, m.name) for m in manifests]
    return objects[0]
