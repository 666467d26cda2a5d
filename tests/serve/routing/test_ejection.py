"""When an endpoint goes out and comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.ejection import LIVES_TRUSTED
from penstock.serve.routing.health import RECOVERED_S
from penstock.serve.routing.signals import SIGNALS, Signal
from serve.routing.guarded import address, fit, hear, ready_table


def test_one_crash_is_one_ejection_however_many_streams_it_cuts() -> None:
    table = ready_table(4)
    endpoint = table.all()[0]
    flying = [table.sent(endpoint, 9.0) for _ in range(200)]
    for trial in flying:
        table.left(endpoint)
        table.heard(endpoint, "reset", 10.0, trial=trial)
    assert (endpoint.guard.ejections_total, endpoint.guard.streak, endpoint.failures_total) == (1, 1, 200)
    assert endpoint.retry_at == 11.0


def test_answers_that_began_before_do_not_end_an_ejection() -> None:
    table = ready_table(4)
    endpoint = table.all()[0]
    trial = table.sent(endpoint, 9.0)
    hear(table, endpoint, "reset", 10.0)
    table.heard(endpoint, "ok", 10.1, trial=trial)
    assert endpoint.health == "down"
    hear(table, endpoint, "ok", 11.0)
    assert endpoint.health == "ready"


def test_any_token_disproves_a_hang() -> None:
    table = ready_table(4)
    endpoint = table.all()[0]
    trial = table.sent(endpoint, 9.0)
    hear(table, endpoint, "no_progress", 10.0)
    table.heard(endpoint, "began", 10.1, trial=trial)
    assert endpoint.health == "ready"


def test_trials_that_fail_lengthen_the_back_off_and_time_in_use_forgives() -> None:
    table = ready_table(4)
    endpoint = table.all()[0]
    now, waits = 10.0, []
    for _ in range(8):
        hear(table, endpoint, "connect_failed", now)
        waits.append(endpoint.retry_at - now)
        now = endpoint.retry_at
    assert waits == pytest.approx([0.25, 0.5, 1, 2, 5, 5, 5, 5])
    hear(table, endpoint, "ok", now)
    hear(table, endpoint, "connect_failed", now + RECOVERED_S - 1)
    assert endpoint.retry_at - (now + RECOVERED_S - 1) == pytest.approx(5.0)
    now = endpoint.retry_at
    hear(table, endpoint, "ok", now)
    hear(table, endpoint, "connect_failed", now + RECOVERED_S)
    assert endpoint.retry_at - (now + RECOVERED_S) == pytest.approx(0.25)


def test_a_process_that_dies_after_it_hung_is_back_as_soon_as_it_lives() -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    hear(table, endpoint, "no_progress", 10.0)
    table.failed(endpoint, "connection refused", 12.0)
    assert (endpoint.guard.fault, endpoint.is_stalled) == ("gone", False)
    table.heard(endpoint, "reset", 12.1, trial=0)
    assert endpoint.guard.fault == "gone", "a lighter fault does not hide a graver one"
    table.heard(endpoint, "lives", 40.0)
    assert endpoint.health == "ready"


def test_metrics_that_answer_while_no_request_gets_through_are_not_believed_for_ever() -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    now = 10.0
    for _ in range(LIVES_TRUSTED):
        hear(table, endpoint, "connect_failed", now)
        now += 0.1
        table.heard(endpoint, "lives", now)
        assert endpoint.health == "ready"
    hear(table, endpoint, "connect_failed", now)
    table.heard(endpoint, "lives", now + 0.1)
    assert endpoint.health == "down"
    assert fit(table, endpoint.retry_at) == ["chat-0", "chat-1"]


def test_an_engine_that_starts_slowly_is_back_as_soon_as_it_lives_however_often_it_was_tried_meanwhile() -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    now = 10.0
    for _ in range(3):  # restarts
        for _ in range(LIVES_TRUSTED + 2):
            hear(table, endpoint, "connect_failed", now)
            now = endpoint.retry_at
        assert endpoint.health == "down"
        table.heard(endpoint, "lives", now - 0.1)
        assert endpoint.health == "ready"
        hear(table, endpoint, "ok", now)


def test_when_all_fail_alike_it_is_nobodys_fault() -> None:
    table = ready_table(4)
    for _ in range(50):
        for endpoint in table.all():
            hear(table, endpoint, "answered_5xx", 10.0)
            hear(table, endpoint, "ok", 10.0)
    assert [(e.health, e.guard.ejections_total) for e in table.all()] == [("ready", 0)] * 4


def test_a_few_errors_among_many_answers_put_nobody_out() -> None:
    table = ready_table(4)
    endpoint = table.all()[0]
    for _ in range(20):
        hear(table, endpoint, "ok", 10.0, times=9)
        hear(table, endpoint, "answered_5xx", 10.0)
    assert endpoint.health == "ready"


@pytest.mark.parametrize(("count", "out_max"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (8, 4)])
def test_what_answers_some_never_takes_out_more_than_half(count: int, out_max: int) -> None:
    table = ready_table(count)
    for endpoint in table.all():
        hear(table, endpoint, "reset", 10.0)
    assert sum(e.health == "down" for e in table.all()) == out_max
    assert sum(e.guard.ejections_total for e in table.all()) == out_max


def test_when_others_die_what_answers_some_is_taken_in_again() -> None:
    table = ready_table(4)
    first, second, third, fourth = table.all()
    hear(table, first, "reset", 10.0)
    hear(table, second, "ok", 10.0, times=20)
    hear(table, second, "reset", 10.0)
    assert fit(table, 10.1) == ["chat-2", "chat-3"]
    hear(table, third, "connect_failed", 10.1)
    assert (first.health, second.health) == ("down", "ready"), "the less bad one first"
    hear(table, fourth, "connect_failed", 10.1)
    assert fit(table, 10.2) == ["chat-0", "chat-1"]


def test_the_last_one_is_kept_even_if_what_tried_it_was_cut() -> None:
    table = ready_table(1)
    endpoint = table.all()[0]
    hear(table, endpoint, "connect_failed", 10.0)
    assert endpoint.health == "down"
    hear(table, endpoint, "reset", 10.25)
    assert endpoint.health == "ready", "it is there again, and nothing else is"


def test_a_pool_that_shrinks_takes_in_again_what_it_needs() -> None:
    table = ready_table(4)
    first, second, *_ = table.all()
    hear(table, first, "reset", 10.0)
    hear(table, second, "reset", 10.0)
    table.set_pool("chat", [address(0), address(1)])
    table.watch(10.1)
    assert sum(e.health == "ready" for e in (first, second)) == 1


def test_a_draining_endpoint_stays_so_whatever_is_heard() -> None:
    table = ready_table(2)
    table.set_pool("chat", [address(0, is_draining=True), address(1)])
    endpoint = table.all()[0]
    for signal in SIGNALS:
        hear(table, endpoint, signal, 10.0)
        assert endpoint.health == "draining"


STEPS = st.lists(
    st.tuples(st.floats(0, 5), st.integers(0, 3), st.sampled_from(sorted(SIGNALS)), st.booleans()), max_size=60
)


@given(st.integers(1, 4), STEPS)
def test_whatever_is_heard_half_stays_in_unless_it_can_not_answer(
    count: int, steps: list[tuple[float, int, Signal, bool]]
) -> None:
    table, now = ready_table(count), 100.0
    for after_s, index, signal, is_asked in steps:
        now += after_s
        endpoint = table.all()[index % count]
        if is_asked:
            hear(table, endpoint, signal, now)
        else:
            table.heard(endpoint, signal, now)
        table.watch(now)
        bad = [e for e in table.all() if e.health == "down" and e.guard.fault == "bad"]
        assert not bad or sum(e.health == "ready" for e in table.all()) >= count / 2
        assert all(e.retry_at <= now + 60 for e in table.all())
        assert all((e.guard.signal is None) == (e.health != "down") for e in table.all())
        assert all(e.is_stalled == (e.guard.fault == "hung") for e in table.all())
        assert set(fit(table, now)) <= {e.id for e in table.all()}
