"""A request that is late to be answered goes to a second endpoint too, and whoever begins first answers."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.client_side import KEEP_ALIVE_S
from penstock.serve.routing import EndpointAddress
from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, USAGE_EVENT, answer, chunk, event, request, sent
from serve.gateways import TENANTS
from serve.hedges import HEDGING, LATE_S, Race, hedging, learn, raced, settings

ROLE = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
BEGUN = SSE_HEAD + chunk(ROLE) + chunk(TOKEN)
REST = chunk(USAGE_EVENT) + chunk(DONE) + END
OTHER = event(choices=[{"index": 0, "delta": {"content": "other"}}])


def late(gateway: Any = None, request_head: Any = None, **body: Any) -> Race:
    """A request that has waited for longer than usual."""
    gateway = gateway or hedging()
    learn(gateway, request_head, **body)
    race = Race(gateway, request_head, **body)
    race.send()
    return race.wait()


# ---------------------------------------------------------------------- when


def test_a_late_stream_is_sent_to_another_endpoint_as_it_was_to_the_first() -> None:
    race = raced()
    (first,), (second,) = race.dispatches, race.beside
    assert second.endpoint.id != first.endpoint.id
    (head, body), (other_head, other_body) = sent(first), sent(second)
    assert body == other_body
    assert head | {"host": ""} == other_head | {"host": ""}
    assert [e.in_flight for e in race.core.endpoints.all()] == [1, 1]
    assert race.record.hedged == "none"


def test_before_it_is_late_it_is_at_one_endpoint() -> None:
    gateway = hedging()
    learn(gateway, stream=True)
    race = Race(gateway, stream=True)
    race.send()
    assert not race.wait(LATE_S * 0.9).beside


def test_switched_off_nothing_is_watched_and_nothing_sent_twice() -> None:
    gateway = hedging(configured=settings(TENANTS))
    race = Race(gateway, stream=True)
    race.send()
    assert race.exchange._race is None
    assert not race.wait(99.0).beside


def test_a_request_is_sent_a_second_time_once_at_most() -> None:
    race = raced(hedging(4))
    race.lose_second()
    race.wait(10.0)
    race.wait(10.0)
    assert len(race.beside) == 1


def test_not_while_the_budget_is_empty() -> None:
    assert not late(hedging(budget=0.0), stream=True).beside


def test_each_hedge_takes_one_from_the_budget() -> None:
    gateway = hedging(budget=2.0)
    learn(gateway, stream=True)
    races = [Race(gateway, stream=True) for _ in range(4)]
    for race in races:
        race.send()
    for race in races:
        race.wait()
    assert sum(race.is_at_two for race in races) == 2


def test_not_to_the_same_endpoint_so_not_where_there_is_one() -> None:
    assert not late(hedging(1), stream=True).beside


@pytest.mark.parametrize("health", ["down", "draining", "unproven"])
def test_only_an_endpoint_that_is_in_use_gets_it(health: Any) -> None:
    gateway = hedging(2)
    learn(gateway, stream=True)
    race = Race(gateway, stream=True)
    race.send()
    for endpoint in gateway.endpoints.all():
        if endpoint.id != race.tried[0]:
            endpoint.health = health
    gateway.endpoints.pools["chat"].is_calm = False
    assert not race.wait().beside


def test_not_where_no_endpoint_has_room_but_as_soon_as_one_has() -> None:
    models = """\
    - name: chat
      concurrency: 1
      endpoints: ["http://127.0.0.1:1"]
"""
    tenants = TENANTS.replace("        models: [embed]\n", "")
    gateway = hedging(2, configured=settings(tenants + HEDGING, models=models))
    learn(gateway, stream=True)
    busy, race = Race(gateway, stream=True), Race(gateway, stream=True)
    busy.send()
    race.send()
    race.wait()
    assert not race.beside
    busy.exchange.client_lost(busy.tick())
    assert race.wait(LATE_S + 0.01).beside


def test_not_past_others_who_wait_for_that_room() -> None:
    race = raced_without_second()
    race.core.flow._busy["chat"] = object()  # type: ignore[assignment]
    assert not race.wait().beside


def raced_without_second() -> Race:
    gateway = hedging(2)
    learn(gateway, stream=True)
    race = Race(gateway, stream=True)
    race.send()
    return race


def test_not_where_the_kv_cache_is_at_a_certain_engine() -> None:
    assert not late(stream=True, kv_transfer_params={"do_remote_prefill": True}).beside


def test_a_retried_request_is_not_sent_twice() -> None:
    gateway = hedging(4)
    learn(gateway, stream=True)
    race = Race(gateway, stream=True)
    race.send()
    race.lose()
    assert len(race.dispatches) == 2
    assert not race.wait(99.0).beside


def test_a_stream_that_goes_on_elsewhere_is_not_sent_twice() -> None:
    gateway = hedging(4)
    learn(gateway, stream=True)
    race = Race(gateway, stream=True, seed=1)
    race.send()
    race.engine(BEGUN)
    race.lose()
    assert race.exchange.phase == "resuming"
    assert not race.wait(99.0).beside


def test_an_answer_that_began_is_left_alone() -> None:
    race = raced_without_second()
    race.engine(BEGUN)
    assert not race.wait(99.0).beside
    assert race.record.hedged == ""


def test_a_head_alone_and_who_speaks_are_no_answer_yet() -> None:
    race = raced_without_second()
    race.engine(SSE_HEAD, chunk(ROLE))
    assert race.client.raw == b""
    assert race.wait().beside


def test_a_provider_outside_is_never_asked_twice() -> None:
    models = """\
    - name: chat
      endpoints: ["http://127.0.0.1:1"]
      fallbacks: [{provider: away, when: [error]}]
