"""The controller in a cluster."""

from __future__ import annotations

from penstock.plan.manifests.controller import render_controller
from plan.manifests.sites import CHAT, OPEN, found, site_from


def test_there_is_none_unless_it_is_asked_for() -> None:
    assert list(render_controller(site_from())) == []


def test_there_are_never_two_at_once() -> None:
    site = site_from(CHAT + OPEN + "  kubernetes: {controller: true}\n")
    spec = found(render_controller(site), "Deployment")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    args = spec["template"]["spec"]["containers"][0]["args"]
    assert args == ["controller", "--fleet", "demo", "--listen", "0.0.0.0:8081", "--scaler", "0.0.0.0:6000"]
