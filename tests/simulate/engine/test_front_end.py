"""The API server's time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.perf.overheads import FrontEndTime
from penstock.simulate.engine.front_end import FrontEnd

TIME = FrontEndTime(transit_token_s=0.0, slowest=0.0)


def test_request_alone_is_seen_after_its_fixed_and_per_token_time() -> None:
    assert FrontEnd(TIME).receive(4096, 1.0) == pytest.approx(1.0 + TIME.before(4096))


def test_first_tokens_cost_more_and_tokens_leave_one_after_the_other() -> None:
    ready = 2.0 + TIME.after(512)  # which all of its step wait for
    assert FrontEnd(TIME).send([None, 512, None], 2.0) == pytest.approx(
        [ready + TIME.per_token_s, ready + TIME.per_token_s, ready + 2 * TIME.per_token_s]
    )


def test_tokens_on_their_way_to_the_api_server_do_not_keep_it_from_reading() -> None:
    front = FrontEnd(replace(TIME, transit_token_s=1e-3))
    assert front.send([None] * 3, 0.0)[0] == pytest.approx(3e-3 + TIME.per_token_s)

    idle = FrontEnd(replace(TIME, transit_token_s=1e-3))
    idle.receive(10, 0.0)
    assert idle.send([None], 0.0)[0] == pytest.approx(TIME.before(10) + TIME.per_token_s)


def test_it_is_slower_in_some_spells_than_in_others_and_never_quicker() -> None:
    spent = [FrontEnd(replace(TIME, slowest=0.7)).receive(512, at / 10) - at / 10 for at in range(100)]
    assert min(spent) >= TIME.before(512) - 1e-9
    assert max(spent) > 1.5 * TIME.before(512)


def test_request_waits_behind_tokens_that_go_out() -> None:
    front = FrontEnd(TIME)
    front.send([None] * 100, 0.0)
    assert front.receive(1, 0.001) == pytest.approx(100 * TIME.per_token_s + TIME.before(1))


def test_one_process_tops_out_near_fifteen_thousand_tokens_a_second() -> None:
    front = FrontEnd(FrontEndTime())
    for step in range(200):
        front.send([None] * 100, step * 0.005)  # 20,000 a second come
    assert 20_000 / front.free_at == pytest.approx(15_500, rel=0.07)


def test_speed_divides_its_work() -> None:
    assert FrontEnd(TIME, speed=10).receive(100, 0.0) == pytest.approx(TIME.before(100) / 10)


@given(st.lists(st.tuples(st.floats(0, 0.01), st.integers(0, 20)), max_size=30))
def test_nothing_is_sent_before_it_is_there_nor_out_of_order(steps: list[tuple[float, int]]) -> None:
    front, now, last = FrontEnd(TIME), 0.0, 0.0
    for pause, count in steps:
        now += pause
        for at in front.send([None] * count, now):
            assert at > max(now, last)
            last = at
