"""Alerts on the number of replicas and on what sets it: what fires, and what does not."""

from __future__ import annotations

import pytest

from penstock.plan.manifests import Site
from penstock.plan.manifests.law import start_budget_s
from penstock.plan.manifests.monitoring.replicas import PAGES, replica_alerts, start_seconds
from plan.manifests.monitoring.worlds import World, engine, healthy, kubernetes, site, steady
from plan.manifests.promtool import Sample, assert_answers, assert_firing, needs_promtool
from plan.manifests.sites import OPEN, site_from

SITE = site()
BUDGET_S = start_budget_s(SITE.needs["chat"])
ONLY = "load|replicas"


def pod(name: str, started_s: float, ready_s: float) -> World:
    where = f'namespace="llm",pod="{name}"'
    return {
        f"kube_pod_start_time{{{where}}}": steady(started_s),
        f"kube_pod_status_ready_time{{{where}}}": steady(ready_s),
    }


def expression(where: Site, page: str) -> str:
    (needs,) = where.needs.values()
    return next(alert.expr for alert in replica_alerts(where, needs) if alert.page.name == page)


def blind() -> World:
    return {name: text for name, text in healthy().items() if "num_requests" not in name and "in_flight" not in name}


@needs_promtool
@pytest.mark.parametrize(
    ("world", "fires"),
    [
        pytest.param({}, "", id="all is well"),
        pytest.param(kubernetes(chat_wanted=steady(3)), "PenstockReplicasMissing", id="two of three are missing"),
        pytest.param(kubernetes(chat_wanted="1x55 3x60"), "", id="two more are starting"),
        pytest.param(
            kubernetes(chat_desired=steady(4)) | engine(num_requests_waiting=steady(4)),
            "PenstockScalerAtMax",
            id="at the maximum, and requests wait",
        ),
        pytest.param(kubernetes(chat_desired=steady(4)), "", id="at the maximum, and nothing waits"),
        pytest.param(
            kubernetes(chat_desired=steady(3)) | engine(num_requests_waiting=steady(4)),
            "",
            id="one more may come",
        ),
        pytest.param(kubernetes(chat_inactive=steady(1)), "PenstockScalerStuck", id="the HPA says that it cannot"),
        pytest.param(kubernetes(nap_inactive=steady(1)), "", id="asleep, it is inactive by design"),
        pytest.param(pod("demo-chat-7c9-abcde", 3000, 3000 + BUDGET_S * 0.9), "PenstockStartSlow", id="a slow start"),
        pytest.param(pod("demo-chat-7c9-abcde", 3000, 3000 + BUDGET_S * 0.5), "", id="a start as planned"),
        pytest.param(pod("demo-chatty-7c9-abcde", 3000, 3000 + BUDGET_S * 0.9), "", id="another model's pod"),
        pytest.param(pod("demo-chat-7c9-abcde", -86400, 3000), "", id="an old pod that was unready for a moment"),
    ],
)
def test_replicas_in_trouble_are_told(world: World, fires: str) -> None:
    assert_firing(SITE, healthy() | world, {fires} - {""}, at="60m", only=ONLY)


@needs_promtool
def test_an_autoscaler_without_a_signal_is_told() -> None:
    assert_firing(SITE, blind(), {"PenstockScalerBlind"}, at="60m", only=ONLY)


FORECAST = site_from(
    "  monitoring: {}\n  kubernetes: {controller: true}\n  models: [{name: chat, source: Qwen/Qwen3-8B, "
    "hardware: {gpu: H100}, autoscaling: {via: penstock, maxReplicas: 4}}]\n" + OPEN,
    namespace="llm",
)


def known(values: str, model: str = "chat", pod: str = "a") -> World:
    return {f'penstock_scaler_known{{namespace="llm",fleet="demo",model="{model}",pod="{pod}"}}': values}


@needs_promtool
@pytest.mark.parametrize(
    ("world", "fires"),
    [
        pytest.param(known(steady(1)), False, id="it knows"),
        pytest.param(known(steady(0)), True, id="it does not"),
        pytest.param(known("1x50 0x70"), True, id="it did"),
        pytest.param(known("1x50 0x3 1x67"), False, id="for three minutes it did not"),
        pytest.param({}, True, id="nobody says"),
        pytest.param(known(steady(1), model="nap"), True, id="another model's load is known"),
        pytest.param(known(steady(0)) | known(steady(1), pod="b"), False, id="one of two controllers knows"),
    ],
)
def test_a_controller_that_does_not_know_the_load_is_told(world: World, fires: bool) -> None:
    assert_firing(FORECAST, healthy() | world, {"PenstockForecastBlind"} if fires else set(), at="60m", only=ONLY)


def test_who_scales_without_the_controller_is_not_told_of_it() -> None:
    names = {alert.page.name for needs in SITE.needs.values() for alert in replica_alerts(SITE, needs)}

    assert "PenstockForecastBlind" not in names


@needs_promtool
def test_the_time_of_a_start_is_known_for_each_pod() -> None:
    series = pod("demo-chat-7c9-abcde", 100, 280) | pod("demo-chat-on-demand-7c9-abcde", 100, 220)

    expected = [
        Sample(180, {"namespace": "llm", "pod": "demo-chat-7c9-abcde"}),
        Sample(120, {"namespace": "llm", "pod": "demo-chat-on-demand-7c9-abcde"}),
    ]
    assert_answers(start_seconds(SITE, SITE.needs["chat"]), series, expected, step="1m")


def test_a_group_of_several_nodes_is_watched_by_its_leaders() -> None:
    found = site_from(
        "  monitoring: {}\n  hardware: {classes: [{gpu: H100, gpusPerNode: 2}]}\n"
        "  models: [{name: big, source: Qwen/Qwen3-32B, hardware: {gpu: H100, count: 4}}]\n" + OPEN
    )

    missing = next(
        alert.expr
        for alert in replica_alerts(found, *found.needs.values())
        if alert.page.name == "PenstockReplicasMissing"
    )
    assert 'kube_statefulset_replicas{namespace="default",statefulset="demo-big"}' in missing


def test_an_hpa_of_ours_is_watched_by_its_own_name() -> None:
    found = site_from(
        "  monitoring: {}\n  models: [{name: a, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, "
        "autoscaling: {via: hpa, maxReplicas: 3}}]\n" + OPEN
    )

    stuck = next(
        alert.expr for alert in replica_alerts(found, *found.needs.values()) if alert.page.name == "PenstockScalerStuck"
    )
    assert 'horizontalpodautoscaler="demo-a"' in stuck


def test_every_page_has_an_alert() -> None:
    told = {alert.page.name for site in (SITE, FORECAST) for alert in replica_alerts(site, site.needs["chat"])}

    assert told == {page.name for page in PAGES}
