"""The rules as Prometheus reads them, and that everything they ask for exists."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from penstock.plan.manifests.keda import scaled_object
from penstock.plan.manifests.monitoring import monitoring
from penstock.plan.manifests.monitoring.gpus import GPU_METRICS
from penstock.plan.manifests.monitoring.rules import rules
from plan.manifests.monitoring.names import RECORDED, engine_series, gateway_series, selectors
from plan.manifests.monitoring.worlds import FLEET, site
from plan.manifests.promtool import groups_of, lint, needs_promtool
from plan.manifests.sites import OPEN, site_from
from plan.manifests.validation import problems_of

SITE = site()
TARGET_LABELS = {"namespace", "fleet", "component", "pod", "model"}
"""What our monitors put on every series; `model` on engines' only, the gateway says it itself."""
KUBERNETES = {
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_ready",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_status_condition",
    "kube_horizontalpodautoscaler_status_desired_replicas",
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_container_status_restarts_total",
    "kube_pod_start_time",
    "kube_pod_status_ready_time",
    "kube_statefulset_replicas",
    "kube_statefulset_status_replicas_ready",
}
"""Of kube-state-metrics, as its documentation lists them."""


def all_rules() -> list[dict[str, Any]]:
    return [rule for group in groups_of(SITE) for rule in group["rules"]]


def expressions() -> dict[str, str]:
    """Everything that is asked: rules and the triggers of KEDA."""
    found = {f"{rule.get('alert', rule.get('record'))} {n}": rule["expr"] for n, rule in enumerate(all_rules())}
    for needs in SITE.needs.values():
        assert needs.spec.autoscaling is not None
        body = scaled_object(SITE, needs, needs.spec.autoscaling).object
        for trigger in body["spec"]["triggers"]:
            found[f"KEDA {needs.spec.name} {trigger['name']}"] = trigger["metadata"]["query"]
    return found


@needs_promtool
@pytest.mark.parametrize("interval_s", [5, 15, 120, 300])
def test_prometheus_has_nothing_against_them(interval_s: int) -> None:
    assert lint(groups_of(site(FLEET.replace("monitoring: {}", f"monitoring: {{intervalS: {interval_s}}}")))) == ""


@needs_promtool
def test_nor_has_it_against_what_keda_asks() -> None:
    rules_ = [{"record": f"asked:{n}", "expr": expr} for n, expr in enumerate(expressions().values())]

    assert lint([{"name": "keda", "rules": rules_}]) == ""


def test_the_api_server_takes_them_as_they_are() -> None:
    assert problems_of([manifest.object for manifest in rules(SITE)]) == []


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers of vLLM are not beside this checkout")
def test_every_series_that_is_asked_for_has_been_seen_with_every_label() -> None:
    recorded = {rule["record"] for rule in all_rules() if "record" in rule}
    targets = {"up", "process_start_time_seconds"}
    seen = {**engine_series(), **gateway_series()}
    unseen: list[str] = []
    for where, expr in expressions().items():
        for name, labels in selectors(expr):
            if name in recorded or name in targets or name in KUBERNETES or name in GPU_METRICS:
                continue
            missing = labels - TARGET_LABELS - seen.get(name, set())
            if name not in seen or missing:
                unseen.append(f"{where}: {name} {sorted(missing)}")
    assert unseen == []


def test_what_is_recorded_is_recorded_before_it_is_asked_for() -> None:
    known: set[str] = set()
    for rule in all_rules():
        wanted = set(re.findall(r"penstock:[a-z_]+:[a-z0-9_]+", rule["expr"]))
        assert wanted <= known, rule
        known |= {rule["record"]} if "record" in rule else set()


def test_every_rate_has_four_scrapes_at_least() -> None:
    for interval_s in (15, 60, 300):
        found = site(FLEET.replace("monitoring: {}", f"monitoring: {{intervalS: {interval_s}}}"))
        units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
        for rule in (rule for group in groups_of(found) for rule in group["rules"]):
            for number, unit in re.findall(r"(?:rate|increase)\([^\[]*\[(\d+)([smhd])\]", rule["expr"]):
                assert int(number) * units[unit] >= 4 * interval_s, rule


def test_every_alert_tells_a_person_what_where_and_what_to_do() -> None:
    for rule in (rule for rule in all_rules() if "alert" in rule):
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert notes["runbook_url"] == f"https://penstock.dev/runbooks/{rule['alert']}"
        assert len(notes["summary"]) < 160
        assert notes["description"].endswith(".")


def test_pages_are_where_the_file_says() -> None:
    elsewhere = site(FLEET.replace("monitoring: {}", "monitoring: {runbookUrl: 'https://wiki.example.com/llm/'}"))

    urls = {rule["annotations"]["runbook_url"] for g in groups_of(elsewhere) for rule in g["rules"] if "alert" in rule}
    assert all(url.startswith("https://wiki.example.com/llm/Penstock") for url in urls)


def test_labels_by_which_prometheus_finds_its_rules_are_on_them() -> None:
    found = site(FLEET.replace("monitoring: {}", "monitoring: {labels: {release: prom}}"))

    assert {manifest.object["metadata"]["labels"]["release"] for manifest in rules(found)} == {"prom"}


def test_no_object_is_too_large_for_prometheus_operator_or_kubectl_however_many_models() -> None:
    """The operator takes 512 KiB in one; `kubectl apply` keeps a copy of 256 KiB at most in an annotation."""
    models = "".join(
        f"    - {{name: m{n}, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}, objectives: {{ttftMs: 300, itlMs: 50}}, "
        "autoscaling: {maxReplicas: 8}}\n"
        for n in range(100)
    )
    many = site_from(f"  monitoring: {{}}\n  models:\n{models}{OPEN}")

    assert max(len(json.dumps(manifest.object)) for manifest in monitoring(many)) < 100_000


@needs_promtool
def test_a_fleet_without_objectives_or_scaling_has_rules_all_the_same() -> None:
    plain = site_from("  monitoring: {}\n  models: [{name: a, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}]\n" + OPEN)

    assert lint(groups_of(plain)) == ""
