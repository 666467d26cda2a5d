"""Alerts on the gateway's queue: what fires, and what does not."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from penstock.plan.manifests.monitoring.queues import PAGES, queue_alerts, wait_alerts, wait_limit_s
from penstock.serve.flow.ticket import Shed
from penstock.serve.io.metrics_flow import REASONS
from plan.manifests.monitoring.worlds import FLEET, World, healthy, rising, site
from plan.manifests.promtool import Sample, assert_firing, needs_promtool, recorded_with
from plan.manifests.sites import OPEN, site_from

SITE = site()
CHAT, NAP = SITE.fleet.spec.models
TARGET = 'namespace="llm",fleet="demo",component="gateway",pod="demo-gateway-1"'
QUEUE = TARGET + ',model="{model}",class="{name}"'


def shed(values: str, *, model: str = "chat", name: str = "interactive", reason: str = "queue_full") -> World:
    return {f'penstock_shed_total{{{QUEUE.format(model=model, name=name)},reason="{reason}"}}': values}


def waited(counts: dict[str, float], *, model: str = "chat", name: str = "interactive", until: str = "") -> World:
    """Requests a minute by the longest wait that they had, seconds; `count` is all that waited."""
    queue, world = QUEUE.format(model=model, name=name), {}
    for le, count in counts.items():
        series = f"count{{{queue}}}" if le == "count" else f'bucket{{{queue},le="{le}"}}'
        world[f"penstock_queue_wait_seconds_{series}"] = f"0x55 0+{count:g}x65" if until else rising(count)
    return world


def asked_of_nap() -> World:
    labels = f'{TARGET},model="nap",tenant="acme",class="interactive",outcome="ok"'
    return {f"penstock_requests_total{{{labels}}}": rising(40)}


@needs_promtool
@pytest.mark.parametrize(
    ("world", "fires"),
    [
        pytest.param({}, False, id="none"),
        pytest.param(shed("0x50 0+30x70"), True, id="thirty a minute, of forty that were answered"),
        pytest.param(shed("0x50 0+30x70", reason="queue_timeout"), True, id="after waiting in vain"),
        pytest.param(shed("0x57 9x70"), False, id="nine"),
        pytest.param(shed("0x20 0+30x10 300x90"), False, id="half an hour ago"),
        pytest.param(shed("0x50 0+30x70", name="batch"), False, id="batch work is meant to give way"),
        pytest.param(shed("0x50 0+30x70", name="experimental"), False, id="so are experiments"),
        pytest.param(shed("0x50 0+30x70", reason="no_endpoint"), False, id="there is no engine: another alert's"),
        pytest.param(
            shed("0x50 0+2x70")
            | {
                f'penstock_requests_total{{{TARGET},model="chat",tenant="acme",class="interactive",outcome="ok"}}': (
                    rising(4000)
                )
            },
            False,
            id="one in two thousand",
        ),
    ],
)
def test_people_who_are_turned_away_are_told_of(world: World, fires: bool) -> None:
    expected = {"PenstockShedding"} if fires else set()
    assert_firing(SITE, healthy() | world, expected, at="60m", only="flow")


@needs_promtool
@pytest.mark.parametrize(
    ("world", "fires"),
    [
        pytest.param({}, False, id="nobody waits"),
        pytest.param(waited({"0.5": 1, "count": 10}), True, id="nine of forty wait longer than their first token may"),
        pytest.param(waited({"0.5": 10, "count": 10}), False, id="ten wait, none of them too long"),
        pytest.param(waited({"0.5": 9, "count": 10}), False, id="one of forty"),
        pytest.param(waited({"0.5": 1, "count": 10}, until="now"), False, id="for less than ten minutes"),
        pytest.param(waited({"0.5": 1, "count": 30}, name="batch"), False, id="batch work waits"),
        pytest.param(
            asked_of_nap() | waited({"20": 1, "40": 1, "count": 10}, model="nap"),
            True,
            id="without an objective: most of a minute",
        ),
        pytest.param(
            asked_of_nap() | waited({"20": 10, "40": 10, "count": 10}, model="nap"),
            False,
            id="without an objective: some seconds",
        ),
    ],
)
def test_people_who_wait_in_the_gateway_are_told_of(world: World, fires: bool) -> None:
    expected = {"PenstockQueueWaitLong"} if fires else set()
    assert_firing(SITE, healthy() | world, expected, at="61m", only="queue-alerts")


def test_what_is_late_is_the_models_objective_else_half_of_what_the_class_may_wait() -> None:
    assert wait_limit_s(SITE, CHAT) == 0.5
    assert wait_limit_s(SITE, NAP) == 30
    patient = site_from(FLEET + OPEN.replace("auth:", "classes: {interactive: {waitS: 10}}, auth:"), namespace="llm")
    assert wait_limit_s(patient, patient.fleet.spec.models[1]) == 5


@needs_promtool
def test_waits_are_recorded_by_class() -> None:
    world = healthy() | waited({"0.4": 0, "0.5": 10, "20": 10, "40": 10, "+Inf": 10, "count": 10})
    world |= shed("0+60x120", name="batch")
    labels = {"namespace": "llm", "fleet": "demo", "model": "chat"}
    recorded_with(
        SITE,
        world,
        {
            'round(penstock:queue_wait_seconds:p95_5m{model="chat"}, 0.001)': [
                Sample(0.495, labels | {"class": "interactive"})  # nine and a half tenths between 0.4 and 0.5
            ],
            'round(penstock:shed:rate5m{model="chat",class="batch"}, 0.01)': [Sample(1, labels | {"class": "batch"})],
        },
        at="30m",
    )


def test_every_page_has_an_alert() -> None:
    told = {alert.page.name for alert in (*queue_alerts(SITE), *wait_alerts(SITE, CHAT))}
    assert told == {page.name for page in PAGES}


def test_reasons_are_those_of_the_queue() -> None:
    assert set(REASONS) == set(get_args(get_type_hints(Shed)["reason"]))
