"""Use added up: the same total by whatever it is told, days in UTC, and questions that can't be are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.serve.ledger import Entry
from penstock.serve.usage import GROUPS, Sums, UsageQuery, daily, month_start, parse_query, report, scope_uses

DAY = 86_400_000
NOW = 1_795_273_200.0  # 2026-11-21T15:00:00Z


def entry(number: int = 1, **more: object) -> Entry:
    base = Entry(
        *(
            number,
            int(NOW * 1000),
            f"r{number}",
            "acme",
            "key_1",
            "ci",
            "chat",
            "chat",
            "interactive",
            "ok",
            "",
            200,
            0,
        ),
        *(10, 4, 5, 0, 3, None, None, None),
    )
    return base._replace(**more)


ENTRIES = st.lists(
    st.builds(
        entry,
        number=st.integers(0, 99),
        at_ms=st.integers(0, 20 * DAY),
        tenant=st.sampled_from("ab"),
        key_name=st.sampled_from(["x", "y"]),
        model=st.sampled_from("mn"),
        outcome=st.sampled_from(["ok", "lost"]),
        prompt_tokens=st.none() | st.integers(0, 1000),
        reserved_tokens=st.integers(0, 1000),
        cost_micros=st.integers(0, 1000),
    )
)


@given(ENTRIES, st.lists(st.sampled_from(sorted(GROUPS)), min_size=1, unique=True))
def test_the_total_is_the_same_by_whatever_it_is_told(entries: list[Entry], by: list[str]) -> None:
    query = UsageQuery(since="1970-01-01", until="1970-01-31", by=tuple(by))

    told = report(query, [], entries)

    assert told.total.requests == told.waiting == len(entries)
    assert told.total.cost_micros == sum(e.cost_micros for e in entries)
    assert told.total.tokens == sum((e.prompt_tokens or 0) + 5 + e.reserved_tokens for e in entries)
    assert told.total.failed == sum(e.outcome == "lost" for e in entries)
    for name in ("requests", "cached_tokens", "failed"):
        assert sum(getattr(sums, name) for _, sums in told.rows) == getattr(told.total, name)
    assert [key for key, _ in told.rows] == sorted({key for key, _ in told.rows})


@given(ENTRIES, st.integers(0, 100))
def test_stored_and_waiting_together_are_all(entries: list[Entry], cut: int) -> None:
    query = UsageQuery(since="1970-01-01", until="1970-01-31", by=("tenant", "day"))
    stored = report(query, [], entries[:cut]).rows

    assert report(query, stored, entries[cut:]).rows == report(query, [], entries).rows


def test_a_day_begins_at_midnight_in_utc() -> None:
    days = [key.day for key in daily([entry(at_ms=0), entry(at_ms=DAY - 1), entry(at_ms=DAY)])]

    assert days == ["1970-01-01", "1970-01-02"]
    assert month_start(NOW) == "2026-11-01"


def test_only_the_days_and_the_tenant_that_were_asked_for_count() -> None:
    query = UsageQuery(since="1970-01-02", until="1970-01-03", by=("day",), tenant="acme")
    days = [entry(n, at_ms=n * DAY) for n in range(5)]

    told = report(query, [], [*days, entry(9, at_ms=DAY, tenant="other")])

    assert [(key, sums.requests) for key, sums in told.rows] == [(("1970-01-02",), 1), (("1970-01-03",), 1)]
    assert told.shown()["rows"][0] == {
        "day": "1970-01-02",
        "requests": 1,
        "failed": 0,
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "output_tokens": 5,
        "reserved_tokens": 0,
        "cost_micros": 3,
        "tokens": 15,
        "cost_usd": 0.000003,
    }


def test_a_budget_counts_what_a_lost_request_had_reserved() -> None:
    lost = Sums(requests=1, reserved_tokens=100, cost_micros=7)
    rows = [(("acme", "key_1", "ci"), Sums(prompt_tokens=10, output_tokens=5, cost_micros=2)), (("acme", "", ""), lost)]

    assert scope_uses([*rows, (("beta", "", "desk"), Sums(output_tokens=1))]) == {
        "t:acme": (115, 9),
        "k:key_1": (15, 2),
        "t:beta": (1, 0),
        "k:beta/desk": (1, 0),
    }


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        (None, None, ("2026-10-23", "2026-11-21")),
        ("7d", None, ("2026-11-14", "2026-11-21")),
        ("2026-02-01", "2026-02-28", ("2026-02-01", "2026-02-28")),
        (None, "2026-01-30", ("2026-01-01", "2026-01-30")),
        ("today", "today", ("2026-11-21", "2026-11-21")),
    ],
)
def test_days_are_written_as_days_or_spans(since: str | None, until: str | None, days: tuple[str, str]) -> None:
    query = parse_query(now=NOW, since=since, until=until, by="model, key,model")

    assert (query.since, query.until) == days
    assert query.by == ("model", "key")
    assert query.columns == ("model", "tenant", "key_id", "key_name")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"since": "2026-02-02", "until": "2026-02-01"}, "Nothing lies between"),
        ({"since": "soon"}, "`since`: 'soon' is no day"),
        ({"until": "2026-02-30"}, "`until`"),
        ({"by": "colour"}, "'colour'"),
        ({"by": ","}, "By what"),
        ({"since": "2020-01-01"}, "more than 800 days"),
        ({"since": "999999w"}, "more than 800 days"),
    ],
)
def test_a_question_that_cant_be_is_refused(asked: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_query(now=NOW, **asked)
