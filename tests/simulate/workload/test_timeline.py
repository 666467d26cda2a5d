from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.workload.answers import Answer, Failure
from penstock.simulate.workload.report import Sample
from penstock.simulate.workload.timeline import POINTS_MAX, Timeline, draw_timeline


def sample(due_s: float, first_s: float, done_s: float, tokens: int = 10, *, is_ok: bool = True) -> Sample:
    return Sample(
        due_s=due_s,
        sent_s=due_s,
        first_s=first_s,
        last_s=done_s,
        done_s=done_s,
        answer=Answer(prompt_tokens=1, output_tokens=tokens, finish_reason="stop", has_text=True) if is_ok else None,
        failure=None if is_ok else Failure(kind="reset", detail=""),
    )


def test_requests_are_counted_where_they_were_sent_and_where_they_ended() -> None:
    line = draw_timeline([sample(0.2, 0.5, 2.5), sample(1.1, 1.2, 1.9), sample(1.5, 1.6, 2.2, is_ok=False)])

    assert line.t_s == (0.0, 1.0, 2.0)
    assert line.sent == (1, 2, 0)
    assert line.ok == (0, 1, 1)
    assert line.failed == (0, 0, 1)
    assert line.in_flight == (1, 2, 0)
    assert line.ttft_p50_ms == (pytest.approx(300.0), pytest.approx(100.0), None)


def test_tokens_are_spread_over_their_stream() -> None:
    line = draw_timeline([sample(0.0, 0.5, 2.5, tokens=20)])

    assert line.output_tokens_per_s == (5.0, 10.0, 5.0)


@given(
    st.lists(
        st.tuples(st.floats(0, 20_000), st.floats(0, 100), st.floats(0, 500), st.integers(0, 500), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_columns_have_one_bounded_length_and_lose_nothing(drawn: list[tuple[float, float, float, int, bool]]) -> None:
    samples = [sample(d, d + f, d + f + s, tokens=n, is_ok=ok) for d, f, s, n, ok in drawn]

    line = draw_timeline(samples)

    columns = [getattr(line, f.name) for f in fields(Timeline) if f.name != "interval_s"]
    assert {len(c) for c in columns} == {len(line.t_s)}
    assert len(line.t_s) <= POINTS_MAX
    assert sum(line.sent) == sum(line.ok) + sum(line.failed) == len(samples)
    assert line.in_flight[-1] == 0
    tokens = sum(line.output_tokens_per_s) * line.interval_s
    assert tokens == pytest.approx(sum(s.output_tokens for s in samples), abs=0.06 * line.interval_s * len(line.t_s))


def test_a_day_has_few_enough_points_to_draw() -> None:
    assert len(draw_timeline([sample(0.0, 1.0, 86_400.0)]).t_s) <= POINTS_MAX


def test_a_month_too() -> None:
    assert len(draw_timeline([sample(0.0, 1.0, 90 * 86_400.0)]).t_s) <= POINTS_MAX


def test_nothing_sent_is_an_empty_timeline() -> None:
    assert draw_timeline([]) == Timeline()
