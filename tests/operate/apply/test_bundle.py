"""What is applied for a fleet, with a controller and without."""

from __future__ import annotations

from penstock.facts import find_model
from penstock.operate.apply.bundle import applied_bundle, literal_keys
from penstock.operate.apply.objects import ref_of
from penstock.plan.manifests import Site
from penstock.plan.manifests.render import render, settle
from penstock.spec.loader import load_fleet


def site_of(extra: str = "") -> Site:
    text = f"""\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {{name: demo, namespace: llm, labels: {{team: a}}}}
spec:
  models: [{{name: chat, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}}}]
  gateway: {{auth: {{anonymous: true}}}}
{extra}"""
    found = settle(load_fleet(text, "f.yaml"), text, architecture_of=find_model)
    assert found.site is not None, found.findings
    return found.site


def test_without_a_controller_everything_is_applied() -> None:
    site = site_of()

    assert applied_bundle(site, render(site)) == render(site)


def test_with_a_controller_it_is_applied_with_the_fleet_and_makes_the_rest() -> None:
    site = site_of("  kubernetes: {controller: true}\n")

    bundle = applied_bundle(site, render(site))

    refs = [ref_of(obj) for obj in bundle.objects]
    assert [str(ref) for ref in refs if ref.kind == "Deployment"] == ["Deployment llm/demo-controller"]
    assert refs[0].kind in ("CustomResourceDefinition", "Namespace")
    assert refs[-1].kind == "Fleet"
    fleet = bundle.objects[-1]
    assert fleet["metadata"]["labels"]["penstock.dev/fleet"] == "demo"
    assert fleet["metadata"]["labels"]["team"] == "a"
    assert fleet["spec"]["models"] == [{"name": "chat", "source": "Qwen/Qwen3-8B", "hardware": {"gpu": "H100"}}]
    assert [manifest.wave for manifest in bundle.manifests] == sorted(manifest.wave for manifest in bundle.manifests)


def test_without_literal_keys_there_is_nothing_to_hide() -> None:
    assert literal_keys(site_of()) == ()
