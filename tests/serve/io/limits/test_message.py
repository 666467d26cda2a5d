"""The script in Redis decides as the meters in memory do, and leaves nothing behind that nobody needs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.serve.flow import Quota, Reservation, Scope, Usage
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.flow.months import month_of
from penstock.serve.flow.stand_in import Merge
from penstock.serve.io.limits.message import LIMITS, LIMITS_LUA, Message, parse_answer
from serve.flow.asks import decide, scope
from serve.io.limits.servers import NOVEMBER, Redis

MONTH = month_of(NOVEMBER)


def call(redis: Redis, message: Message, now: float, asks: int) -> tuple[list[Any], list[list[float]]]:
    packed = message.packed("g1", MONTH, NOVEMBER + now)
    answer = redis.call("EVAL", LIMITS_LUA, "1", "{p}", packed, str(round((NOVEMBER + now) * 1e6)))
    return parse_answer(answer, asks, len(message.scopes))


LIMITS_OF = st.one_of(st.none(), st.integers(0, 60))
QUOTAS = st.builds(
    Quota,
    requests_per_minute=LIMITS_OF,
    tokens_per_minute=LIMITS_OF,
    input_tokens_per_minute=LIMITS_OF,
    output_tokens_per_minute=LIMITS_OF,
    concurrent_requests=st.one_of(st.none(), st.integers(0, 4)),
    tokens_per_month=LIMITS_OF,
    cost_per_month_micros=LIMITS_OF,
)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 60_000),  # milliseconds, an odd part of a second: no two ways of rounding meet
        st.sampled_from([(0,), (1,), (0, 1)]),
        st.integers(0, 12),
        st.integers(0, 12),
        st.integers(0, 9),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(quotas=st.tuples(QUOTAS, QUOTAS), events=EVENTS)
def test_redis_and_memory_agree_on_every_verdict(redis: Redis, quotas: tuple[Quota, ...], events: list[Any]) -> None:
    redis.call("FLUSHALL")
    scopes = [Scope(id=f"t:{n}", words="", quota=quota) for n, quota in enumerate(quotas)]
    local, now = LocalLimiter(unix_offset_s=NOVEMBER), 0.0
    open_: list[Reservation] = []
    running = {s.id: 0 for s in scopes}
    rows: dict[str, tuple[Quota, msgspec.Raw]] = {}

    for pause_ms, places, given_tokens, made, cost, ends in events:
        now += pause_ms / 1000 + 0.000_7
        asked = tuple(scopes[place] for place in places)
        settles = Message(rows, running)
        for _ in range(min(ends, len(open_))):
            reservation = open_.pop(0)
            usage = Usage(input_tokens=made, output_tokens=cost, cost_micros=made, has_run=ends < 3)
            a = reservation.ask
            local.settle(reservation, usage, now)
            for s in a.scopes:
                running[s.id] -= 1
            deltas = (usage.input_tokens - a.input_tokens, usage.output_tokens - a.output_tokens)
            settles.settle(
                (a.scopes, 0 if usage.has_run else -1, *deltas, usage.cost_micros - a.cost_micros, MONTH.label)
            )
        settles.ask(asked, given_tokens, made, cost)
        expected = decide(local, now, *asked, given=given_tokens, made=made, cost=cost)

        [found], _ = call(redis, settles, now, 1)

        if expected.reservation is not None:
            assert found == 0
            open_.append(expected.reservation)
            for s in asked:
                running[s.id] += 1
        else:
            whose, limit, seconds = found
            assert expected.scope is settles.scopes[whose - 1]
            assert expected.limit == LIMITS[limit - 1]
            assert (float("inf") if seconds < 0 else seconds) == pytest.approx(expected.retry_after_s, abs=1e-4)


def test_requests_of_one_call_are_decided_one_after_another(redis: Redis) -> None:
    a, b, message = scope("a", requests_per_minute=3), scope("b", requests_per_minute=2), Message({}, {})
    for scopes in ((a, b), (a, b), (a, b), (a,), (a,)):
        message.ask(scopes, 0, 0, 0)

    verdicts, states = call(redis, message, 0.0, 5)

    assert [v == 0 for v in verdicts] == [True, True, False, True, False]
    assert [state[4] for state in states] == [3, 2]  # what b refused is not charged to a


def test_keys_lie_in_one_slot_and_go_when_they_mean_nothing(redis: Redis) -> None:
    message = Message({}, {})
    message.ask((scope("a", requests_per_minute=60, concurrent_requests=2, tokens_per_month=9),), 1, 1, 0)

    call(redis, message, 0.0, 1)

    keys = sorted(redis.call("KEYS", "*"))
    assert keys == [b"{p}:c:t:a", f"{{p}}:m:{MONTH.label}:t:a".encode(), b"{p}:s:t:a"]
    assert 0 < redis.call("PTTL", "{p}:s:t:a") <= 61_000
    assert all(0 < redis.call("TTL", key) <= 40 * 86_400 for key in keys)


def test_running_requests_of_a_dead_gateway_do_not_count(redis: Redis) -> None:
    a = scope("a", concurrent_requests=2)
    redis.call("HSET", "{p}:c:t:a", "dead", "1", "alive", "1", "lapsed", "1")
    redis.call("ZADD", "{p}:gateways", str((NOVEMBER + 10) * 1e6), "alive", str((NOVEMBER - 1) * 1e6), "lapsed")
    message = Message({}, {})
    message.ask((a,), 0, 0, 0)
    message.ask((a,), 0, 0, 0)

    verdicts, _ = call(redis, message, 0.0, 2)

    assert verdicts[0] == 0
    assert verdicts[1] == [1, 5, 1]
    assert redis.call("HKEYS", "{p}:c:t:a") == [b"alive", b"g1"]


def test_what_is_brought_back_twice_counts_once_and_what_was_added_counts_each_time(redis: Redis) -> None:
    quota = Quota(requests_per_minute=60, tokens_per_month=100)
    merge = Merge(
        "t:a", quota, (4.0, 0, 0, 0), (7.0, 0, 0, 0), 20.0, (1.0, 0, 0, 0), (2.0, 0, 0, 0), 5.0, (10, 0), (3, 0)
    )
    states = []
    for _ in range(2):
        message = Message({}, {})
        message.merge(merge)
        states.append(call(redis, message, 0.0, 0)[1][0])

    assert [state[0] for state in states] == [5.0, 6.0]
    assert [state[4] for state in states] == [9.0, 11.0]
    assert [state[8] for state in states] == [20.0, 20.0]
    assert [state[9] for state in states] == [13, 16]


@pytest.mark.parametrize(
    "answer", [None, 5, b"", b"\xc1", msgspec.msgpack.encode([[]]), msgspec.msgpack.encode([[0], [[1.0]]])]
)
def test_an_answer_that_fits_nothing_is_refused(answer: object) -> None:
    with pytest.raises(ValueError):
        parse_answer(answer, 1, 1)
