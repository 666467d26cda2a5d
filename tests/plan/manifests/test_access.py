"""Rights: what each account may do, and that it is no more."""

from __future__ import annotations

from typing import Any

from penstock.plan.manifests.access import render_access
from penstock.plan.manifests.render import render
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


def test_a_kind_that_is_not_rendered_is_not_granted() -> None:
    open_policies = CHAT + OPEN + "  kubernetes: {controller: true, networkPolicies: false}\n"
    granted = _granted(found(render(site_from(open_policies)), "Role", "demo-controller")["rules"])

    assert not [entry for entry in granted if entry[1] == "networkpolicies"]
