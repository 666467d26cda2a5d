"""The queries that scaling asks: one number where there is one, nothing where nobody was heard, never a made-up 0."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.signals import asked, duration, in_flight, monitoring_of, quoted, scope, window_s
from plan.manifests.promtool import Sample, assert_answers, needs_promtool
from plan.manifests.sites import OPEN, site_from

SITE = site_from(namespace="llm")
QUERY = in_flight(SITE, "chat")
HERE = 'namespace="llm",fleet="demo",model="chat"'


def engine(pod: str, running: str, waiting: str, *, number: int = 0) -> dict[str, str]:
    labels = f'{{{HERE},component="engine",pod="{pod}",engine="{number}",model_name="whatever"}}'
    return {f"vllm:num_requests_running{labels}": running, f"vllm:num_requests_waiting{labels}": waiting}


def gateway(in_flight: str, *, pod: str = "g1") -> dict[str, str]:
    return {f'penstock_in_flight_requests{{{HERE},component="gateway",pod="{pod}"}}': in_flight}


@needs_promtool
def test_all_replicas_are_one_number() -> None:
    series = engine("a", "10x40", "2x40") | engine("b", "20x40", "0x40") | gateway("30x40")

    assert_answers(QUERY, series, [Sample(32)])


@needs_promtool
def test_both_engines_of_a_data_parallel_pod_count() -> None:
    series = engine("a", "10x40", "1x40") | engine("a", "12x40", "3x40", number=1)

    assert_answers(QUERY, series, [Sample(26)])


@needs_promtool
def test_what_waits_in_the_gateway_counts_and_nothing_twice() -> None:
    series = engine("a", "10x40", "0x40") | gateway("25x40") | gateway("5x40", pod="g2")

    assert_answers(QUERY, series, [Sample(30)])


@needs_promtool
@pytest.mark.parametrize(
    ("series", "answer"),
    [
        pytest.param(gateway("7x40"), 7, id="engines are not scraped: the gateway tells"),
        pytest.param(engine("a", "3x40", "1x40"), 4, id="the gateway is not scraped: engines tell"),
        pytest.param(engine("a", "3x40", "1x40") | gateway("9x40"), 9, id="one of two replicas is not scraped"),
    ],
)
def test_while_one_of_the_two_is_heard_there_is_an_answer(series: dict[str, str], answer: float) -> None:
    assert_answers(QUERY, series, [Sample(answer)])


@needs_promtool
@pytest.mark.parametrize(
    "series",
    [
        pytest.param({}, id="nothing was ever scraped"),
        pytest.param({k.replace("chat", "code"): v for k, v in gateway("7x40").items()}, id="another model"),
        pytest.param({k.replace("demo", "test"): v for k, v in gateway("7x40").items()}, id="another fleet"),
        pytest.param({k.replace("llm", "dev"): v for k, v in gateway("7x40").items()}, id="another namespace"),
        pytest.param(engine("a", "3x9 stale", "0x9 stale"), id="all targets went away"),
        pytest.param(engine("a", "3x9 _x40", "0x9 _x40"), id="Prometheus was away and so are the targets"),
    ],
)
def test_where_nobody_is_heard_there_is_no_answer_and_never_zero(series: dict[str, str]) -> None:
    assert_answers(QUERY, series, [])


@needs_promtool
def test_an_idle_model_is_zero_because_it_says_so() -> None:
    assert_answers(QUERY, engine("a", "0x40", "0x40") | gateway("0x40"), [Sample(0)])


@needs_promtool
def test_a_dead_pods_last_word_is_not_counted() -> None:
    gone = engine("dead", "50x11 stale", "9x11 stale")

    assert_answers(QUERY, engine("a", "4x40", "0x40") | gone, [Sample(4)], at="3m")


@needs_promtool
def test_nor_is_it_when_prometheus_restarted_meanwhile_and_marked_nothing_stale() -> None:
    gone = engine("dead", "50x8 _x40", "9x8 _x40")  # last heard at 2 m, and Prometheus looks back 5 m
    alive = engine("a", "4x8 _x4 4x40", "0x8 _x4 0x40")

    assert_answers(QUERY, alive | gone, [Sample(4)], at="4m")


@needs_promtool
def test_an_engine_that_restarts_is_missed_for_the_time_only() -> None:
    restarting = engine("b", "20x8 stale _x5 0x20", "0x8 stale _x5 0x20")
    series = engine("a", "10x40", "0x40") | restarting

    assert_answers(QUERY, series, [Sample(30)], at="2m")
    assert_answers(QUERY, series, [Sample(10)], at="3m")
    assert_answers(QUERY, series, [Sample(10)], at="5m")


@needs_promtool
def test_what_is_no_number_is_left_out() -> None:
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    labels = f'{{{HERE},component="engine",pod="a",engine="0"}}'
    # promtool's series hold no NaN, its rules do
    broken = {"name": "broken", "rules": [{"record": name, "expr": f"NaN * broken{labels}"} for name in names]}
    source = {f"broken{labels}": "1x40"}

    assert_answers(QUERY, engine("b", "6x40", "1x40") | source, [Sample(7)], groups=[broken])
    assert_answers(QUERY, source, [], groups=[broken])
    assert_answers("vllm:num_requests_running == vllm:num_requests_running", source, [], groups=[broken])
    assert_answers("count(vllm:num_requests_running)", source, [Sample(1)], groups=[broken])


def requests(values: str, *, outcome: str = "upstream_error", tenant: str = "acme") -> dict[str, str]:
    labels = f'{{{HERE},component="gateway",pod="g1",tenant="{tenant}",class="interactive",outcome="{outcome}"}}'
    return {f"penstock_requests_total{labels}": values}


@needs_promtool
@pytest.mark.parametrize(
    ("series", "answer"),
    [
        pytest.param(gateway("0x60"), 0, id="nobody ever asked"),
        pytest.param(gateway("0x60") | requests("_x36 1x30"), 1, id="the very first ask, refused at once"),
        pytest.param(gateway("0x60") | requests("5x36 6x30"), 1, id="one more ask"),
        pytest.param(gateway("0x60") | requests("5x60"), 0, id="asks long ago"),
        pytest.param(gateway("0x60") | requests("5x30 0x5 1x30"), 1, id="the gateway restarted, then an ask"),
        pytest.param(gateway("0x30 2x30") | requests("5x60"), 1, id="asks that wait"),
        pytest.param(gateway("0x60") | requests("5x36 6x30", outcome="client_error"), 0, id="nonsense wakes nobody"),
        pytest.param(gateway("0x60") | requests("5x36 6x30", outcome="limited"), 0, id="nor who is over a limit"),
    ],
)
def test_a_sleeping_model_is_woken_by_who_asks_for_it(series: dict[str, str], answer: float) -> None:
    assert_answers(asked(SITE, "chat"), series, [Sample(answer)], at="10m")


@needs_promtool
def test_whether_somebody_asked_is_unknown_without_a_gateway() -> None:
    assert_answers(asked(SITE, "chat"), {}, [])
    assert_answers(asked(SITE, "chat"), gateway("0x8 stale") | requests("5x8 stale"), [], at="10m")


@needs_promtool
def test_two_minutes_after_the_last_ask_nobody_asks() -> None:
    series = gateway("0x80") | requests("_x8 1x80")

    assert_answers(asked(SITE, "chat"), series, [Sample(1)], at="3m")
    assert_answers(asked(SITE, "chat"), series, [Sample(0)], at="10m")


@pytest.mark.parametrize(("interval_s", "window"), [(15, 300), (75, 300), (120, 480), (300, 1200)])
def test_a_window_has_four_scrapes_at_least(interval_s: int, window: int) -> None:
    site = site_from(f"  monitoring: {{intervalS: {interval_s}}}\n" + CHAT_OPEN)

    assert window_s(site, 300) == window


CHAT_OPEN = "  models: [{name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}]\n" + OPEN


def test_scaling_has_a_prometheus_to_ask_also_where_no_alerts_are_wanted() -> None:
    assert monitoring_of(site_from()).prometheus_url == "http://prometheus-operated.monitoring.svc:9090"


@pytest.mark.parametrize(
    ("seconds", "text"), [(15, "15s"), (60, "1m"), (90, "90s"), (300, "5m"), (7200, "2h"), (259200, "3d")]
)
def test_durations_are_written_as_prometheus_does(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_a_name_with_quotes_stays_one_string() -> None:
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'
    assert scope(SITE, model="x") == 'namespace="llm",fleet="demo",model="x"'
