"""The chart: Helm itself renders and lints it; its defaults are what was rendered, and its values do what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from penstock.facts import find_model
from penstock.plan.manifests import Site
from penstock.plan.manifests.formats import HEADER, helm_files
from penstock.plan.manifests.render import render, settle
from penstock.spec.loader import load_fleet
from plan.manifests.sites import CHAT, TENANT, site_from

FLEETS = sorted((Path(__file__).parents[1] / "fleets").glob("*.yaml"))
EVERYTHING = f"""{CHAT.replace("replicas: 2", "autoscaling: {maxReplicas: 4}")}{TENANT}    expose:
      {{kind: ingress, host: llm.example.com, className: nginx, tlsSecret: cert}}
  monitoring: {{}}
  kubernetes: {{controller: true, externalSecrets: {{store: vault}}}}
"""


def _site(text: str) -> Site:
    settled = settle(load_fleet(text, "fleet.yaml"), text, architecture_of=find_model)
    assert settled.site is not None, settled.findings
    return settled.site


def _chart(folder: Path, site: Site) -> Path:
    for path, text in helm_files(site, render(site)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def _helm(folder: Path, site: Site, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What Helm makes of the chart."""
    with helm_python.Chart.load(str(_chart(folder, site))) as chart:
        made = chart.render(values or {}, name=site.name, namespace=site.namespace)
    texts = [text for path, text in sorted(made.items()) if not path.endswith("NOTES.txt")]
    return [body for text in texts for body in yaml.safe_load_all(text) if body]


def _sorted(objects: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(body, sort_keys=True) for body in objects)


def _one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (body,) = [body for body in objects if body["kind"] == kind and body["metadata"]["name"] == name]
    return body


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_defaults_give_what_was_rendered_for_every_option(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    site = _site(text if "\n  gateway:" in text else text + "  gateway: {auth: {anonymous: true}}\n")

    rendered = [body for body in render(site).objects if body["kind"] != "Namespace"]
    assert _sorted(_helm(tmp_path, site)) == _sorted(rendered)


def test_defaults_give_what_was_rendered_but_for_the_namespace(tmp_path: Path) -> None:
    site = site_from(EVERYTHING, namespace="llm")
    rendered = [body for body in render(site).objects if body["kind"] != "Namespace"]

    assert _sorted(_helm(tmp_path, site)) == _sorted(rendered)


def test_helm_finds_nothing_to_say_of_it(tmp_path: Path) -> None:
    site = site_from(EVERYTHING, namespace="llm")
    report = helm_python.lint(str(_chart(tmp_path / "demo", site)), namespace="llm", strict=True)

    assert report["errors"] in ([], None)
    assert [message for message in report["messages"] or [] if message["severity"] > 1] == []


def test_values_change_what_they_name(tmp_path: Path) -> None:
    values = {
        "image": "mirror/penstock:1",
        "labels": {"team": "search"},
        "gateway": {"minReplicas": 3, "resources": {"memory": "2Gi"}},
        "models": {"demo-chat": {"image": "mirror/vllm:2", "maxReplicas": 9, "resources": {"cpu": 12}}},
        "expose": {"host": "other.example.com"},
    }
    made = _helm(tmp_path, site_from(EVERYTHING, namespace="llm"), values)

    assert [body["kind"] for body in made if body["metadata"]["labels"].get("team") != "search"] == []
    gateway = _one(made, "Deployment", "demo-gateway")["spec"]["template"]["spec"]["containers"][0]
    assert gateway["image"] == "mirror/penstock:1"
    assert gateway["resources"]["requests"]["memory"] == gateway["resources"]["limits"]["memory"] == "2Gi"
    assert _one(made, "HorizontalPodAutoscaler", "demo-gateway")["spec"]["minReplicas"] == 3
    engine = _one(made, "Deployment", "demo-chat")["spec"]["template"]["spec"]["containers"][0]
    assert engine["image"] == "mirror/vllm:2"
    assert str(engine["resources"]["requests"]["cpu"]) == "12"
    assert _one(made, "ScaledObject", "demo-chat")["spec"]["maxReplicaCount"] == 9
    ingress = _one(made, "Ingress", "demo-gateway")["spec"]
    assert ingress["rules"][0]["host"] == ingress["tls"][0]["hosts"][0] == "other.example.com"


def test_replicas_are_a_value_where_nothing_scales_them(tmp_path: Path) -> None:
    made = _helm(tmp_path, site_from(CHAT + TENANT), {"models": {"demo-chat": {"replicas": 5}}})
    assert _one(made, "Deployment", "demo-chat")["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("networkPolicies", {"NetworkPolicy"}),
        ("expose", {"Ingress"}),
        ("monitoring", {"PrometheusRule", "ServiceMonitor", "PodMonitor"}),
    ],
)
def test_groups_are_turned_off(name: str, kinds: set[str], tmp_path: Path) -> None:
    site = site_from(EVERYTHING, namespace="llm")
    before = {body["kind"] for body in _helm(tmp_path / "on", site)}
    after = {body["kind"] for body in _helm(tmp_path / "off", site, {name: {"enabled": False}})}

    assert kinds <= before
    assert not kinds & after


@pytest.mark.parametrize(
    "values",
    [
        {"gatway": {}},
        {"models": {"demo-chat": {"replica": 1}}},
        {"gateway": {"minReplicas": "many"}},
        {"gateway": {"resources": {"memory": "lots"}}},
        {"networkPolicies": {"enabled": "yes"}},
    ],
)
def test_a_typing_error_in_values_is_told(values: dict[str, Any], tmp_path: Path) -> None:
    with helm_python.Chart.load(str(_chart(tmp_path, site_from(EVERYTHING)))) as chart:  # noqa: SIM117
        with pytest.raises(helm_python.HelmError):
            chart.validate_schema(values)


def test_another_namespace_is_refused_in_words(tmp_path: Path) -> None:
    with helm_python.Chart.load(str(_chart(tmp_path, site_from(EVERYTHING, namespace="llm")))) as chart:  # noqa: SIM117
        with pytest.raises(helm_python.HelmError, match="rendered for namespace llm"):
            chart.render({}, name="demo", namespace="other")


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    def version(spec: str) -> str:
        site = site_from(spec)
        found: str = yaml.safe_load(helm_files(site, render(site))["Chart.yaml"])["version"]
        return found

    assert version(CHAT + TENANT) == version(CHAT + TENANT)
    assert version(CHAT + TENANT) != version(CHAT.replace("replicas: 2", "replicas: 3") + TENANT)


def test_every_file_says_that_it_is_ours() -> None:
    site = site_from(EVERYTHING)
    assert all(HEADER in text[:512] for text in helm_files(site, render(site)).values())