"""
    outside = '    providers: [{name: away, url: "http://127.0.0.1:9/v1"}]\n'
    tenants = TENANTS.replace("        models: [embed]\n", "")
    gateway = hedging(0, configured=settings(tenants + HEDGING + outside, models=models))
    for target in gateway.config.targets.values():
        if target.provider is not None:
            addresses = [
                EndpointAddress(id=f"away-{n}", host="127.0.0.1", port=9 + n, is_external=True) for n in (0, 1)
            ]
            gateway.endpoints.set_pool(target.name, addresses)
    gateway.brings_endpoints = False
    race = Race(gateway, stream=True)
    race.send()
    assert race.tried[0] in ("away-0", "away-1")
    assert race.exchange._race is None
    assert not race.wait(99.0).beside


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/completions", {"prompt": "x", "stream": True}),
        ("/v1/embeddings", {}),
        ("/v1/messages", {"max_tokens": 5}),
        ("/v1/messages", {"max_tokens": 5, "stream": True}),
        ("/v1/responses", {}),
        ("/v1/responses", {"stream": True}),
        ("/v1/chat/completions", {}),
    ],
)
def test_whatever_may_be_retried_before_its_answer_may_be_sent_twice(path: str, body: dict[str, Any]) -> None:
    race = late(hedging(), request(path), **body)
    assert race.is_at_two
    race.leave().settled()


# ---------------------------------------------------------------------- who wins


def test_the_first_wins_and_the_second_is_cut_at_once() -> None:
    race = raced()
    race.engine(BEGUN)
    assert race.cut == ["second"]
    assert not race.is_at_two
    race.engine(REST)
    assert b"hel" in race.client.body
    assert race.client.is_whole
    assert race.record.hedged == "first"
    assert race.record.endpoint == race.tried[0]
    assert race.outcome == ("ok", "")
    race.settled()


def test_the_second_wins_and_the_first_is_cut_at_once() -> None:
    race = raced()
    race.second(SSE_HEAD + chunk(ROLE) + chunk(OTHER))
    assert race.cut == ["first"]
    race.engine(REST)
    assert b"other" in race.client.body
    assert race.client.is_whole
    assert race.record.hedged == "second"
    assert race.record.endpoint == race.beside[0].endpoint.id
    assert (race.record.prompt_tokens, race.record.output_tokens) == (5, 7)
    assert race.outcome == ("ok", "")
    race.settled()


@pytest.mark.parametrize("first", [(), (SSE_HEAD,), (SSE_HEAD, chunk(ROLE)), (SSE_HEAD[:20],)])
def test_whoever_says_its_first_text_first_wins_whatever_head_came_before(first: tuple[bytes, ...]) -> None:
    race = raced()
    race.engine(*first)
    race.second(SSE_HEAD, chunk(ROLE))
    assert race.is_at_two
    race.second(chunk(OTHER), REST)
    assert race.client.events[1] == OTHER
    assert race.client.body.count(b"assistant") == 1
    race.settled()


def test_a_plain_answer_wins_with_its_head() -> None:
    race = raced(stream=False)
    race.second(answer()[:60])
    assert race.is_at_two
    race.second(answer()[60:-20])
    assert not race.is_at_two
    assert race.cut == ["first"]
    race.engine(answer()[-20:])
    assert race.client.body == ANSWER
    assert race.record.hedged == "second"
    race.settled()


def test_the_time_to_the_first_token_is_the_clients() -> None:
    race = raced()
    race.second(BEGUN)
    assert race.record.ttft_ms == pytest.approx((race.now - 100.0) * 1e3)


def test_what_is_late_is_learned_from_all_the_time_that_the_request_took() -> None:
    race = raced()
    usual = race.exchange._race.usual  # type: ignore[union-attr]
    race.second(BEGUN)
    assert usual._samples[-1] > LATE_S


def test_the_slow_first_endpoint_is_known_to_have_been_waited_for_as_long() -> None:
    race = raced()
    first, second = race.dispatches[0].endpoint, race.beside[0].endpoint
    race.second(BEGUN)
    assert first.guard.ttft_s > LATE_S
    assert second.guard.ttft_s < 0.1
    assert first.guard.error_share(race.now) == 0.0


def test_a_client_that_asks_why_is_told() -> None:
    gateway = hedging()
    race = raced(gateway, request(wants_explanation=True))
    race.second(BEGUN + REST)
    assert race.client.headers["x-penstock-hedged"] == "second"
    assert race.client.headers["x-penstock-endpoint"] == race.beside[0].endpoint.id
    shown = [kept[3].endpoint.id for kept in gateway.decisions.newest_first()]
    assert shown[:2] == [race.beside[0].endpoint.id, race.tried[0]]
    race.settled()


def test_a_client_that_asks_why_is_told_of_the_first_as_well() -> None:
    race = raced(None, request(wants_explanation=True))
    race.engine(BEGUN + REST)
    assert race.client.headers["x-penstock-hedged"] == "first"


def test_a_refusal_of_the_request_by_the_first_is_the_answer() -> None:
    race = raced()
    race.engine(answer(b'{"message": "too long"}', status="400 Bad"))
    assert race.client.status == 400
    assert race.cut == ["second"]
    race.settled()


def test_a_refusal_by_the_second_is_not_as_the_first_may_know_better() -> None:
    race = raced()
    race.second(answer(b'{"message": "no such model"}', status="404 No"))
    assert not race.is_at_two
    race.engine(BEGUN + REST)
    assert race.client.status == 200
    assert race.record.hedged == "first"
    race.settled()


def test_a_stream_whose_client_has_its_head_already_as_it_waited_long_goes_on_with_the_seconds_text() -> None:
    models = """\
    - name: chat
      concurrency: 1
      endpoints: ["http://127.0.0.1:1"]
