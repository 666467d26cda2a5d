"""What is refused, in words, at its place."""

from __future__ import annotations

import pytest

from penstock.facts import find_model
from penstock.plan.manifests.findings import TEXT_BYTES_MAX, is_namespace
from penstock.plan.manifests.render import settle
from penstock.spec.loader import load_fleet
from plan.manifests.sites import CHAT, DATABASE, OPEN, findings_of


def test_a_gateway_open_to_all_is_refused_unless_it_is_meant() -> None:
    assert [finding.at for finding in findings_of(CHAT)] == [("spec", "gateway")]
    assert "anonymous: true" in (findings_of(CHAT)[0].hint or "")
    assert findings_of(CHAT + OPEN) == []


def test_a_gateway_whose_keys_are_all_in_a_store_is_not_open() -> None:
    assert findings_of(CHAT + DATABASE) == []


@pytest.mark.parametrize(
    ("gateway", "field"),
    [("tls: {certFile: a.pem, keyFile: b.pem}", "tls"), ("accessLog: /var/log/a.log", "accessLog")],
)
def test_files_of_this_machine_are_refused(gateway: str, field: str) -> None:
    findings = findings_of(f"{CHAT}  gateway: {{auth: {{anonymous: true}}, {gateway}}}\n")
    assert [finding.at for finding in findings] == [("spec", "gateway", field)]


@pytest.mark.parametrize("file", ["corp.pem", "/etc/ssl/corp.pem", "secrets/corp", "secrets/a/../../corp/ca.crt"])
def test_cas_that_no_secret_holds_are_refused(file: str) -> None:
    provider = f"{{name: p, url: 'https://h/v1', caFile: '{file}'}}"
    (finding,) = findings_of(f"{CHAT}  gateway: {{auth: {{anonymous: true}}, providers: [{provider}]}}\n")
    assert finding.at == ("spec", "gateway", "providers", 0, "caFile")
    assert "secrets/SECRET/KEY" in (finding.hint or "")


def test_a_fleet_whose_name_begins_with_a_digit_is_refused_once() -> None:
    text = f"apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: 1st}}\nspec:\n{CHAT}{OPEN}"
    found = settle(load_fleet(text, "fleet.yaml"), text, architecture_of=find_model).findings
    assert [finding.at for finding in found] == [("metadata", "name")]


def test_what_cannot_be_planned_is_told_beside_what_cannot_be_rendered() -> None:
    findings = findings_of("  models: [{name: big, source: meta-llama/Llama-3.1-70B, hardware: {gpu: L4, count: 1}}]\n")

    assert ("spec", "gateway") in [finding.at for finding in findings]
    assert any(finding.at[:3] == ("spec", "models", 0) for finding in findings)


def test_a_file_larger_than_a_config_map_is_refused() -> None:
    assert [f.at for f in findings_of(CHAT + OPEN + "# " + "x" * TEXT_BYTES_MAX + "\n")] == [()]


@pytest.mark.parametrize(
    ("clusters", "field"),
    [
        ("[{name: eu}, {name: eu}]", ("spec", "clusters", 1, "name")),
        ("[{name: eu, models: [chat, caht]}]", ("spec", "clusters", 0, "models", 1)),
    ],
)
def test_clusters_that_mean_nothing_are_refused(clusters: str, field: tuple[str | int, ...]) -> None:
    assert [finding.at for finding in findings_of(f"{CHAT}{OPEN}  clusters: {clusters}\n")] == [field]


def test_a_forecast_that_nobody_would_make_is_refused() -> None:
    scaled = CHAT.replace("replicas: 2", "autoscaling: {via: penstock, maxReplicas: 4}")
    (finding,) = findings_of(scaled + OPEN)

    assert finding.at == ("spec", "models", 0, "autoscaling", "via")
    assert "controller: true" in (finding.hint or "")
    assert findings_of(scaled + OPEN + "  kubernetes: {controller: true}\n") == []


def test_an_annotation_that_no_object_may_have_is_refused() -> None:
    expose = "expose: {kind: ingress, host: a.example, annotations: {'a b': c}}"
    findings = findings_of(f"{CHAT}  gateway: {{auth: {{anonymous: true}}, {expose}}}\n")
    assert [finding.at[-2:] for finding in findings] == [("annotations", "a b")]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("llm", True), ("a" * 63, True), ("a" * 64, False), ("LLM", False), ("", False), ("a.b", False)],
)
def test_what_a_namespace_may_be_called(name: str, is_one: bool) -> None:
    assert is_namespace(name) is is_one
