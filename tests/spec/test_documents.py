"""Other people's YAML: places, several documents, and what is wrong with one of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec import documents
from penstock.spec.document import Place
from penstock.spec.documents import Shift, read_documents, tree_of

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcd", "bcde", strict=True)
)


def test_every_document_is_read_and_each_value_has_its_place() -> None:
    reading = read_documents("a: 1\n---\n# nothing\n---\nb:\n  - c: x\n", "f.yaml")

    assert [tree.value for tree in reading.trees] == [{"a": 1}, {"b": [{"c": "x"}]}]
    assert reading.trees[1].place(("b", 0, "c")) == Place(6, 8)
    assert reading.trees[1].place(("b", 0, "c"), of_key=True) == Place(6, 5)
    assert reading.trees[1].place(("b", 0, "absent")) == Place(6, 5)


def test_a_broken_document_does_not_hide_its_neighbours() -> None:
    reading = read_documents("a: 1\n---\nb: [\n---\nc: 2\n", "f.yaml")

    assert [tree.value for tree in reading.trees] == [{"a": 1}, {"c": 2}]
    (problem,) = reading.problems
    assert (problem.file, problem.line) == ("f.yaml", 4)
    assert "value is missing" in problem.message


def test_a_template_is_said_to_be_one() -> None:
    for text in ("{{- if .Values.x }}\na: 1\n{{- end }}\n", "a: {{ .Values.x }}\nb: 1\n", "a:\n{{ toYaml .x }}\n"):
        reading = read_documents(text, "f.yaml")

        assert reading.trees == ()
        assert "Helm template" in reading.problems[0].message


def test_templates_inside_quotes_are_plain_text() -> None:
    assert read_documents('a: "{{ $labels.pod }}"\n', "f.yaml").trees[0].value == {"a": "{{ $labels.pod }}"}


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "- " * 5000, "\n".join(" " * i + "a:" for i in range(1000)), "a: &a\n  b: *a\n", BOMB]
)
def test_what_would_not_end_is_refused_in_words(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_VALUES_MAX", 10_000)
    reading = read_documents(text, "f.yaml")

    assert reading.trees == ()
    assert "levels deep" in reading.problems[0].message or "values" in reading.problems[0].message


def test_brackets_in_text_are_no_depth() -> None:
    assert read_documents(f'a: "{"[" * 1000}"\n', "f.yaml").problems == ()


def test_json_is_read_with_tabs_and_surrogates() -> None:
    assert read_documents('{\n\t"a": [1, true]\n}', "f.json").trees[0].value == {"a": [1, True]}
    assert read_documents('{"a": "\\ud83d\\ude00"}', "f.json").trees[0].value == {"a": "😀"}


def test_quotes_make_text_and_plain_words_are_what_yaml_says() -> None:
    value = read_documents("a: '1'\nb: 1\nc: 1.5\nd: true\ne: yes\nf: ~\n", "f.yaml").trees[0].value

    assert value == {"a": "1", "b": 1, "c": 1.5, "d": True, "e": "yes", "f": None}


def test_merge_keys_give_way_to_what_is_written() -> None:
    value = read_documents("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n", "f.yaml").trees[0].value

    assert value == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


def test_the_lines_of_a_block_scalar_have_their_own_places() -> None:
    tree = read_documents("---\na:\n  b: |\n    first\n    second\n", "f.yaml").trees[0]

    assert tree.inside(("a", "b")).place(2, 3) == Place(5, 7)


def test_text_on_one_line_has_columns_and_folded_text_has_none() -> None:
    tree = read_documents("a: 'xyz'\nb: >\n  one\n  two\n", "f.yaml").trees[0]

    assert tree.inside(("a",)).place(1, 2) == Place(1, 6)
    assert tree.inside(("b",)).place(2, 1) == Place(2, 4)


def test_a_text_cut_out_of_a_file_is_placed_in_the_file() -> None:
    tree = read_documents("a: 1\n---\nb: 2\n", "f", Shift(line=10, column=4)).trees[1]

    assert tree.place(("b",)) == Place(13, 8)


def test_a_live_value_has_no_places() -> None:
    assert not tree_of({"a": 1}).is_placed
    assert tree_of({"a": 1}).span(("a",)) is None


@given(st.text(max_size=300))
def test_no_text_makes_it_fail(text: str) -> None:
    reading = read_documents(text, "f.yaml")

    assert all(problem.message for problem in reading.problems)
