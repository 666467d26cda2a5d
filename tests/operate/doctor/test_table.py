"""The table of rules: complete, unique, and answering every row of the field guides."""

from __future__ import annotations

import re

import pytest

from operate.doctor.faults import ALL, FIXTURES, codes, examined, read
from penstock.errors import UsageError
from penstock.operate.doctor import ROWS, RULES, chosen, find_rule


def test_each_of_the_53_rows_has_a_rule() -> None:
    assert list(ROWS) == list(range(1, 54))
    assert [row for row, ids in ROWS.items() if not ids] == []


def test_ids_are_stable_words_and_codes_are_unique() -> None:
    assert all(re.fullmatch(r"PS\d{3}(-[a-z0-9]+)+", rule.id) for rule in RULES)
    assert len({rule.code for rule in RULES}) == len(RULES)
    assert len({rule.id.partition("-")[2] for rule in RULES}) == len(RULES)


def test_every_rule_says_what_follows_and_what_to_do() -> None:
    assert [
        r.id
        for r in RULES
        if not (r.title and r.consequence.endswith(".") and r.fix.rstrip("`").endswith((".", ")", "?")))
    ] == []


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule.code for rule in RULES} - {fault.rule for fault in ALL} == set()


def test_nothing_is_found_in_the_fixtures_themselves() -> None:
    found = {path.name: codes(examined(read(path.name), path.name)) for path in sorted(FIXTURES.iterdir())}

    assert [name for name, said in found.items() if said] == []


def test_rules_are_chosen_by_code_id_words_or_group() -> None:
    assert [r.code for r in chosen(("PS002", "ps003-num-scheduler-steps", "floating-image"), ())] == [
        "PS002",
        "PS003",
        "PS039",
    ]
    assert {r.code[:3] for r in chosen(("PS2",), ())} == {"PS2"}
    assert len(chosen((), ("PS002",))) == len(RULES) - 1


def test_a_name_that_no_rule_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        find_rule("PS002-disable-log-request")

    assert "PS002-disable-log-requests" in str(caught.value)
