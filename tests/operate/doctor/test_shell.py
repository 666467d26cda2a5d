"""Commands in shell text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.doctor.evidence import Snippet
from penstock.operate.doctor.shell import commands, here_texts, split_words


def said(text: str, language: str = "") -> list[list[str]]:
    return [c.texts for c in commands(Snippet(kind="shell", file="a.sh", text=text, language=language))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\nc d", [["a", "b"], ["c", "d"]]),
        ("a 'b c' \"d e\"", [["a", "b c", "d e"]]),
        ("a \\\n  b \\\n  c", [["a", "b", "c"]]),
        ("a && b || c; d | e &", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("X=1 Y=2 a b", [["a", "b"]]),
        ("if a; then sudo b; fi", [["a"], ["b"], ["fi"]]),
        ("a # b c\nd", [["a"], ["d"]]),
        ("a#b c", [["a#b", "c"]]),
        ("N=$(a b) c", [[], ["a", "b"], ["c"]]),
        ("a ${B:-c d} e", [["a", "${B:-c d}", "e"]]),
        ("a ''", [["a", ""]]),
        ("a 'b\nc", [["a", "b"], ["c"]]),
    ],
)
def test_commands_are_split_as_a_shell_would(text: str, expected: list[list[str]]) -> None:
    assert said(text) == expected


def test_words_know_where_they_begin() -> None:
    (command,) = commands(Snippet(kind="shell", file="a.sh", text="a \\\n  --b 'c\nd' e"))

    assert [(w.text, w.line, w.column) for w in command.words] == [
        ("a", 1, 1),
        ("--b", 2, 3),
        ("c\nd", 2, 7),
        ("e", 3, 4),
    ]


def test_prompts_of_a_page_are_no_words() -> None:
    assert said("$ a b\n$ c", "bash") == [["a", "b"], ["c"]]
    assert said("# a b", "console") == [["a", "b"]]


def test_a_here_document_is_apart_from_the_commands() -> None:
    text = "cat <<EOF | kubectl apply -f -\nkind: A\nEOF\nb\n"

    assert said(text) == [["cat"], ["kubectl", "apply", "-f", "-"], ["b"]]
    assert [(h.line, h.text) for h in here_texts(text)] == [(1, "kind: A")]


def test_flags_in_one_text_are_words() -> None:
    assert [w.text for w in split_words("--a 1 --b='x y'")] == ["--a", "1", "--b=x y"]


@given(st.text(alphabet="ab '\"\\\n;|&$(){}`#<E", max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    for command in commands(Snippet(kind="shell", file="a.sh", text=text)):
        for word in command.words:
            assert word.line >= 1
            assert word.column >= 1
