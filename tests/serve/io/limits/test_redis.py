"""Gateways share limits through a real Redis, and hold their shares of them while it is frozen, killed or wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from math import inf
from typing import Any

import pytest
import uvloop

from fakes.upstream import eventually
from penstock.serve.flow import Reservation, Scope, Verdict
from penstock.serve.io.limits import RedisAddress, RedisLimiter
from penstock.serve.io.limits import redis as module
from penstock.serve.io.limits.message import MEMBERS_LUA
from serve.flow.asks import ask, scope
from serve.flow.busy import BUSY_S, WORK, behind
from serve.io.limits.servers import Redis, Tenant, gateway, missing, redis_server

TWENTY = scope("a", requests_per_minute=20)
"""Ten at once, then one in three seconds."""


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main

    uvloop.run(bounded())


def is_back(*tenants: Tenant) -> bool:
    return all(t.limiter.state.is_connected for t in tenants)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life are sent and lapse soon."""
    monkeypatch.setattr(module, "BEAT_S", 0.05)
    monkeypatch.setattr(module, "LIVE_S", 0.5)


def test_two_gateways_hold_one_limit(redis: Redis) -> None:
    async def main() -> None:
        async with gateway(redis) as one, gateway(redis) as two:
            first = await one.admitted(7, TWENTY)
            second = await two.admitted(7, TWENTY)

            assert (len(first), len(second)) == (7, 3)
            refused = await one.ask(TWENTY)
            assert (refused.limit, refused.scope, refused.is_degraded) == ("requests_per_minute", TWENTY, False)
            assert 0 < refused.retry_after_s <= 3
            assert refused.requests is not None
            assert (refused.requests.limit, refused.requests.remaining) == (20, 0)

    run(main())


def test_requests_of_one_turn_go_in_one_call(redis: Redis) -> None:
    async def main() -> None:
        async with gateway(redis) as one:
            await one.admitted(200, scope("b", requests_per_minute=5000))

            assert (one.limiter.state.asks_total, one.limiter.state.batches_total) == (200, 1)

    run(main())


def test_a_settled_request_is_charged_what_it_used_for_all_gateways(redis: Redis) -> None:
    tenant = scope("a", tokens_per_minute=6000, tokens_per_month=1000)

    async def main() -> None:
        async with gateway(redis) as one, gateway(redis) as two:
            first, second = await one.admitted(2, tenant, given=300)
            assert (await two.ask(tenant, given=600)).reservation is None

            one.settle(first, has_run=False)
            one.settle(first, has_run=False)
            one.settle(second, input_tokens=300, output_tokens=100)
            await eventually(lambda: not one.limiter._settles)

            assert (await two.ask(tenant, given=601)).limit == "tokens_per_month"
            assert (await two.ask(tenant, given=100)).reservation is not None

    run(main())


def test_requests_at_once_are_counted_over_gateways_and_end_with_a_gateway_that_leaves(redis: Redis) -> None:
    tenant = scope("a", concurrent_requests=3)

    async def main() -> None:
        async with gateway(redis) as two:
            async with gateway(redis) as one:
                held = await one.admitted(2, tenant)
                assert len(held) == 2
                assert len(await two.admitted(5, tenant)) == 1
                one.settle(held[0])
                await eventually(lambda: not one.limiter._settles and one.limiter._batch is None)
                assert len(await two.admitted(5, tenant)) == 1
            async with asyncio.timeout(10):  # its goodbye and our question are on two connections
                while not (more := await two.admitted(5, tenant)):  # noqa: ASYNC110 — only asking tells
                    await asyncio.sleep(0.005)
            assert len(more) == 1

    run(main())


