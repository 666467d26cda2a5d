"""YAML syntax errors: each common slip has its place, its words and what to do."""

from __future__ import annotations

import pytest
from ruamel.yaml.error import YAMLError

from penstock.errors import SpecError
from penstock.spec.document import parse_document
from penstock.spec.syntax import syntax_problem


@pytest.mark.parametrize(
    ("text", "line", "column", "words", "hint"),
    [
        ("a:\n\tb: 2\n", 2, 1, "a tab", "spaces"),
        ("a: @b\n", 1, 4, "cannot begin with `@`", "quotes"),
        ("a: `b`\n", 1, 4, "cannot begin with ``", "quotes"),
        ("a: b: c\n", 1, 5, "a `:` here", "quotes"),
        ("a: 1\n  b: 2\n", 2, 4, "a `:` here", "indentation"),
        ("x: 1\na: [1, 2\n", 2, 4, "not closed with `]`", "close it"),
        ("a: {b: 1\n", 1, 4, "not closed with `}`", "close it"),
        ("x: 1\na: 'b\n", 2, 4, "quote that begins here", "close"),
        ("a:\n  - b\n c: 1\n", 3, 2, "indented unlike", "same column"),
        ("- a\nb: 2\n", 2, 1, "indented unlike", "same column"),
        ("a: 1\nfoo\nb: 2\n", 2, 1, "neither `field: value` nor `- item`", "space after"),
        ("a: *b\n", 1, 4, "`*b` refers to an anchor", "define the anchor"),
        ("a: *\n", 1, 5, "no name follows", "quotes"),
        ('a: "\\q"\n', 1, 6, "backslash", "single quotes"),
        ("a: - b\n", 1, 4, "a list item", "line of its own"),
        ("a: ? b\n", 1, 4, "begins a key", "quotes"),
        ("a: [1, , 2]\n", 1, 8, "a value is missing", "write one, or put text that begins with `-`, `}`"),
        ("a: | text\n", 1, 6, "nothing may follow", "next line"),
        ("a: >text\n", 1, 5, "nothing may follow", "next line"),
        ("{a: 1}\nb: 2\n", 2, 1, "follows the end", "indentation"),
    ],
)
def test_a_slip_is_told_where_it_is_in_words(text: str, line: int, column: int, words: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_document(text, "f.yaml")

    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (line, column)
    assert words in problem.message
    assert hint in str(problem.hint)


def test_a_character_that_is_not_text_is_named() -> None:
    with pytest.raises(SpecError, match=r"U\+0000 at place 5"):
        parse_document("a: b\x00", "f.yaml")


def test_an_error_that_is_not_known_is_passed_on_in_the_parsers_words() -> None:
    problem = syntax_problem(YAMLError("the moon is full"), "f.yaml")

    assert "the moon is full" in problem.message
    assert problem.line == 0
