"""Edits at a value's place: the rest of the file stays as it is."""

from __future__ import annotations

import pytest

from penstock.spec.documents import read_documents
from penstock.spec.edits import apply, removal, replacement


def removed(text: str, *path: str | int, count: int = 1) -> str | None:
    tree = read_documents(text, "f.yaml").trees[0]
    edit = removal(tree, path, text.split("\n"), count)
    return None if edit is None else apply(text, [edit])


@pytest.mark.parametrize(
    ("text", "path", "count", "expected"),
    [
        ("a:\n  - x\n  - y  # why\n  - z\n", ("a", 1), 1, "a:\n  - x\n  - z\n"),
        ("a:\n  - x\n  - y\n  - z\n", ("a", 1), 2, "a:\n  - x\n"),
        ("a: [x, y, z]\n", ("a", 0), 1, "a: [y, z]\n"),
        ("a: [x, y, z]\n", ("a", 2), 1, "a: [x, y]\n"),
        ("a: [x, y, z]\n", ("a", 1), 2, "a: [x]\n"),
        ("a: [x]\n", ("a", 0), 1, "a: []\n"),
        ("# top\na: 1\nb: 2  # two\nc: 3\n", ("b",), 1, "# top\na: 1\nc: 3\n"),
        ("a:\n  b: |\n    x\n    y\n  c: 1\n", ("a", "b"), 1, "a:\n  c: 1\n"),
    ],
)
def test_an_entry_goes_with_its_line_and_nothing_else(
    text: str, path: tuple[str | int, ...], count: int, expected: str
) -> None:
    assert removed(text, *path, count=count) == expected


def test_what_shares_its_line_with_something_else_stays() -> None:
    assert removed("- a: 1\n  b: 2\n", 0, "a") is None
    assert removed("{a: 1, b: 2}\n", "a") is None


def test_a_scalar_keeps_its_quotes_and_comment() -> None:
    text = "a: 'x'  # why\nb: \"y\"\nc: z\n"
    tree = read_documents(text, "f.yaml").trees[0]
    edits = [replacement(tree, (key,), "new") for key in "abc"]

    assert apply(text, [edit for edit in edits if edit]) == "a: 'new'  # why\nb: \"new\"\nc: new\n"


def test_a_key_can_be_renamed() -> None:
    text = "OLD: 1\n"
    edit = replacement(read_documents(text, "f").trees[0], ("OLD",), "NEW", of_key=True)

    assert edit is not None
    assert apply(text, [edit]) == "NEW: 1\n"


def test_a_block_of_text_is_not_replaced() -> None:
    assert replacement(read_documents("a: |\n  x\n", "f").trees[0], ("a",), "y") is None


def test_of_two_edits_of_one_place_the_first_is_made() -> None:
    text = "a: x\n"
    tree = read_documents(text, "f").trees[0]
    edits = [replacement(tree, ("a",), new) for new in ("one", "two")]

    assert apply(text, [edit for edit in edits if edit]) == "a: one\n"


def test_the_second_document_is_edited_at_its_own_lines() -> None:
    text = "a: 1\n---\nb: 2\n"
    edit = replacement(read_documents(text, "f").trees[1], ("b",), "3")

    assert edit is not None
    assert apply(text, [edit]) == "a: 1\n---\nb: 3\n"
