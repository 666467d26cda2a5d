from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow import CLASSES
from penstock.serve.record import OUTCOMES
from penstock.simulate.fleet.ledger import Ledger, Row

SECONDS = st.floats(0, 1e6)
ROWS = st.lists(
    st.builds(
        Row,
        SECONDS,
        st.none() | SECONDS,
        SECONDS,
        SECONDS,
        st.integers(1, 10**7),
        st.integers(0, 10**7),
        st.integers(0, 10**7),
        st.sampled_from(OUTCOMES),
        st.just(-1.0) | SECONDS,
        st.sampled_from(["", "search", "chat"]),
        st.sampled_from(CLASSES),
    ),
    max_size=20,
)


@given(rows=ROWS)
def test_what_is_entered_comes_out_in_order(rows: list[Row]) -> None:
    ledger = Ledger()
    for row in rows:
        ledger.add(row)

    assert list(ledger) == rows
    assert len(ledger) == len(rows)
    assert ledger.tenants == tuple(dict.fromkeys(row.tenant for row in rows))
    assert ledger[1:3] == rows[1:3]
    assert rows == [ledger[n] for n in range(len(rows))]
    assert sum(ledger.count(outcome) for outcome in OUTCOMES) == len(rows)


def test_times_of_a_row_count_from_when_it_was_due() -> None:
    row = Row(10.0, 10.5, 12.5, 0.1, 100, 5, 0, "ok")

    assert (row.ttft_ms, row.tpot_ms, row.e2e_ms, row.failure) == (500.0, 500.0, 2500.0, None)


def test_what_never_came_has_no_time() -> None:
    row = Row(1.0, None, 2.0, -1.0, 100, 0, 0, "timeout")

    assert (row.ttft_ms, row.tpot_ms, row.failure) == (None, None, "timeout")
    assert Row(1.0, 2.0, 2.0, 0.0, 100, 1, 0, "ok").tpot_ms is None
