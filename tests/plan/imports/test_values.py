"""Reading somebody else's values: each one ends in a note, whoever takes it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.plan.imports.values import Ledger, Values, leaves

TREES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.text(max_size=3), st.none()),
    lambda inner: st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4),
    max_leaves=12,
)


def values(value: Any, *, is_fixing: bool = False) -> Values:
    return Values(value, (), Ledger(is_fixing=is_fixing))


def said(read: Values) -> list[tuple[str, str]]:
    return [(note.path, note.outcome) for note in read.ledger.notes]


def test_what_is_carried_is_said() -> None:
    read = values({"replicas": 2})

    assert read.carry("replicas", "`replicas`") == 2
    assert said(read) == [("replicas", "carried")]


def test_what_says_nothing_is_not_there() -> None:
    read = values({"a": "", "b": [], "c": {"d": None}, "e": None})

    assert [read.take(name) for name in "abce"] == [None] * 4
    read.leave_rest({}, "unknown")
    assert said(read) == []


def test_a_number_in_quotes_is_a_number_and_a_word_is_left_out() -> None:
    read = values({"a": "4", "b": "many"})

    assert (read.whole("a", "x"), read.whole("b", "x")) == (4, None)
    assert said(read) == [("a", "carried"), ("b", "left out")]


def test_a_text_where_a_mapping_belongs_is_left_out() -> None:
    read = values({"config": "none"})

    assert read.part("config").value == {}
    assert said(read) == [("config", "left out")]


def test_a_mistake_is_mended_only_when_asked() -> None:
    careful, fixing = values({"tag": "latest"}), values({"tag": "latest"}, is_fixing=True)

    assert not careful.ledger.mend(("tag",), "pinned")
    assert fixing.ledger.mend(("tag",), "pinned")
    assert (said(careful), said(fixing)) == ([("tag", "proposed")], [("tag", "fixed")])


@given(TREES.filter(lambda tree: isinstance(tree, dict)), st.sets(st.sampled_from("abcdef")))
def test_everything_that_says_something_is_noted_at_it_or_above_it(tree: dict[str, Any], taken: set[str]) -> None:
    read = values(tree)

    for name in sorted(taken):
        read.carry(name, "there")
    read.leave_rest({}, "unknown")

    noted = {note.at for note in read.ledger.notes}
    assert all(any(leaf[:end] in noted for end in range(1, len(leaf) + 1)) for leaf in leaves(tree))
    assert len(noted) == len(read.ledger.notes)