def test_requests_of_a_killed_gateway_stop_counting(redis: Redis) -> None:
    tenant = scope("a", concurrent_requests=2)

    async def main() -> None:
        async with gateway(redis) as two, AsyncExitStack() as stack:
            one = await stack.enter_async_context(gateway(redis))
            assert len(await one.admitted(2, tenant)) == 2
            assert (await two.ask(tenant)).limit == "concurrent_requests"
            await eventually(lambda: two.limiter.gateways == 2)

            link = one.limiter._link
            assert link is not None
            link.close = lambda: link.end("killed")  # type: ignore[method-assign]
            link.send = lambda *_: None  # type: ignore[method-assign]  # kill -9: no goodbye
            await stack.aclose()

            async def is_free() -> bool:
                return (await two.ask(tenant)).reservation is not None

            while not await is_free():  # noqa: ASYNC110  # no event tells; bounded by the test's own time
                await asyncio.sleep(0.01)
            await eventually(lambda: two.limiter.gateways == 1)

    run(main())


def test_gateways_know_how_many_live_and_their_places(redis: Redis) -> None:
    async def main() -> None:
        async with gateway(redis) as one, gateway(redis) as two:
            async with gateway(redis) as three:
                everyone = [one, two, three]
                await eventually(lambda: all(t.limiter.gateways == 3 for t in everyone))
                assert sorted(t.limiter.index for t in everyone) == [0, 1, 2]
            await eventually(lambda: one.limiter.gateways == two.limiter.gateways == 2)
            assert sorted(t.limiter.index for t in (one, two)) == [0, 1]

    run(main())


def test_gateways_tell_each_other_what_tenants_had(redis: Redis) -> None:
    """Given "a" ahead at one gateway of two, when they have told each other, then it is half as far ahead at both."""

    async def main() -> None:
        began = time.monotonic() - BUSY_S
        ahead, level = behind("a", "b", ahead={"a": 20}, began=began), behind("a", "b", ahead={}, began=began)

        def between() -> float:
            now = time.monotonic()
            return abs(ahead.lags(now)["a"] - level.lags(now)["a"])

        assert between() > 10 * WORK
        before = ahead.lags()["a"] + level.lags()["a"]
        async with gateway(redis) as one, gateway(redis) as two:
            one.limiter.balance, two.limiter.balance = ahead.balance, level.balance
            await eventually(lambda: between() < 1)
            assert ahead.lags()["a"] + level.lags()["a"] == pytest.approx(before)

    run(main())


