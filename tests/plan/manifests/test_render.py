"""The whole: order, determinism, what an API server says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.facts import find_model
from penstock.plan.manifests import emit_all
from penstock.plan.manifests.render import render, settle
from penstock.spec.loader import load_fleet
from plan.manifests.sites import CHAT, DATABASE, OPEN, TENANT, bundle_of, site_from
from plan.manifests.validation import CRDS, problems_of, rewritten_lists

GOLDEN = Path(__file__).parent / "golden" / "gateway"
EVERYTHING = f"""{CHAT}{TENANT}    expose: {{host: llm.example.com, gateway: infra/public}}
  monitoring: {{}}
  kubernetes:
    controller: true
    externalSecrets: {{store: vault}}
    huggingFaceToken: {{name: hf, key: token}}
"""


def test_objects_come_in_the_order_in_which_they_are_applied() -> None:
    waves = [manifest.wave for manifest in bundle_of(EVERYTHING, namespace="llm").manifests]
    assert waves == sorted(waves)


def test_an_api_server_takes_everything_as_it_is() -> None:
    assert problems_of(bundle_of().objects) == []
    assert problems_of(bundle_of(EVERYTHING, namespace="llm").objects) == []
    assert problems_of(bundle_of(CHAT + DATABASE, namespace="llm").objects) == []


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "fleets").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_api_server_takes_every_option(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "\n  gateway:" not in text:
        text += "  gateway: {auth: {anonymous: true}}\n"
    settled = settle(load_fleet(text, path.name), text, architecture_of=find_model)

    assert settled.findings == ()
    assert settled.site is not None
    assert problems_of(render(settled.site).objects) == []


def test_two_runs_give_the_same_bytes() -> None:
    first, second = (emit_all(bundle_of(EVERYTHING).manifests) for _ in range(2))
    assert first == second


def test_every_namespaced_object_is_in_the_namespace_and_can_be_pruned() -> None:
    for manifest in render(site_from(EVERYTHING, namespace="llm")).manifests:
        labels = manifest.object["metadata"]["labels"]
        assert manifest.namespace in ("llm", None)
        assert manifest.namespace is None or labels["penstock.dev/fleet"] == "demo", manifest.name


def test_no_two_objects_are_one() -> None:
    objects = bundle_of(EVERYTHING).manifests
    assert len({(m.body["apiVersion"], m.kind, m.namespace, m.name) for m in objects}) == len(objects)


def test_what_a_person_must_see_to_is_told() -> None:
    assert any("Secret default/keys" in note for note in bundle_of(CHAT + TENANT).notes)
    far = "  models: [{name: far, endpoints: ['http://10.0.0.1:8000']}]\n"
    assert bundle_of(far + OPEN).notes == ()


@pytest.mark.skipif(not CRDS.is_dir(), reason="no CRD files at hand")
def test_a_second_apply_by_kubectl_finds_no_list_changed() -> None:
    bundles = [bundle_of(text, namespace="llm") for text in REVIEWED.values()]

    assert [at for bundle in bundles for body in bundle.objects for at in rewritten_lists(body)] == []


def test_a_list_that_defaults_fill_in_is_found() -> None:
    """The check above can fail."""
    if not CRDS.is_dir():
        pytest.skip("no CRD files at hand")
    route = {"parentRefs": [{"name": "a"}], "hostnames": ["a.example"]}
    body = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {}, "spec": route}

    assert list(rewritten_lists(body)) == ["HTTPRoute.spec.parentRefs"]


STEADY = (
    "  models: [{name: chat, source: Qwen/Qwen3-8B, replicas: 2, hardware: {gpu: H100}, engine: {stopTimeoutS: 60}}]\n"
)
"""No number of it follows from a prediction, which gets better with each measurement."""
REVIEWED = {
    "gateway": STEADY + OPEN,
    "everything": EVERYTHING.replace(CHAT, STEADY),
    "store": STEADY + DATABASE,
    "ingress": STEADY
    + "  gateway: {auth: {anonymous: true}, expose: {kind: ingress, host: a.example, className: nginx}}\n",
    "istio": STEADY
    + "  gateway: {auth: {anonymous: true}, expose: {kind: virtualService, host: a.example, gateway: g, path: /llm}}\n",
}


@pytest.mark.parametrize("name", REVIEWED)
def test_the_text_is_the_golden_one(name: str) -> None:
    """Of everything but engines, scaling and monitoring, which have golden files of their own."""
    parts = ("namespace", "gateway", "controller", "network", "secrets", "expose")
    bundle = bundle_of(REVIEWED[name], namespace="llm")
    text = emit_all(manifest for manifest in bundle.manifests if manifest.file in parts)
    golden = GOLDEN / f"{name}.yaml"
    if os.environ.get("PENSTOCK_WRITE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text, encoding="utf-8")

    assert text == golden.read_text(encoding="utf-8"), "review it, then `make golden`"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(REVIEWED)