"""
    tenants = TENANTS.replace("        models: [embed]\n", "")
    gateway = hedging(2, configured=settings(tenants + HEDGING, models=models))
    learn(gateway, stream=True)
    busy = [Race(gateway, stream=True), Race(gateway, stream=True)]
    for one in busy:
        one.send()
    race = Race(gateway, stream=True)
    race.send()
    race.client.take(race.exchange.keep_alive(race.tick(KEEP_ALIVE_S)))
    busy[0].now = race.now
    busy[0].leave()
    race.pump()
    busy[1].leave()
    assert race.wait().beside
    race.second(SSE_HEAD + chunk(ROLE) + chunk(OTHER), REST)
    assert race.client.events[1:3] == [ROLE, OTHER]
    assert race.client.is_whole
    race.settled()


# ---------------------------------------------------------------------- who fails

FAULTS = [
    (answer(b"{}", status="503 Busy"),),
    (answer(b"no", status="500 Oops"),),
    (answer(b"", status="307 Go"),),
    (b"garbage\r\n\r\n",),
    (SSE_HEAD, chunk(event(error={"message": "EngineCore encountered an issue.", "code": 500}))),
    (SSE_HEAD, chunk(ROLE), END),
    (SSE_HEAD, b"zz\r\n"),
]


@pytest.mark.parametrize("reads", FAULTS)
def test_the_first_fails_and_the_second_simply_goes_on(reads: tuple[bytes, ...]) -> None:
    race = raced()
    race.engine(*reads)
    assert not race.is_at_two
    assert race.exchange.endpoint is race.beside[0].endpoint
    assert race.cut == ["first"]
    race.engine(BEGUN + REST)
    assert race.client.status == 200
    assert (race.record.retries, race.record.resumes, race.record.hedged) == (0, 0, "second")
    assert race.client.body.count(b"hel") == 1
    race.settled()


def test_the_first_connection_breaks_and_the_second_goes_on_with_what_it_had_said() -> None:
    race = raced()
    race.second(SSE_HEAD, chunk(ROLE))
    race.lose()
    race.engine(chunk(TOKEN), REST)
    assert race.client.events[:2] == [ROLE, TOKEN]
    assert race.record.hedged == "second"
    race.settled()


@pytest.mark.parametrize("reads", FAULTS)
def test_the_second_fails_and_the_first_is_waited_for_alone(reads: tuple[bytes, ...]) -> None:
    race = raced()
    race.second(*reads)
    assert race.cut == ["second"]
    assert [d.endpoint for d in race.dispatches] == [race.exchange.endpoint]
    race.engine(BEGUN + REST)
    assert (race.record.retries, race.record.hedged) == (0, "first")
    race.settled()


@pytest.mark.parametrize("is_first_first", [True, False])
def test_both_fail_and_a_third_endpoint_is_tried_as_after_any_failure(is_first_first: bool) -> None:
    race = raced(hedging(3))
    if is_first_first:
        race.lose()
        race.lose()
    else:
        race.lose_second()
        race.lose()
    assert len(race.dispatches) == 2
    tried = {race.tried[0], race.beside[0].endpoint.id, race.tried[1]}
    assert len(tried) == 3
    assert race.record.retries == 1
    race.engine(BEGUN + REST)
    assert race.outcome == ("ok", "")
    assert race.record.hedged == "none"
    race.settled()


def test_both_fail_where_there_are_no_others_and_the_client_is_told() -> None:
    race = raced()
    race.lose()
    race.lose()
    for _ in range(4):
        if not race.is_over:
            race.lose()
    assert race.client.status == 502
    race.settled()


def test_an_idle_connection_that_was_closed_is_no_failure_of_the_first() -> None:
    race = raced()
    race.lose(was_reused=True)
    assert race.is_at_two
    assert race.dispatches[1].is_fresh
    assert race.tried[0] == race.tried[1]
    race.second(BEGUN + REST)
    race.settled()


def test_an_idle_connection_that_was_closed_is_no_failure_of_the_second() -> None:
    race = raced()
    race.lose_second(was_reused=True)
    assert race.is_at_two
    assert race.beside[1].is_fresh
    race.second(BEGUN + REST)
    assert race.record.hedged == "second"
    race.settled()


def test_the_first_is_too_slow_for_the_file_and_the_second_has_time_of_its_own() -> None:
    gateway = hedging(configured=settings(TENANTS + HEDGING + "    timeouts: {firstByteS: 5}\n"))
    race = raced(gateway)
    race.late(4.5)
    assert not race.is_over
    assert not race.is_at_two
    race.engine(BEGUN + REST)
    assert race.outcome == ("ok", "")
    race.settled()


# ---------------------------------------------------------------------- ends of both


def test_a_client_that_leaves_ends_both() -> None:
    race = raced().leave()
    assert race.cut == ["first", "second"]
    assert race.outcome == ("cancelled", "client_disconnected")
    race.settled()


def test_a_deadline_ends_both() -> None:
    gateway = hedging(configured=settings(TENANTS + HEDGING + "    classes: {interactive: {timeoutS: 3}}\n"))
    race = raced(gateway)
    race.late(3.0)
    assert race.client.status == 504
    assert race.cut == ["second"]
    race.settled()


def test_a_gateway_that_stops_ends_both() -> None:
    race = raced()
    race.take(race.exchange.shut_down(race.tick()))
    assert race.client.status == 503
    race.settled()


def test_a_reload_that_takes_the_second_endpoint_away_leaves_the_race_as_it_is() -> None:
    race = raced()
    second = race.beside[0].endpoint
    race.core.endpoints.set_pool("chat", [EndpointAddress(id=race.tried[0], host="127.0.0.1", port=1)])
    race.second(BEGUN + REST)
    assert race.outcome == ("ok", "")
    assert second.in_flight == 0
    race.settled()


def test_a_reload_that_switches_it_off_lets_what_is_under_way_go_on() -> None:
    race = raced()
    race.core.configure(settings(TENANTS))
    race.second(BEGUN + REST)
    assert race.record.hedged == "second"
    assert not raced_off(race).beside
    race.settled()


def raced_off(race: Race) -> Race:
    other = Race(race.core, stream=True)
    other.send()
    other.wait(99.0)
    other.leave()
    return other


# ---------------------------------------------------------------------- what it costs whom


def test_what_the_loser_did_is_charged_to_nobody() -> None:
    limits = "        limits: {tokensPerMinute: 100000, concurrentRequests: 5}\n"
    tenants = TENANTS.replace("      - name: beta\n", f"{limits}      - name: beta\n", 1)
    gateway = hedging(configured=settings(tenants + HEDGING))
    race = raced(gateway)
    meter = next(iter(gateway.limiter.meters().values()))  # type: ignore[attr-defined]
    assert meter.running == 1
    race.engine(SSE_HEAD, chunk(ROLE))
    race.second(BEGUN + REST)
    assert meter.running == 0
    assert (race.record.prompt_tokens, race.record.output_tokens) == (5, 7)
    race.settled()


def test_prompts_and_seats_are_given_back_exactly_once() -> None:
    race = raced()
    windows = [e.window for e in race.core.endpoints.all()]
    race.second(BEGUN)
    assert [w.kv_held for w in windows if w is not None].count(0) == 1
    race.engine(REST)
    assert all(w is None or w.kv_held == 0 for w in windows)
    assert all(w is None or w.prefill_held == 0 for w in windows)
    race.settled()
