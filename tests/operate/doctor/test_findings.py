"""Severities, places and rules as values."""

from __future__ import annotations

from penstock.operate.doctor import find_rule
from penstock.operate.doctor.findings import PAGE_URL, Severity, Where


def test_error_is_the_gravest() -> None:
    assert [s.rank for s in (Severity.ERROR, Severity.WARNING, Severity.INFO)] == [0, 1, 2]


def test_a_place_reads_as_editors_take_it() -> None:
    assert str(Where(file="a.yaml", line=3, column=5)) == "a.yaml:3:5"
    assert str(Where(file="a.yaml")) == "a.yaml"
    assert str(Where(object="llm/Pod/a")) == "llm/Pod/a"


def test_a_rule_s_page_has_an_anchor_for_it() -> None:
    rule = find_rule("PS002")

    assert rule.code == "PS002"
    assert rule.url == f"{PAGE_URL}#ps002-disable-log-requests"
