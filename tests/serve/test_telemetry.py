"""Telemetry: what was begun and ended is what state, series and recent requests say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.platform import ModelProfile
from penstock.serve.record import OUTCOMES, Outcome, RequestRecord
from penstock.serve.routing.endpoints import EndpointAddress, EndpointTable, EngineSample
from penstock.serve.telemetry import RECENT_MAX, Telemetry

UNIX = 1_767_225_600.0


def telemetry(*models: str) -> Telemetry:
    return Telemetry({name: ModelProfile() for name in models or ("chat",)}, "demo", "1.2.3", UNIX)


def record(model: str = "chat", outcome: Outcome = "ok", **fields: Any) -> RequestRecord:
    return RequestRecord(model=model, outcome=outcome, tenant="acme", **fields)


def serve(counted: Telemetry, finished: RequestRecord, now: float = 0.0) -> None:
    counted.begin(finished.model, now)
    counted.end(finished, now)


def state(counted: Telemetry, table: EndpointTable | None = None, now: float = 1.0) -> dict[str, Any]:
    return counted.state(
        table or EndpointTable(), now, UNIX + now, listen="127.0.0.1:8080", connections=3, is_ready=True
    )


@given(st.lists(st.tuples(st.sampled_from(["chat", "embed", "unheard-of", ""]), st.sampled_from(OUTCOMES))))
def test_every_request_is_counted_once_whatever_its_model_and_outcome(
    requests: list[tuple[str, Outcome]],
) -> None:
    counted = telemetry("chat", "embed")
    for model, outcome in requests:
        serve(counted, record(model, outcome))
    answer = state(counted)
    assert answer["gateway"]["requests_total"] == len(requests)
    assert answer["gateway"]["in_flight"] == 0
    for name in OUTCOMES:
        assert answer["gateway"]["outcomes"][name] == sum(outcome == name for _, outcome in requests)
    by_model = {model["name"]: model["requests_total"] for model in answer["models"]}
    assert by_model == {name: sum(m == name for m, _ in requests) for name in ("chat", "embed")}


def test_a_request_that_another_model_answers_is_in_flight_there_and_nowhere_at_its_end() -> None:
    def in_flight() -> list[int]:
        return [tally.in_flight for _, tally in counted.tallies()]

    counted = telemetry("chat", "spare")
    counted.begin("chat", 0.0)
    counted.moved("chat", "spare")
    assert in_flight() == [0, 1, 0]
    counted.end(record("far/big", counted_as="spare"), 1.0)
    assert in_flight() == [0, 0, 0]


def test_models_of_providers_are_counted_and_are_no_models_of_the_fleet() -> None:
    counted = Telemetry({"chat": ModelProfile()}, "demo", "1.2.3", UNIX, outside=["far/big"])
    serve(counted, record("far/big"))
    counted.sample_endpoints(EndpointTable(), 1.0)
    assert {name: tally.outcomes()["ok"] for name, tally in counted.tallies()} == {"chat": 0, "far/big": 1, "": 0}
    assert [model["name"] for model in state(counted)["models"]] == ["chat"]
    assert state(counted)["gateway"]["requests_total"] == 1
    counted.set_models({"chat": ModelProfile()})
    assert [name for name, _ in counted.tallies()] == ["chat", ""]


def test_a_fallback_is_able_while_an_endpoint_of_it_answers_or_was_not_asked() -> None:
    table = EndpointTable()
    for name in ("spare", "far/big"):
        table.set_pool(name, [EndpointAddress(id=name, host="h", port=1)])
    table.failed(table.pools["spare"].endpoints[0], "refused the connection", 0.0)
    counted = Telemetry({"chat": ModelProfile(fallbacks=("spare", "gone", "far/big"))}, "demo", "1", UNIX)
    shown = state(counted, table)["models"][0]["fallbacks"]
    assert [(spare["model"], spare["is_able"]) for spare in shown] == [
        ("spare", False),
        ("gone", False),
        ("far/big", True),
    ]


def test_in_flight_is_what_began_and_did_not_end() -> None:
    counted = telemetry()
    counted.begin("chat", 0.0)
    counted.begin("chat", 0.0)
    counted.end(record(), 1.0)
    assert state(counted)["models"][0]["in_flight"] == 1


def test_requests_that_were_sent_to_two_endpoints_are_counted_by_who_answered() -> None:
    counted = telemetry()
    for hedged in ("", "second", "first", "second", "none"):
        serve(counted, record(hedged=hedged))
    (_, tally), _ = counted.tallies()
    assert tally.hedges == {"first": 1, "second": 2, "none": 1}
    assert state(counted)["models"][0]["hedges_total"] == 4
    assert [shown["hedged"] for shown in counted.recent(2)] == ["none", "second"]


def test_tokens_nobody_reported_are_not_subtracted() -> None:
    counted = telemetry()
    serve(counted, record(prompt_tokens=10, cached_tokens=4, output_tokens=5))
    serve(counted, record(outcome="cancelled"))
    model = state(counted)["models"][0]
    assert [model[f"{kind}_tokens_total"] for kind in ("prompt", "cached", "output")] == [10, 4, 5]


def test_latency_of_the_last_minute_is_told_and_older_is_forgotten() -> None:
    counted = telemetry()
    table = EndpointTable()
    serve(counted, record(is_stream=True, ttft_ms=100.0, total_ms=1100.0, output_tokens=101))
    counted.sample_endpoints(table, 1.0)
    model = state(counted)["models"][0]
    assert model["ttft_ms"]["p95"] == pytest.approx(100.0, rel=0.13)
    assert model["tpot_ms"]["p50"] == pytest.approx(10.0, rel=0.13)
    assert model["total_ms"]["p99"] == pytest.approx(1100.0, rel=0.13)
    for second in range(2, 64):
        counted.sample_endpoints(table, float(second))
    assert state(counted)["models"][0]["ttft_ms"] == {"p50": None, "p95": None, "p99": None}


def test_a_request_that_is_no_stream_has_no_time_to_first_token() -> None:
    counted = telemetry()
    serve(counted, record(is_stream=False, ttft_ms=900.0, total_ms=901.0, output_tokens=50))
    model = state(counted)["models"][0]
    assert model["ttft_ms"]["p50"] is None
    assert model["tpot_ms"]["p50"] is None
    assert model["total_ms"]["p50"] is not None


def test_quick_refusals_do_not_make_the_service_look_fast() -> None:
    counted = telemetry()
    serve(counted, record(total_ms=1000.0))
    for outcome in ("client_error", "limited", "shed", "upstream_error", "cancelled"):
        serve(counted, record(outcome=outcome, total_ms=0.2))
    assert state(counted)["models"][0]["total_ms"]["p50"] == pytest.approx(1000.0, rel=0.13)


def test_a_point_each_second_says_what_that_second_brought() -> None:
    counted = telemetry()
    table = EndpointTable()
    counted.sample_endpoints(table, 0.0)
    for second, requests in enumerate((3, 0, 5), start=1):
        for _ in range(requests):
            serve(counted, record(outcome="timeout"))
        counted.sample_endpoints(table, float(second))
    answer = counted.timeseries(60.0, 3.0, UNIX)["models"]["chat"]
    assert answer["requests_per_s"] == [0.0, 3.0, 0.0, 5.0]
    assert answer["errors_per_s"] == [0.0, 3.0, 0.0, 5.0]


def test_a_late_tick_spreads_its_counts_and_shows_as_lag() -> None:
    counted = telemetry()
    table = EndpointTable()
    counted.sample_endpoints(table, 0.0)
    for _ in range(8):
        serve(counted, record())
    counted.sample_endpoints(table, 4.0)
    assert counted.timeseries(60.0, 4.0, UNIX)["models"]["chat"]["requests_per_s"] == [0.0, 2.0]
    assert counted.loop_lag_s == pytest.approx(3.0)


def test_a_second_tick_in_the_same_moment_is_no_tick() -> None:
    counted = telemetry()
    counted.sample_endpoints(EndpointTable(), 1.0)
    counted.sample_endpoints(EndpointTable(), 1.0)
    assert len(counted.timeseries(60.0, 1.0, UNIX)["t"]) == 1


def test_the_rate_of_now_is_the_mean_of_the_last_five_seconds() -> None:
    counted = telemetry()
    for second in range(20):
        for _ in range(second):
            serve(counted, record(output_tokens=10))
        counted.sample_endpoints(EndpointTable(), float(second))
    model = state(counted, now=19.0)["models"][0]
    assert model["requests_per_s"] == (15 + 16 + 17 + 18 + 19) / 5
    assert model["tokens_per_s"] == model["requests_per_s"] * 10


def test_tokens_per_second_come_from_engines_and_without_them_from_what_ended() -> None:
    counted = telemetry()
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=9)])
    for second in range(3):
        serve(counted, record(output_tokens=7))
        counted.sample_endpoints(table, float(second))
    assert state(counted, table, 2.0)["models"][0]["tokens_per_s"] == pytest.approx(7.0)
    for second in (2, 3):
        table.observe("chat-0", EngineSample(at=float(second), generation_tokens_total=500 * second, waiting=4))
    counted.sample_endpoints(table, 3.0)
    assert counted.timeseries(1.0, 3.0, UNIX)["models"]["chat"]["tokens_per_s"] == [500.0]
    assert counted.timeseries(1.0, 3.0, UNIX)["models"]["chat"]["waiting"] == [4]


def test_an_engine_that_fell_silent_says_nothing_of_now() -> None:
    counted = telemetry()
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=9)])
    for second in (0, 1):
        table.observe("chat-0", EngineSample(at=float(second), generation_tokens_total=100 * second, waiting=4))
    counted.sample_endpoints(table, 30.0)
    assert counted.tokens_per_s("chat", table, 30.0) is None
    assert counted.timeseries(1.0, 30.0, UNIX)["models"]["chat"]["waiting"] == [0]


def test_a_removed_model_keeps_its_counts_until_its_requests_are_over() -> None:
    counted = telemetry("chat", "old")
    counted.begin("old", 0.0)
    counted.set_models({"chat": ModelProfile()})
    assert [model["name"] for model in state(counted)["models"]] == ["chat"]
    counted.end(record("old"), 1.0)
    assert counted.nameless.in_flight == 0
    counted.sample_endpoints(EndpointTable(), 1.0)
    counted.set_models({"chat": ModelProfile(), "old": ModelProfile()})
    assert state(counted)["models"][1]["requests_total"] == 0


def test_a_reload_keeps_the_counts_of_models_that_stay() -> None:
    counted = telemetry("chat")
    serve(counted, record())
    counted.set_models({"chat": ModelProfile(aliases=("c",)), "new": ModelProfile()})
    answer = state(counted)["models"]
    assert [(m["name"], m["aliases"], m["requests_total"]) for m in answer] == [("chat", ["c"], 1), ("new", [], 0)]


def test_recent_requests_are_the_newest_first_and_bounded() -> None:
    counted = telemetry()
    for number in range(RECENT_MAX + 10):
        serve(counted, record(request_id=f"r{number}"))
    assert [r["request_id"] for r in counted.recent(2)] == [f"r{RECENT_MAX + 9}", f"r{RECENT_MAX + 8}"]
    assert len(counted.recent(10**6)) == RECENT_MAX


def test_failed_requests_are_not_washed_away_by_good_ones() -> None:
    counted = telemetry()
    serve(counted, record(outcome="timeout", request_id="slow"))
    for _ in range(RECENT_MAX):
        serve(counted, record())
    assert [r["request_id"] for r in counted.recent(5, failed_only=True)] == ["slow"]


def test_the_state_is_plain_json_and_says_who_it_is() -> None:
    answer = orjson.loads(orjson.dumps(state(telemetry("chat"), now=12.5)))
    assert (answer["fleet"], answer["version"], answer["uptime_s"]) == ("demo", "1.2.3", 12.5)
    assert answer["now"] == "2026-01-01T00:00:12.500Z"
    assert answer["gateway"]["listen"] == "127.0.0.1:8080"
    assert answer["gateway"]["connections"] == 3


def test_time_in_the_queue_is_told_by_class_and_only_of_those_who_waited() -> None:
    counted = telemetry()
    serve(counted, record(queue_ms=0.0))
    serve(counted, record(queue_ms=200.0))
    serve(counted, record(queue_ms=9_000.0, traffic_class="batch"))
    serve(counted, record(queue_ms=700.0, retries=1))
    waits = dict(counted.tallies())["chat"].waits
    assert {name: (sum(h.counts), h.sum_ms) for name, h in waits.items()} == {
        "interactive": (1, 200.0),
        "batch": (1, 9_000.0),
        "experimental": (0, 0.0),
    }
    shown = state(counted)["models"][0]["queue_ms"]
    assert shown["interactive"]["p95"] == pytest.approx(200.0, rel=0.13)
    assert shown["experimental"] == {"p50": None, "p95": None, "p99": None}