def test_a_word_counts_in_the_round_in_which_it_was_said_and_is_gone_soon(redis: Redis) -> None:
    def beat(who: str, word: bytes, live_ms: int = 10_000) -> list[Any]:
        answer: list[Any] = redis.call("EVAL", MEMBERS_LUA, "1", "{p}", who, str(live_ms), word, "60000")
        return answer

    first = beat("one", b"first")
    assert first[3:] == [int(redis.call("TIME")[0]) // 60 - 1, []]  # of the round before
    beat("one", b"second")
    beat("two", b"")
    beat("three", b"left", live_ms=0)
    (key,) = redis.call("KEYS", "{p}:said:*")
    assert redis.call("HGETALL", key) == [b"one", b"first"]
    assert 0 < redis.call("PTTL", key) <= 240_000


def test_a_frozen_redis_costs_one_wait_and_then_the_share_decides_at_once(
    own_redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with gateway(own_redis) as one:
            assert len(await one.admitted(4, TWENTY)) == 4
            own_redis.freeze()

            waited = await asyncio.gather(*(one.begin(ask(TWENTY)) for _ in range(20)))
            at_once = [one.limiter.reserve(ask(TWENTY), time.monotonic(), lambda *_: None) for _ in range(20)]

            verdicts = [*waited, *at_once]
            assert all(v is not None and v.is_degraded for v in verdicts)
            assert sum(v is not None and v.reservation is not None for v in verdicts) <= 1  # no burst anew
            state = one.limiter.state
            assert (state.is_connected, state.source, state.degraded_total) == (False, "share", 40)
            assert state.error.startswith(f"Redis at {own_redis.url} is away: it did not answer within 250 ms")

            own_redis.thaw()
            await eventually(lambda: is_back(one))
            assert one.limiter.state.source == "redis"
            back = await one.ask(TWENTY)
            assert not back.is_degraded
            assert len(await one.admitted(10, TWENTY)) <= 7  # four were used before
            told = [record.getMessage().split()[0] for record in caplog.records]
            assert told == ["event=limits_degraded", "event=limits_shared"]

    run(main())


def test_a_redis_that_comes_back_empty_is_told_what_it_forgot(own_redis: Redis) -> None:
    monthly, many = scope("m", tokens_per_month=100), scope("c", concurrent_requests=2)

    async def main() -> None:
        async with gateway(own_redis) as one, gateway(own_redis) as two:
            await eventually(lambda: one.limiter.gateways == 2)
            assert len(await one.admitted(10, TWENTY)) == 10
            assert (await two.ask(TWENTY)).reservation is None
            assert len(await one.admitted(1, monthly, given=80)) == 1
            assert len(await one.admitted(2, many)) == 2

            own_redis.kill()
            await eventually(lambda: not one.limiter.state.is_connected and not two.limiter.state.is_connected)
            away = await one.ask(monthly, given=5)
            assert away.is_degraded
            assert away.reservation is not None
            own_redis.start()
            await eventually(lambda: is_back(one, two))

            assert not (refused := await two.ask(TWENTY)).reservation
            assert not refused.is_degraded
            assert (await two.ask(monthly, given=16)).limit == "tokens_per_month"
            assert (await two.ask(monthly, given=15)).reservation is not None
            assert (await two.ask(many)).limit == "concurrent_requests"

    run(main())


def test_a_redis_that_is_emptied_under_way_is_told_too(own_redis: Redis) -> None:
    async def main() -> None:
        async with gateway(own_redis) as one:
            assert len(await one.admitted(10, TWENTY)) == 10

            own_redis.call("FLUSHALL")
            await eventually(lambda: bool(own_redis.call("EXISTS", "{penstock:demo}:s:t:a")))

            assert (await one.ask(TWENTY)).reservation is None

    run(main())


def test_a_redis_that_lost_its_scripts_gets_them_again(redis: Redis) -> None:
    async def main() -> None:
        async with gateway(redis) as one:
            redis.call("SCRIPT", "FLUSH")

            verdict = await one.ask(TWENTY)

            assert verdict.reservation is not None
            assert not verdict.is_degraded

    run(main())


def test_a_slow_redis_is_away_and_comes_back() -> None:
    if reason := missing():
        pytest.skip(reason)

    async def main(server: Redis) -> None:
        async with gateway(server) as one:
            sleeping = asyncio.create_task(asyncio.to_thread(server.call, "DEBUG", "SLEEP", "0.6"))
            verdicts = []
            while not any(v.is_degraded for v in verdicts):
                verdicts.append(await one.ask(scope("b", requests_per_minute=100_000)))
            assert await sleeping == b"OK"
            await eventually(lambda: is_back(one))
            assert not (await one.ask(TWENTY)).is_degraded

    with redis_server("--enable-debug-command", "yes") as server:
        run(main(server))


def test_a_redis_that_answers_with_errors_is_away(own_redis: Redis) -> None:
    async def main() -> None:
        async with gateway(own_redis) as one:
            own_redis.call("SADD", "{penstock:demo}:s:t:a", "no string")

            verdict = await one.ask(TWENTY)

            assert verdict.is_degraded
            assert "WRONGTYPE" in one.limiter.state.error

    run(main())


def test_without_redis_at_the_start_the_expected_share_is_held(own_redis: Redis) -> None:
    tenant = scope("a", requests_per_minute=2, concurrent_requests=4, tokens_per_minute=1000)

    async def main() -> None:
        own_redis.kill()
        async with gateway(own_redis, gateways_expected=4) as one:
            assert one.limiter.gateways == 4
            large = await one.ask(scope("b", tokens_per_minute=1000), given=900)
            larger = await one.ask(scope("b", tokens_per_minute=1000), given=1001)
            small = await one.ask(tenant)

            assert (large.retry_after_s, larger.retry_after_s) == (module.AWAY_RETRY_S, inf)
            assert small.reservation is None  # two a minute over four gateways: not for this one

            own_redis.start()
            await eventually(lambda: is_back(one))
            assert (await one.ask(tenant)).reservation is not None

    run(main())


def test_what_was_reserved_before_is_settled_while_redis_is_away_and_after(own_redis: Redis) -> None:
    tenant = scope("a", concurrent_requests=2, tokens_per_month=1000)

    async def main() -> None:
        async with gateway(own_redis) as one:
            early, other = await one.admitted(2, tenant, given=100)
            own_redis.freeze()
            refused = await one.ask(tenant, given=10)
            one.settle(early, input_tokens=150)
            share = await one.ask(tenant, given=10)
            own_redis.thaw()
            await eventually(lambda: is_back(one))
            assert refused.limit == "concurrent_requests"
            assert share.is_degraded
            assert share.reservation is not None
            one.settle(other, has_run=False)
            one.settle(share.reservation, input_tokens=30)
            await eventually(lambda: not one.limiter._settles and one.limiter._batch is None)

            keys = own_redis.call("KEYS", "{penstock:demo}:m:*")
            assert own_redis.call("HGET", keys[0], "t") == b"180"
            assert len(await one.admitted(5, tenant)) == 2

    run(main())


def test_no_gateway_together_pass_the_limit_while_redis_dies_and_returns(own_redis: Redis) -> None:
    tenant = scope("f", requests_per_minute=600)  # sixty at once, then ten a second

    async def main() -> None:
        async with gateway(own_redis) as one, gateway(own_redis) as two, gateway(own_redis) as three:
            everyone, admitted = [one, two, three], [0]
            await eventually(lambda: all(t.limiter.gateways == 3 for t in everyone))
            begun = time.monotonic()

            async def flood(until: Any) -> None:
                while not until():
                    for t in everyone:
                        admitted[0] += len(await t.admitted(5, tenant))

            await flood(lambda: admitted[0] >= 60)
            own_redis.kill()
            await flood(lambda: not any(t.limiter.state.is_connected for t in everyone))
            await flood(lambda: admitted[0] >= 63)
            own_redis.start()
            await flood(lambda: is_back(*everyone))
            await flood(lambda: admitted[0] >= 66)

            elapsed = time.monotonic() - begun
            assert admitted[0] <= 60 + 10 * elapsed + 3 + 15  # the pace, a request each, and the turn that ended it

    run(main())


def test_one_who_asks_and_fails_takes_nobody_with_it(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    def fails(verdict: Verdict, now: float) -> None:
        raise RuntimeError("mine")

    async def main() -> None:
        async with gateway(redis) as one:
            assert one.limiter.reserve(ask(TWENTY), time.monotonic(), fails) is None

            assert (await one.ask(TWENTY)).reservation is not None

    run(main())

    assert [r.getMessage() for r in caplog.records] == ["the one who asked for a verdict failed"]


def test_corrections_that_pile_up_are_bounded(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLES_MAX", 3)
    tenant: Scope = scope("a", requests_per_minute=600)

    async def main() -> None:
        async with gateway(redis) as one:
            held: list[Reservation] = await one.admitted(10, tenant)
            for reservation in held:
                one.settle(reservation, has_run=False)

            assert one.limiter.state.settles_dropped_total == 7
            await eventually(lambda: not one.limiter._settles)

    run(main())


def test_a_limiter_that_never_ran_can_be_closed(redis: Redis) -> None:
    async def main() -> None:
        limiter = RedisLimiter(RedisAddress(url=redis.url), "demo", unix_offset_s=0.0)
        await limiter.begin()
        assert limiter.state.is_connected

        limiter.close()
        limiter.close()

        assert not limiter.state.is_connected

    run(main())


def test_whoever_has_no_limit_is_not_asked_about(redis: Redis) -> None:
    async def main() -> None:
        async with gateway(redis) as one:
            verdict = one.limiter.reserve(ask(given=10**9), time.monotonic(), lambda *_: None)

            assert verdict is not None
            assert verdict.reservation is not None
            one.settle(verdict.reservation)

    run(main())
