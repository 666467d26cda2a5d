"""Budgets that burn, and models that are gone: what fires, and what does not."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.monitoring.promises import PAGES, promise_alerts
from plan.manifests.monitoring.worlds import FLEET, engine, gateway, healthy, requests, rising, site, steady
from plan.manifests.promtool import Sample, assert_answers, assert_firing, groups_of, needs_promtool

SITE = site()
ERRORS, TTFT = "PenstockErrorBudgetBurn", "PenstockTtftBudgetBurn"


def thresholds(fleet: str, page: str) -> list[str]:
    """Of each burn rate, the share that it fires at."""
    found = [alert for alert in promise_alerts(site(fleet)) if alert.page.name == page]
    return [alert.expr.split(" > ")[1].split("\n")[0] for alert in found]


def test_thresholds_are_the_burn_rates_times_the_budget() -> None:
    assert thresholds(FLEET, ERRORS) == ["0.0144", "0.006", "0.003", "0.001"]
    assert thresholds(FLEET, TTFT) == ["0.72", "0.3", "0.15", "0.05"]


def test_a_promise_so_weak_that_no_outage_burns_so_fast_has_no_such_alert() -> None:
    weak = FLEET.replace("monitoring: {}", "monitoring: {availability: 0.9}")

    assert thresholds(weak, ERRORS) == ["0.6", "0.3", "0.1"]


def test_without_a_ttft_objective_nothing_watches_it() -> None:
    assert thresholds(FLEET.replace("ttftMs: 500, ", ""), TTFT) == []


def test_every_page_has_an_alert() -> None:
    assert {alert.page.name for alert in promise_alerts(SITE)} == {page.name for page in PAGES}


@needs_promtool
def test_a_healthy_fleet_wakes_nobody() -> None:
    assert_firing(SITE, healthy(), set(), at="90m")


@needs_promtool
@pytest.mark.parametrize(
    ("failing", "fires"),
    [
        pytest.param(rising(0.02), set(), id="0.05 % fails: half of what is allowed"),
        pytest.param(rising(2), {ERRORS}, id="5 % fails"),
        pytest.param("0x80 0+16x40", {ERRORS}, id="40 % fails since ten minutes: 7 % of the hour"),
        pytest.param("0x86 0+16x40", set(), id="since four minutes: the hour is not yet"),
    ],
)
def test_an_hour_of_failures_wakes_somebody(failing: str, fires: set[str]) -> None:
    world = healthy() | requests({"ok": rising(40), "upstream_error": failing})

    assert_firing(SITE, world, fires, at="90m", only="objectives|promises")


@needs_promtool
def test_an_outage_that_is_over_wakes_nobody_any_more() -> None:
    world = healthy() | requests({"ok": rising(40), "upstream_error": "0x40 0+40x10 400x80"})

    assert_firing(SITE, world, {ERRORS}, at="55m", only="objectives|promises")
    critical = Sample(0, {})
    rules = [group for group in groups_of(SITE) if "objectives" in group["name"] or "promises" in group["name"]]
    assert_answers(
        'count(ALERTS{alertstate="firing",severity="critical",burn="14.4"}) or vector(0)',
        world,
        [critical],
        at="65m",
        step="1m",
        groups=rules,
    )


@needs_promtool
def test_a_failure_or_two_at_night_are_no_rate() -> None:
    world = healthy() | requests({"ok": "0x40 1x40 2x40", "upstream_error": "0x30 1x20 3x70"})

    assert_firing(SITE, world, set(), at="90m", only="objectives|promises")


@needs_promtool
def test_a_quiet_hour_divides_nothing_by_nothing() -> None:
    world = healthy() | requests({"ok": steady(500), "upstream_error": steady(100)})

    assert_firing(SITE, world, set(), at="90m", only="objectives|promises")


@needs_promtool
def test_what_callers_do_wrong_is_not_charged_and_hides_nothing() -> None:
    wrong = {"client_error": rising(4000), "limited": rising(4000)}
    fine, broken = ({"ok": rising(40), "timeout": errors} for errors in (steady(0), rising(2)))

    assert_firing(SITE, healthy() | requests(wrong | fine), set(), at="90m", only="objectives|promises")
    assert_firing(SITE, healthy() | requests(wrong | broken), {ERRORS}, at="90m", only="objectives|promises")


@needs_promtool
@pytest.mark.parametrize(
    ("share", "burn"), [(0.0005, ""), (0.002, "1"), (0.004, "1 3"), (0.009, "1 3 6"), (0.03, "1 14.4 3 6")]
)
def test_the_faster_it_leaks_the_more_windows_say_so(share: float, burn: str) -> None:
    steps = 3 * 24 * 30 + 1  # three days, every two minutes
    leak = requests({"ok": rising(1000 * (1 - share), steps), "shed": rising(1000 * share, steps)})
    expected = [Sample(1, {"burn": rate}) for rate in burn.split()]
    rules = [group for group in groups_of(SITE) if "objectives" in group["name"] or "promises" in group["name"]]

    firing = 'count by (burn) (ALERTS{alertstate="firing",model="chat"})'
    assert_answers(firing, leak, expected, at="3d", step="2m", every="1h", groups=rules)


@needs_promtool
@pytest.mark.parametrize(("within", "fires"), [(39.5, set()), (8, {TTFT})])
def test_late_first_tokens_burn_their_own_budget(within: float, fires: set[str]) -> None:
    late = {"0.4": rising(within / 2), "0.5": rising(within), "count": rising(40)}
    world = healthy() | requests({"ok": rising(40), "upstream_error": steady(0)}, ttft=late)

    assert_firing(SITE, world, fires, at="90m", only="objectives|promises")


@needs_promtool
def test_a_model_whose_last_engine_is_gone_wakes_somebody() -> None:
    assert_firing(SITE, healthy() | gateway(chat_ready="1x25 0x90"), {"PenstockModelDown"}, at="40m")


@needs_promtool
def test_a_minute_without_an_engine_does_not() -> None:
    assert_firing(SITE, healthy() | gateway(chat_ready="1x25 0 1x90"), set(), at="27m")


@needs_promtool
def test_a_model_that_sleeps_is_not_gone() -> None:
    assert_firing(SITE, healthy() | gateway(nap_ready="1x25 0x90"), set(), at="60m")


@needs_promtool
def test_a_model_that_was_switched_off_in_the_file_is_not_gone() -> None:
    off = FLEET.replace("autoscaling: {maxReplicas: 4}", "replicas: 0")

    assert_firing(site(off), gateway(chat_ready="1x25 0x90"), set(), at="40m")


@needs_promtool
def test_a_model_that_does_not_wake_is_told() -> None:
    asks = requests({"upstream_error": "_x10 1+1x110"}, "nap", reasons={"no_endpoint": "_x10 1+1x110"})

    assert_firing(SITE, healthy() | asks, {"PenstockWakeSlow"}, at="60m")


@needs_promtool
def test_a_model_that_wakes_in_time_is_not() -> None:
    asks = requests(
        {"upstream_error": "_x10 1x110", "ok": "_x15 1+1x100"}, "nap", reasons={"no_endpoint": "_x10 1x110"}
    )
    world = healthy() | asks | gateway(nap_ready="0x14 1x100") | engine("demo-nap-7c9-abcde", "nap", up="_x13 1x100")

    assert_firing(SITE, world, set(), at="60m")
