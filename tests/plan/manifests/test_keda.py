"""ScaledObjects: what KEDA makes an HPA of, and what happens when it is told nothing."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.plan.manifests.emit import emit
from penstock.plan.manifests.keda import scaled_object
from penstock.plan.manifests.law import start_budget_s, target_of
from penstock.plan.manifests.signals import asked, in_flight
from plan.manifests.promtool import Sample, assert_answers, needs_promtool
from plan.manifests.sites import OPEN, site_from
from plan.manifests.validation import problems_of


def scaled(autoscaling: str = "maxReplicas: 8", more: str = "", fleet: str = "") -> dict[str, Any]:
    model = f"{{name: chat, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}, autoscaling: {{{autoscaling}}}{more}}}"
    site = site_from(f"{fleet}  models: [{model}]\n{OPEN}", namespace="llm")
    needs = site.needs["chat"]
    assert needs.spec.autoscaling is not None
    body = scaled_object(site, needs, needs.spec.autoscaling).object
    assert problems_of([body]) == []
    return body


def triggers(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trigger["name"]: trigger for trigger in body["spec"]["triggers"]}


def test_the_deployment_of_the_model_follows_its_requests() -> None:
    body = scaled("minReplicas: 2, maxReplicas: 8")

    assert body["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo-chat"}
    assert (body["spec"]["minReplicaCount"], body["spec"]["maxReplicaCount"]) == (2, 8)
    assert list(triggers(body)) == ["requests"]
    trigger = triggers(body)["requests"]
    site = site_from(namespace="llm")
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["query"] == in_flight(site, "chat")
    assert trigger["metadata"]["threshold"] == f"{target_of(site.needs['chat']).requests:g}"


def test_no_answer_is_an_error_and_keeps_the_replicas() -> None:
    body = scaled("minReplicas: 2, maxReplicas: 8", ", replicas: 3")

    assert triggers(body)["requests"]["metadata"]["ignoreNullValues"] == "false"
    assert body["spec"]["fallback"] == {"failureThreshold": 3, "replicas": 3, "behavior": "currentReplicasIfHigher"}


def test_the_fallback_is_inside_the_bounds_and_never_none() -> None:
    assert scaled("minReplicas: 4, maxReplicas: 8")["spec"]["fallback"]["replicas"] == 4
    assert scaled("maxReplicas: 2", ", replicas: 9")["spec"]["fallback"]["replicas"] == 2
    assert scaled("minReplicas: 0, maxReplicas: 2", ", replicas: 0")["spec"]["fallback"]["replicas"] == 1


def test_the_fallback_reckons_with_whole_targets_so_a_broken_one_is_in_thousandths() -> None:
    metadata = triggers(scaled("maxReplicas: 8, targetConcurrency: 2.5"))["requests"]["metadata"]

    assert metadata["threshold"] == "2500"
    assert metadata["query"].startswith("1000 * max(")


def test_a_model_that_never_sleeps_has_no_cool_down_and_needs_nobody_to_wake_it() -> None:
    body = scaled()

    assert "cooldownPeriod" not in body["spec"]
    assert "asked" not in triggers(body)


def test_a_model_that_sleeps_is_woken_by_the_gateways_count() -> None:
    body = scaled("minReplicas: 0, maxReplicas: 8")

    trigger = triggers(body)["asked"]["metadata"]
    assert trigger["query"] == asked(site_from(namespace="llm"), "chat")
    assert (trigger["threshold"], trigger["activationThreshold"]) == ("1", "0")
    assert body["spec"]["cooldownPeriod"] == 1800


def test_a_start_is_not_ended_by_the_cool_down() -> None:
    site = site_from()
    body = scaled("minReplicas: 0, maxReplicas: 8, idleS: 30")

    assert body["spec"]["cooldownPeriod"] == start_budget_s(site.needs["chat"]) > 30


def test_times_are_cron_triggers_with_their_zone_and_a_name_each() -> None:
    times = "start: '0 8 * * 1-5', end: '0 18 * * 1-5', timezone: Europe/Paris, replicas: 4"
    body = scaled(f"maxReplicas: 8, schedule: [{{name: Office hours, {times}}}, {{name: office-hours, {times}}}]")

    assert list(triggers(body)) == ["requests", "at-office-hours", "at-office-hours-2"]
    assert triggers(body)["at-office-hours"] == {
        "type": "cron",
        "name": "at-office-hours",
        "metadata": {
            "timezone": "Europe/Paris",
            "start": "0 8 * * 1-5",
            "end": "0 18 * * 1-5",
            "desiredReplicas": "4",
        },
    }


def test_the_controllers_forecast_stands_beside_the_requests() -> None:
    body = scaled("via: penstock, maxReplicas: 8", fleet="  kubernetes: {controller: true}\n")

    assert list(triggers(body)) == ["forecast", "requests"]
    assert triggers(body)["forecast"]["type"] == "external"
    assert triggers(body)["forecast"]["metadata"] == {
        "scalerAddress": "demo-controller.llm.svc:6000",
        "fleet": "demo",
        "model": "chat",
    }


def test_prometheus_is_asked_where_the_file_says() -> None:
    body = scaled(fleet="  monitoring: {prometheusUrl: 'http://thanos.obs:9090'}\n")

    assert triggers(body)["requests"]["metadata"]["serverAddress"] == "http://thanos.obs:9090"


def test_a_replica_of_several_nodes_is_scaled_as_a_group() -> None:
    site = site_from(
        "  hardware: {classes: [{gpu: H100, gpusPerNode: 2}]}\n"
        "  models:\n    - name: big\n      source: Qwen/Qwen3-32B\n      hardware: {gpu: H100, count: 4}\n"
        "      autoscaling: {maxReplicas: 2}\n" + OPEN
    )
    needs = site.needs["big"]
    assert needs.spec.autoscaling is not None
    group = scaled_object(site, needs, needs.spec.autoscaling).object
    assert group["spec"]["scaleTargetRef"] == {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "name": "demo-big",
    }
    assert problems_of([group]) == []


def test_the_yaml_says_why() -> None:
    site = site_from(
        "  models: [{name: c, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, autoscaling: {maxReplicas: 8}}]\n" + OPEN
    )
    needs = site.needs["c"]
    assert needs.spec.autoscaling is not None
    text = emit(scaled_object(site, needs, needs.spec.autoscaling))

    for words in ("ceil(sum over all replicas", "at the objectives", "no thrash", "The only thing that sets them"):
        assert words in text


FLOOR = ", scheduling: {spot: allowed, onDemandReplicas: 2}"


def test_replicas_that_always_run_are_part_of_the_whole_and_not_of_what_is_scaled() -> None:
    times = "start: '0 8 * * *', end: '0 18 * * *'"
    schedule = f"schedule: [{{name: day, {times}, replicas: 5}}, {{name: night, {times}, replicas: 2}}]"
    body = scaled(f"minReplicas: 3, maxReplicas: 8, targetConcurrency: 10, {schedule}", FLOOR)

    spec = body["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["fallback"]["replicas"]) == (1, 6, 1)
    assert triggers(body)["at-day"]["metadata"]["desiredReplicas"] == "3"
    assert "at-night" not in triggers(body)
    query = triggers(body)["requests"]["metadata"]["query"]
    assert query.startswith("clamp_min(max(")
    assert query.endswith(") - 20, 0)")


def test_beside_a_floor_nothing_sleeps_and_nobody_must_wake_it() -> None:
    body = scaled("minReplicas: 0, maxReplicas: 8", FLOOR)

    assert body["spec"]["minReplicaCount"] == 0
    assert body["spec"]["cooldownPeriod"] == 600
    assert "asked" not in triggers(body)


@needs_promtool
@pytest.mark.parametrize(("running", "beyond"), [(15, 0), (20, 0), (47, 27)])
def test_only_what_the_floor_cannot_hold_asks_for_more(running: int, beyond: int) -> None:
    query = triggers(scaled("maxReplicas: 8, targetConcurrency: 10", FLOOR))["requests"]["metadata"]["query"]
    labels = '{namespace="llm",fleet="demo",model="chat"}'

    series = {f"penstock_in_flight_requests{labels}": f"{running}x40"}
    assert_answers(query, series, [Sample(beyond)])
