"""The namespace object."""

from __future__ import annotations

from penstock.plan.manifests.namespace import render_namespace
from plan.manifests.sites import found, site_from


def test_default_is_never_rendered() -> None:
    assert list(render_namespace(site_from())) == []


def test_any_other_keeps_pods_restricted_and_is_not_pruned_with_the_fleet() -> None:
    labels = found(render_namespace(site_from(namespace="llm")), "Namespace")["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert "penstock.dev/fleet" not in labels
