"""What a request that runs is charged: its prompt and a little of its answer at once, the rest as it is received."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow.bill import AHEAD_S, EVERY_S, LEARNED_FROM, Bill, Meter
from penstock.serve.flow.queue import FairQueue
from penstock.serve.flow.ticket import Ticket
from serve.flow.flows import flow, table, ticket

PER_S = 100


def bill(prompt: int = 50, output: int = 1000) -> Bill:
    return Bill(FairQueue(), prompt, output)


def meter() -> Meter:
    """One that has learned that answers grow by 100 tokens a second."""
    made, first = Meter(), bill()
    made.begin(first, 0.0)
    first.began_at = 0.0
    made.close(first, 10 * PER_S, 10.0)
    return made


def test_all_that_is_expected_is_charged_at_once_while_the_pace_of_answers_is_not_known() -> None:
    one = bill(prompt=50, output=1000)
    assert Meter().begin(one, 0.0) == one.charged == 1050


def test_a_prompt_and_a_little_of_the_answer_are_charged_at_once() -> None:
    assert meter().begin(bill(prompt=50, output=1000), 0.0) == 50 + AHEAD_S * PER_S
    assert meter().begin(bill(prompt=50, output=20), 0.0) == 70


def test_nothing_costs_one_token() -> None:
    assert meter().begin(bill(prompt=0, output=0), 0.0) == 1


def test_the_rest_is_charged_as_it_is_received() -> None:
    read, one = meter(), bill(prompt=50, output=1000)
    read.begin(one, 0.0)
    one.began_at = 1.0
    assert list(read.grown(EVERY_S)) == []  # not begun
    assert list(read.grown(4.0)) == [(one, 3 * PER_S)]  # of 300 tokens and 200 ahead, 200 were charged
    assert one.charged == 50 + 500


def test_an_answer_longer_than_expected_is_charged_for_what_it_has_become() -> None:
    read, one = meter(), bill(prompt=50, output=100)
    assert read.begin(one, 0.0) == 150
    one.began_at = 0.0
    assert list(read.grown(0.9)) == []  # 90 tokens
    assert list(read.grown(5.0)) == [(one, 400)]


def test_one_that_is_over_is_charged_no_more_and_kept_no_longer() -> None:
    read, one = meter(), bill()
    read.begin(one, 0.0)
    one.began_at = 0.0
    read.close(one, -1, 1.0)
    assert list(read.grown(100.0)) == []
    assert list(read._looks) == []


def test_answers_too_short_to_tell_and_of_unknown_length_teach_nothing() -> None:
    read = meter()
    for tokens in (LEARNED_FROM - 1, -1):
        one = bill()
        read.begin(one, 0.0)
        one.began_at = 0.0
        read.close(one, tokens, 1000.0)
    assert read.begin(bill(prompt=0, output=1000), 0.0) == AHEAD_S * PER_S


@given(
    prompt=st.integers(0, 500),
    expected=st.integers(0, 3000),
    steps=st.lists(st.floats(0.01, 3.0), min_size=1, max_size=30),
)
def test_a_bill_only_grows_and_is_never_under_what_was_received(prompt: int, expected: int, steps: list[float]) -> None:
    read, one, now = meter(), bill(prompt, expected), 0.0
    said = read.begin(one, now)
    one.began_at = now
    for step in steps:
        now += step + EVERY_S
        for which, more in read.grown(now):
            assert which is one
            assert more > 0
            said += more
        assert one.charged == said
        received = int(now * PER_S)
        assert one.charged >= prompt + received - 1
        assert one.charged <= prompt + max(expected, received) + 1


def test_a_tenant_pays_for_a_long_answer_while_it_runs_and_others_go_first() -> None:
    gate = flow(table(1), seats=1)
    now = 0.0

    def granted(tenant: str, output: int) -> Ticket:
        one = gate.submit(ticket(tenant, prompt=0, output=output, is_stream=True), now)
        gate.pump(now)
        return one

    passed, teacher = granted("x", 1), granted("x", 1000)
    gate.ended(passed, now, output_tokens=1)
    gate.pump(now)
    gate.began(teacher, now)
    now = 10.0
    gate.ended(teacher, now, output_tokens=1000)  # 100 tokens a second
    now, before = 20.0, gate.work_charged
    passed, long, short, again = granted("x", 1), granted("long", 100), granted("short", 300), granted("long", 100)
    gate.ended(passed, now, output_tokens=1)
    gate.pump(now)
    assert [one.state for one in (long, short, again)] == ["granted", "queued", "queued"]
    gate.began(long, now)
    now = 25.0
    gate.pump(now)
    assert gate.work_charged - before == 500  # 100 were expected
    gate.ended(long, now, output_tokens=500)
    assert gate.work_charged - before == 500
    gate.pump(now)
    gate.ended(short, now, output_tokens=300)
    short = granted("short", 100)  # has had 300, and "long" 500
    assert [one.state for one in (short, again)] == ["granted", "queued"]
