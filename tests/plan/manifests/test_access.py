"""Rights: what each account may do, and that it is no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.facts import find_model
from penstock.operate.testing import Cluster
from penstock.plan.manifests.access import render_access
from penstock.plan.manifests.render import render, settle
from penstock.spec.loader import load_fleet
from plan.manifests.sites import CHAT, OPEN, found, site_from

CONTROLLED = CHAT + OPEN + "  kubernetes: {controller: true}\n"


def _granted(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {
        (g, r, verb) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for verb in rule["verbs"]
    }


def test_the_gateway_reads_endpoint_slices_and_nothing_else() -> None:
    role = found(render_access(site_from()), "Role")
    assert _granted(role["rules"]) == {("discovery.k8s.io", "endpointslices", v) for v in ("get", "list", "watch")}


def test_no_account_mounts_its_token_by_itself() -> None:
    accounts = [m.object for m in render(site_from(CONTROLLED)).manifests if m.kind == "ServiceAccount"]
    assert accounts
    assert all(account["automountServiceAccountToken"] is False for account in accounts)


def test_without_a_controller_nobody_may_write() -> None:
    roles = [m.object for m in render(site_from()).manifests if m.kind in ("Role", "ClusterRole")]
    assert {verb for role in roles for _, _, verb in _granted(role["rules"])} == {"get", "list", "watch"}


def test_the_controller_may_keep_each_kind_that_is_rendered() -> None:
    bundle = render(site_from(CONTROLLED, namespace="llm"))
    granted = _granted(found(bundle, "Role", "demo-controller")["rules"])

    for group, resource in (("apps", "deployments"), ("", "services"), ("networking.k8s.io", "networkpolicies")):
        assert {(group, resource, verb) for verb in ("create", "patch", "delete", "watch")} <= granted
    assert ("", "secrets", "get") not in granted
    assert not [entry for entry in granted if "*" in entry]


def test_the_controller_may_give_the_gateway_only_what_it_has_itself() -> None:
    bundle = render(site_from(CONTROLLED))
    gateway = _granted(found(bundle, "Role", "demo-gateway")["rules"])

    assert gateway <= _granted(found(bundle, "Role", "demo-controller")["rules"])


FLEETS = sorted((Path(__file__).parent / "fleets").glob("*.yaml"))


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_the_controller_may_keep_every_kind_of_every_option(path: Path) -> None:
    """Resources as the API server itself names them."""
    text = path.read_text(encoding="utf-8")
    site = settle(load_fleet(text, path.name), text, architecture_of=find_model).site
    assert site is not None
    granted = _granted(found(render(site_from(CONTROLLED)), "Role", "demo-controller")["rules"])
    catalog = Cluster().catalog

    for manifest in render(site).manifests:
        group = manifest.body["apiVersion"].rpartition("/")[0]
        kind = catalog.of_kind(manifest.body["apiVersion"], manifest.kind)
        plural = kind.plural if kind is not None else f"{manifest.kind.lower()}s"
        if manifest.namespace is not None:
            assert (group, plural, "patch") in granted


def test_of_the_cluster_the_controller_changes_only_its_priority_classes() -> None:
    role = found(render(site_from(CONTROLLED)), "ClusterRole")

    changing = [rule for rule in role["rules"] if {"patch", "delete", "update"} & set(rule["verbs"])]
    assert [(rule["resources"], rule["resourceNames"]) for rule in changing] == [
        (["priorityclasses"], ["penstock-batch", "penstock-serving"])
    ]
