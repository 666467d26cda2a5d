"""HorizontalPodAutoscalers on what pods say, and the adapter's rule."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from penstock.plan.manifests.hpa import POD_METRIC, POD_QUERY, adapter_values, autoscaler
from plan.manifests.promtool import Sample, assert_answers, needs_promtool
from plan.manifests.sites import OPEN, site_from
from plan.manifests.validation import problems_of


def site_with(autoscaling: str = "via: hpa, maxReplicas: 8", fleet: str = "") -> Any:
    model = f"{{name: chat, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}, autoscaling: {{{autoscaling}}}}}"
    return site_from(f"{fleet}  models: [{model}]\n{OPEN}", namespace="llm")


def scaled(autoscaling: str = "via: hpa, maxReplicas: 8") -> dict[str, Any]:
    site = site_with(autoscaling)
    needs = site.needs["chat"]
    body = autoscaler(site, needs, needs.spec.autoscaling).object
    assert problems_of([body]) == []
    return body


def rule(fleet: str = "") -> dict[str, Any]:
    body = adapter_values(site_with(fleet=fleet)).object
    assert problems_of([body]) == []
    values: dict[str, Any] = YAML(typ="safe").load(body["data"]["values.yaml"])
    return values


def test_it_goes_by_the_requests_of_each_pod() -> None:
    body = scaled()

    assert body["apiVersion"] == "autoscaling/v2"
    (metric,) = body["spec"]["metrics"]
    assert metric["type"] == "Pods"
    assert metric["pods"]["metric"] == {"name": POD_METRIC}
    assert metric["pods"]["target"]["type"] == "AverageValue"


@pytest.mark.parametrize(("said", "kept"), [("12", "12"), ("2.5", "2500m"), ("0.75", "750m")])
def test_the_target_is_written_as_the_api_server_keeps_it(said: str, kept: str) -> None:
    body = scaled(f"via: hpa, maxReplicas: 8, targetConcurrency: {said}")

    assert body["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == kept


def test_it_comes_fast_and_goes_slowly() -> None:
    behavior = scaled()["spec"]["behavior"]

    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]


def test_the_metrics_name_has_no_colon_which_breaks_the_apis_path() -> None:
    assert ":" not in POD_METRIC
    assert rule()["rules"]["custom"][0]["name"] == {"as": POD_METRIC}


def test_the_adapter_asks_the_prometheus_of_the_file() -> None:
    values = rule("  monitoring: {prometheusUrl: 'https://metrics.example.com/select/0', intervalS: 60}\n")

    assert values["prometheus"] == {"url": "https://metrics.example.com", "port": 443, "path": "/select/0"}
    assert values["metricsRelistInterval"] == "2m"
    assert rule()["prometheus"] == {"url": "http://prometheus-operated.monitoring.svc", "port": 9090}


def substituted(namespace: str, pods: list[str]) -> str:
    """The query as the adapter asks it for a Pods metric: its two templates filled in."""
    matchers = f'namespace="{namespace}",pod=~"{"|".join(pods)}"'
    query = rule()["rules"]["custom"][0]["metricsQuery"]
    assert query == POD_QUERY
    return str(query).replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "pod")


@needs_promtool
def test_the_rule_gives_one_number_for_each_pod_that_is_asked_for() -> None:
    labels = 'fleet="demo",component="engine",model="chat",model_name="x"'
    series = {
        f'vllm:num_requests_{kind}{{namespace="{place}",pod="{pod}",engine="{engine}",{labels}}}': f"{value}x40"
        for kind, place, pod, engine, value in (
            ("running", "llm", "a", 0, 10),
            ("running", "llm", "a", 1, 4),  # data parallel: two engines in a pod
            ("waiting", "llm", "a", 0, 3),
            ("waiting", "llm", "a", 1, 0),
            ("running", "llm", "b", 0, 7),
            ("waiting", "llm", "b", 0, 0),
            ("running", "llm", "other", 0, 99),
            ("waiting", "llm", "other", 0, 99),
            ("running", "dev", "a", 0, 99),
            ("waiting", "dev", "a", 0, 99),
        )
    }

    assert_answers(substituted("llm", ["a", "b"]), series, [Sample(17, {"pod": "a"}), Sample(7, {"pod": "b"})])


@needs_promtool
def test_a_pod_that_says_nothing_has_no_number_rather_than_none_left() -> None:
    series = {f'vllm:num_requests_{kind}{{namespace="llm",pod="a"}}': "2x40" for kind in ("running", "waiting")}

    assert_answers(substituted("llm", ["a", "b"]), series, [Sample(4, {"pod": "a"})])


def test_the_rule_finds_the_series_by_labels_that_our_monitor_gives() -> None:
    (entry,) = rule()["rules"]["custom"]

    assert entry["seriesQuery"] == 'vllm:num_requests_running{namespace!="",pod!="",fleet!=""}'
    assert entry["resources"]["overrides"] == {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
