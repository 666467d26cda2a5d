"""Who got what: shares add up, few rows however many tenants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow import CLASSES
from penstock.simulate.fleet.ledger import Row
from penstock.simulate.fleet.shares import OTHERS, TENANTS_MAX, draw_shares

ROWS = st.lists(
    st.builds(
        Row,
        st.just(1.0),
        st.just(1.5),
        st.just(2.0),
        st.just(0.0),
        st.integers(1, 1000),
        st.integers(0, 1000),
        st.just(0),
        st.sampled_from(["ok", "shed", "limited", "timeout"]),
        st.sampled_from([-1.0, 0.0, 0.25]),
        st.integers(0, 80).map(str),
        st.sampled_from(CLASSES),
    ),
    max_size=200,
)


@given(rows=ROWS)
def test_rows_add_up_to_the_run(rows: list[Row]) -> None:
    shares = draw_shares(rows)

    for found, names in (
        (shares.tenants, {row.tenant for row in rows}),
        (shares.classes, {row.traffic_class for row in rows}),
    ):
        if len(names) < 2:
            assert found == ()
            continue
        assert sum(one.requests for one in found) == len(rows)
        assert sum(one.ok for one in found) == sum(row.outcome == "ok" for row in rows)
        assert sum(one.limited for one in found) == sum(row.outcome == "limited" for row in rows)
        assert sum(one.lost for one in found) == sum(row.outcome in ("shed", "timeout") for row in rows)
        work = sum(row.prompt_tokens + row.output_tokens for row in rows if row.outcome == "ok")
        assert sum(one.tokens for one in found) == work
        assert sum(one.share or 0.0 for one in found) == pytest.approx(1.0 if work else 0.0, abs=0.01)
        assert len(found) <= TENANTS_MAX


def test_cached_tokens_are_no_work_and_refused_requests_never_waited() -> None:
    rows = [
        Row(0.0, 0.2, 1.0, 0.0, 100, 10, 60, "ok", 0.1, "a"),
        Row(0.0, 0.2, 1.0, 0.0, 100, 50, 0, "ok", 0.3, "b"),
        Row(0.0, None, 0.0, -1.0, 100, 0, 0, "limited", -1.0, "a"),
    ]
    b, a = draw_shares(rows).tenants

    assert (b.name, b.tokens, b.share) == ("b", 150, 0.75)
    assert (a.name, a.tokens, a.share, a.limited) == ("a", 50, 0.25, 1)
    assert (a.waited_ms.count, a.waited_ms.p50) == (1, 100.0)
    assert a.ttft_ms.p50 == 200.0


def test_many_tenants_share_the_last_row() -> None:
    rows = [Row(0.0, 0.1, 1.0, 0.0, 100 + n, 0, 0, "ok", 0.0, f"t{n}") for n in range(80)]
    tenants = draw_shares(rows).tenants

    assert len(tenants) == TENANTS_MAX
    assert (tenants[0].name, tenants[-1].name, tenants[-1].requests) == ("t79", OTHERS, 31)
