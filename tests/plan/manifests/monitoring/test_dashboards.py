"""The dashboard: JSON that Grafana reads, and queries that Prometheus does."""

from __future__ import annotations

import json
import re
from itertools import combinations, product
from typing import Any

import pytest

from penstock.plan.manifests.monitoring.dashboards import dashboard, dashboards
from penstock.plan.manifests.monitoring.gpus import GPU_METRICS
from plan.manifests.monitoring.names import RECORDED, engine_series, gateway_series, selectors
from plan.manifests.monitoring.test_rules import KUBERNETES, TARGET_LABELS
from plan.manifests.monitoring.worlds import FLEET, World, healthy, site
from plan.manifests.promtool import Sample, assert_answers, lint, needs_promtool
from plan.manifests.validation import problems_of

SITE = site()
OTHERS = {"container_memory_working_set_bytes"}
"""Of the kubelet."""


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard(SITE)["panels"] if panel["type"] != "row"]


def asked(expr: str, model: str = ".*") -> str:
    """A query as Grafana sends it."""
    values = {"$namespace": "llm", "$fleet": "demo", "$model": model, "$__rate_interval": "5m"}
    for name, value in values.items():
        expr = expr.replace(name, value)
    return expr


def queries() -> list[tuple[str, str]]:
    return [(panel["title"], asked(target["expr"])) for panel in panels() for target in panel["targets"]]


def test_the_sidecar_finds_one_file_of_json() -> None:
    (manifest,) = dashboards(SITE)
    body = manifest.object

    assert problems_of([body]) == []
    assert body["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in body["data"].items()} == {"demo-overview.json": dashboard(SITE)}


def test_the_same_file_gives_the_same_text() -> None:
    assert next(dashboards(site())).object == next(dashboards(site())).object


def test_a_person_finds_what_they_ask_for() -> None:
    titles = [panel["title"] for panel in dashboard(SITE)["panels"] if panel["type"] == "row"]

    assert titles == [
        "Requests",
        "Errors",
        "Latency, p50 and p95",
        "Tokens in and out",
        "Queue and cache",
        "Routing, limits and use",
        "GPUs",
        "Out of memory and restarts",
        "Replicas, scaling and load duration",
        "Tenants",
    ]


def test_without_gpu_metrics_there_is_no_group_of_them() -> None:
    found = dashboard(site(FLEET.replace("monitoring: {}", "monitoring: {gpuMetrics: false}")))

    assert "DCGM" not in json.dumps(found)


def test_every_panel_says_what_it_shows() -> None:
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
    ids = [panel["id"] for panel in dashboard(SITE)["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_lie_beside_each_other_and_not_on_each_other() -> None:
    places = [panel["gridPos"] for panel in dashboard(SITE)["panels"]]

    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)


def test_every_query_goes_to_the_source_that_is_chosen_and_to_this_fleet() -> None:
    for panel in panels():
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            for _, labels in selectors(target["expr"]):
                assert "namespace" in labels
    asked_for = json.dumps(dashboard(SITE)["templating"])
    assert all(name in gateway_series() for name in ("penstock_build_info", "penstock_replicas_ready"))
    assert "label_values(penstock_build_info, namespace)" in asked_for
    names = [variable["name"] for variable in dashboard(SITE)["templating"]["list"]]
    assert names == ["datasource", "namespace", "fleet", "model"]


@needs_promtool
def test_prometheus_reads_every_query() -> None:
    rules = [{"record": f"panel:{n}", "expr": expr} for n, (_, expr) in enumerate(queries())]

    assert lint([{"name": "panels", "rules": rules}]) == ""
    assert lint([{"name": "panels", "rules": [{"record": "a:b", "expr": "sum by (x (y)"}]}]) != ""


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers of vLLM are not beside this checkout")
def test_every_series_that_is_drawn_has_been_seen_with_every_label() -> None:
    seen = {**engine_series(), **gateway_series()}
    foreign = {"up", "process_start_time_seconds", *KUBERNETES, *GPU_METRICS, *OTHERS}
    for title, expr in queries():
        for name, labels in selectors(expr):
            assert name in foreign or (name in seen and labels <= TARGET_LABELS | seen[name]), (title, name, labels)


@needs_promtool
@pytest.mark.parametrize(
    ("title", "answer"),
    [
        ("In flight", [Sample(8, {"model": "chat"}), Sample(0, {"model": "nap"})]),
        ("KV cache in use", [Sample(0.4, {"model": "chat", "pod": "demo-chat-7c9-abcde"})]),
        ("Generated tokens per second", [Sample(25, {"model": "chat"})]),
        ("Requests for each replica", [Sample(8, {"model": "chat"})]),
        ("Share of failed requests", [Sample(0, {"model": "chat"})]),
        (
            "Waiting in the gateway",
            [
                Sample(3, {"model": "chat", "class": "interactive"}),
                *(
                    Sample(0, {"model": model, "class": name})
                    for model, name in product(("chat", "nap"), ("interactive", "batch", "experimental"))
                    if (model, name) != ("chat", "interactive")
                ),
            ],
        ),
        ("Endpoints that are not well", [Sample(1, {"model": "chat", "condition": "slow"})]),
        ("Shared limits, ledger and keys", [Sample(0)]),
        ("Requests by tenant", [Sample(0.6667, {"tenant": "acme"})]),
    ],
)
def test_panels_show_what_was_scraped(title: str, answer: list[Sample]) -> None:
    target = 'namespace="llm",fleet="demo",component="gateway",pod="demo-gateway-1"'
    slow = f'{target},model="chat",endpoint="10.0.0.7:8000"'
    world: World = healthy() | {
        f'penstock_queue_requests{{{target},model="chat",class="interactive"}}': "3x120",
        f'penstock_endpoint_condition{{{slow},condition="well"}}': "0x120",
        f'penstock_endpoint_condition{{{slow},condition="slow"}}': "1x120",
        f"penstock_limits_connected{{{target}}}": "1x10 0x110",
    }
    expr = next(expr for name, expr in queries() if name == title)

    assert_answers(f"round({expr}, 0.0001)", world, answer, at="30m", step="1m")


def test_models_can_be_chosen() -> None:
    variable = next(v for v in dashboard(SITE)["templating"]["list"] if v["name"] == "model")

    assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
    of_no_model = r"penstock_(limits|ledger|store|retries_refused)_"
    asked_of = rf'model=~"\$model"|tenant|\$fleet-|{of_no_model}'
    assert all(re.search(asked_of, t["expr"]) for p in panels() for t in p["targets"])
