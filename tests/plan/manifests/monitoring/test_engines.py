"""Alerts on engines: what fires, and what does not."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.monitoring.engines import PAGES, engine_alerts, pod_pattern
from plan.manifests.monitoring.worlds import World, engine, gateway, healthy, rising, site, steady
from plan.manifests.promtool import assert_firing, needs_promtool
from plan.manifests.sites import site_from

SITE = site()
ONLY = "load|engines"
OTHER = "demo-chat-7c9-fghij"
IDLE = steady(0)


def killed(reason: str, restarts: str, pod: str = "demo-chat-7c9-abcde") -> World:
    where = f'namespace="llm",pod="{pod}",container="engine"'
    return {
        f'kube_pod_container_status_last_terminated_reason{{{where},reason="{reason}"}}': steady(1),
        f"kube_pod_container_status_restarts_total{{{where}}}": restarts,
    }


def unseen() -> World:
    return {name: text for name, text in healthy().items() if 'component="engine"' not in name}


@needs_promtool
@pytest.mark.parametrize(
    ("world", "fires"),
    [
        pytest.param({}, "", id="all is well"),
        pytest.param(engine(OTHER, up="1x48 0x60"), "PenstockEngineDown", id="an engine stopped answering"),
        pytest.param(engine(OTHER, up=steady(0)), "", id="a pod that still loads was never up"),
        pytest.param(engine(OTHER, up="1x48 stale"), "", id="a pod that is gone"),
        pytest.param(engine(OTHER, up="1x58 0x60"), "", id="one scrape failed"),
        pytest.param(
            engine(OTHER, process_start_time_seconds="1x20 2x20 3x90"),
            "PenstockEngineRestarts",
            id="restarted twice",
        ),
        pytest.param(engine(OTHER, process_start_time_seconds="100x20 200x110"), "", id="restarted once"),
        pytest.param(
            engine(OTHER, prompt_tokens_total=steady(900), generation_tokens_total="0+9x30 270x100"),
            "PenstockEngineStalled",
            id="requests run and nothing moves",
        ),
        pytest.param(
            engine(
                OTHER, num_requests_running=steady(0), prompt_tokens_total=steady(9), generation_tokens_total=steady(9)
            ),
            "",
            id="nothing runs and nothing moves",
        ),
        pytest.param(
            engine(OTHER, generation_tokens_total=steady(9)),
            "",
            id="no token comes while a long prompt is read",
        ),
        pytest.param(engine(OTHER, finished_error="0x50 0+2x60"), "PenstockEngineErrors", id="requests end in errors"),
        pytest.param(engine(OTHER, finished_error="0x55 2x60"), "", id="two of them"),
        pytest.param(engine(OTHER, kv_cache_usage_perc=steady(0.97)), "", id="a full cache is used well"),
        pytest.param(
            engine(OTHER, kv_cache_usage_perc=steady(0.97), num_requests_waiting=steady(3)),
            "PenstockKvCacheFull",
            id="a full cache and requests wait",
        ),
        pytest.param(engine(OTHER, num_preemptions_total=rising(5)), "PenstockPreemptions", id="6 % are preempted"),
        pytest.param(engine(OTHER, num_preemptions_total=rising(0.8)), "", id="1 % are"),
        pytest.param(engine(OTHER, num_requests_waiting=steady(11)), "PenstockQueueing", id="eleven wait for two"),
        pytest.param(engine(OTHER, num_requests_waiting=steady(9)), "", id="nine wait for two replicas"),
        pytest.param(engine(OTHER, num_requests_waiting="0x57 30x60"), "", id="thirty wait since three minutes"),
        pytest.param(killed("OOMKilled", "0x50 1x60"), "PenstockOutOfMemory", id="killed for memory ten minutes ago"),
        pytest.param(killed("OOMKilled", "0x10 1x100"), "", id="killed for memory an hour ago"),
        pytest.param(killed("Error", "0x50 1x60"), "", id="ended by itself"),
        pytest.param(killed("OOMKilled", "0x50 1x60", pod="somebody-1"), "", id="somebody else's pod"),
    ],
)
def test_an_engines_trouble_is_told_and_its_work_is_not(world: World, fires: str) -> None:
    assert_firing(SITE, healthy() | world, {fires} - {""}, at="60m", only=ONLY)


@needs_promtool
def test_engines_that_the_gateway_sees_and_prometheus_does_not() -> None:
    assert_firing(SITE, unseen(), {"PenstockEnginesNotScraped"}, at="60m", only=ONLY)
    assert_firing(SITE, unseen() | gateway(chat_ready=steady(0)), set(), at="60m", only=ONLY)


def test_every_page_has_an_alert() -> None:
    assert {alert.page.name for alert in engine_alerts(SITE)} == {page.name for page in PAGES}


def test_pods_of_a_fleet_with_a_long_name_are_found_by_what_is_left_of_it() -> None:
    assert pod_pattern(site_from()) == "demo-.+"
