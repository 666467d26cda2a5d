"""Whatever happens to requests that are at two endpoints, in whatever order: one answer each, and nothing is kept."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from penstock.serve.core import Core
from penstock.serve.routing import EndpointAddress
from serve.exchanges import DONE, END, SSE_HEAD, TOKEN, USAGE_EVENT, answer, chunk, event
from serve.gateways import TENANTS
from serve.hedges import HEDGING, Race, hedging, learn, settings

ROLE = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
READS = st.sampled_from(
    [
        *(SSE_HEAD, chunk(ROLE), chunk(TOKEN), chunk(USAGE_EVENT), chunk(DONE), END, SSE_HEAD + chunk(ROLE)),
        *(SSE_HEAD + chunk(TOKEN), SSE_HEAD + chunk(TOKEN) + chunk(USAGE_EVENT) + chunk(DONE) + END, SSE_HEAD[:30]),
        *(SSE_HEAD[30:], answer(), answer()[:70], answer()[70:], answer(b"{}", status="503 Busy"), b"zz\r\n"),
        *(answer(b"no", status="500 Oops"), answer(b"{}", status="400 Bad"), answer(b"", status="307 Go")),
        *(b"garbage\r\n\r\n", SSE_HEAD + chunk(event(error={"message": "x"})), chunk(b": ping\n\n"), b"HTTP/1.1 2"),
        *(answer() + answer(), answer(b"{}", status="404 No"), b"HTTP/1.1 200 OK\r\n\r\n"),
    ]
)
EVENTS = st.one_of(
    st.tuples(st.just("first"), READS),
    st.tuples(st.just("second"), READS),
    st.tuples(st.just("lose"), st.sampled_from([{}, {"was_reused": True}, {"is_end": True}])),
    st.tuples(st.just("lose_second"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 1.01, 1.01])),
    st.tuples(st.just("late"), st.sampled_from([0.1, 3.0, 700.0])),
    st.tuples(st.just("leave"), st.none()),
    st.tuples(st.just("shut_down"), st.none()),
    st.tuples(st.just("pool"), st.integers(0, 4)),
    st.tuples(st.just("switch"), st.booleans()),
)
OFF, ON = settings(TENANTS), settings(TENANTS + HEDGING)


def apply(race: Race, kind: str, value: Any) -> None:
    match kind:
        case "first":
            race.engine(value)
        case "second":
            if race.is_at_two:
                race.second(value)
        case "lose":
            race.lose(**value)
        case "lose_second":
            if race.is_at_two:
                race.lose_second(was_reused=value)
        case "wait":
            race.wait(value)
        case "late":
            race.late(value)
        case "leave":
            race.leave()
        case "shut_down":
            race.take(race.exchange.shut_down(race.tick()))
        case "pool":
            addresses = [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=n + 1) for n in range(value)]
            race.core.endpoints.set_pool("chat", addresses)
        case "switch":
            race.core.configure(ON if value else OFF)


def check(core: Core, races: list[Race], endpoints: dict[int, Any]) -> None:
    """After every event. The client's parser asserts that its bytes are one answer."""
    at: Counter[int] = Counter()
    for race in races:
        exchange = race.exchange
        assert race.is_at_two == ("second" in race.links)
        assert len(race.beside) <= 1 or all(d.is_fresh for d in race.beside[1:])
        if exchange.endpoint is not None:
            at[id(exchange.endpoint)] += 1
        if (second := exchange.second) is not None:
            assert second is not exchange.endpoint
            at[id(second)] += 1
            assert exchange.phase == "waiting"
            assert not race.client.raw
    for endpoint in core.endpoints.all():
        endpoints[id(endpoint)] = endpoint
    for key, endpoint in endpoints.items():
        assert endpoint.in_flight == at[key]
        assert endpoint.window is None or (endpoint.window.prefill_held >= 0 and endpoint.window.kv_held >= 0)
    assert core.in_flight == sum(not race.is_over for race in races)


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 2), EVENTS), max_size=30),
    is_stream=st.booleans(),
    count=st.integers(1, 4),
    budget=st.sampled_from([0.0, 1.0, 2.5, 5.0]),
)
def test_each_request_ends_once_at_one_endpoint_and_everything_is_given_back(
    steps: list[tuple[int, tuple[str, Any]]], is_stream: bool, count: int, budget: float
) -> None:
    gateway = hedging(count, budget=budget)
    learn(gateway, stream=is_stream)
    endpoints: dict[int, Any] = {}
    races = [Race(gateway, stream=is_stream) for _ in range(3)]
    for race in races:
        race.send()
    for race in races:
        race.wait(1.01)
    check(gateway, races, endpoints)
    for index, (kind, value) in steps:
        if not races[index].is_over:
            apply(races[index], kind, value)
            check(gateway, races, endpoints)
    for race in races:
        if not race.is_over:
            race.leave()
    check(gateway, races, endpoints)
    for race in races:
        race.settled()
        assert not race.links
        assert race.exchange._race is None
        assert (race.record.hedged == "") == (not race.beside)
        if race.record.resumes or race.record.retries:
            continue  # its answer went on elsewhere
        if race.record.hedged == "second":
            assert race.record.endpoint == race.beside[0].endpoint.id
        elif race.record.hedged == "first":
            assert race.record.endpoint == race.tried[0]
    assert all(e.in_flight == 0 for e in endpoints.values())
    assert all(e.window is None or e.window.kv_held == 0 for e in endpoints.values())
    hedge = gateway.hedging._hedges.get("chat")
    if hedge is not None:
        assert all(not usual.waiting for usual in hedge.kinds.values())
        assert hedge.hedged_total == sum(bool(race.beside) for race in races) <= budget + 3 * hedge.share
