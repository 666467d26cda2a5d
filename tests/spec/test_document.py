"""YAML as plain values with places: the core schema of YAML 1.2, and what no fleet file may hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Problem, SpecError
from penstock.spec.document import Place, Plain, dotted, parse_document


def refusal(text: str) -> Problem:
    with pytest.raises(SpecError) as caught:
        parse_document(text, "f.yaml")
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("''", ""),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("010", 10),
        ("0o14", 12),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("1:20", "1:20"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1" * 41, "1" * 41),
        ("v1.2", "v1.2"),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(written: str, meant: Plain) -> None:
    value = parse_document(f"a: {written}\n", "f.yaml").value

    assert value == {"a": meant}
    assert isinstance(value, dict)
    assert type(value["a"]) is type(meant)


def test_a_nan_is_read() -> None:
    value = parse_document("[.nan]", "f.yaml").value

    assert isinstance(value, list)
    assert isinstance(value[0], float)
    assert math.isnan(value[0])


def test_places_count_from_one_and_are_of_the_value_or_its_key() -> None:
    document = parse_document("a:\n  - b: 5\n    c:\n", "f.yaml")

    assert document.place(("a", 0, "b")) == Place(2, 8)
    assert document.place(("a", 0, "b"), of_key=True) == Place(2, 5)
    assert document.place(("a", 0, "c")) == Place(3, 5), "an empty value stands where its key does"
    assert document.place(("a", 0, "missing")) == Place(2, 5), "what is missing stands at the object that lacks it"
    assert document.place(("a", 0, "missing"), of_key=True) == Place(2, 5)


def test_places_count_characters_not_bytes() -> None:
    assert parse_document('{"ключ": 5}', "f.yaml").place(("ключ",)) == Place(1, 10)


def test_anchors_aliases_and_merge_keys_work_and_own_fields_win() -> None:
    text = "a: &x {b: 1, c: 2}\nd: *x\ne:\n  <<: *x\n  c: 3\nf:\n  <<: [{g: 1}, {g: 2, h: 3}]\n"

    assert parse_document(text, "f.yaml").value == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 1, "c": 2},
        "e": {"b": 1, "c": 3},
        "f": {"g": 1, "h": 3},
    }


def test_an_anchor_may_be_defined_anew() -> None:
    assert parse_document("a: &x 1\nb: &x 2\nc: *x\n", "f.yaml").value == {"a": 1, "b": 2, "c": 2}


def test_a_key_written_twice_is_a_problem_and_the_first_counts() -> None:
    document = parse_document("a:\n  b: 1\n  b: 2\n", "f.yaml")

    assert document.value == {"a": {"b": 1}}
    assert [str(problem) for problem in document.problems] == [
        "f.yaml:3:3: a.b: is written twice; the first is on line 2\n  hint: keep one of the two"
    ]


def test_keys_are_text() -> None:
    assert parse_document("1: a\ntrue: b\n", "f.yaml").value == {"1": "a", "true": "b"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\n\n", "---\n---\n"])
def test_a_file_that_says_nothing_is_refused(text: str) -> None:
    problem = refusal(text)

    assert "says nothing" in problem.message
    assert "apiVersion" in str(problem.hint)


def test_empty_documents_beside_the_one_do_not_count() -> None:
    assert parse_document("---\na: 1\n...\n---\n", "f.yaml").value == {"a": 1}


def test_several_documents_are_refused_where_the_second_begins() -> None:
    problem = refusal("a: 1\n---\nb: 2\n---\nc: 3\n")

    assert (problem.line, problem.column) == (3, 1)
    assert "3 in all" in problem.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object:os.system x\n", "python/object"),
        ("a: !secret x\n", "!secret"),
        ("a: !!set {b}\n", "set"),
        ("? [a]\n: 1\n", "a key must be text"),
        ("a: &a [*a]\n", "would contain itself"),
        ("<<: 3\n", "merges mappings only"),
        ("[" * 60 + "]" * 60, "nested more than 50 levels"),
        ("[" * 4_000, "nested more than 50 levels"),
    ],
)
def test_what_no_fleet_file_may_hold_is_refused(text: str, words: str) -> None:
    assert words in refusal(text).message


def test_aliases_cannot_blow_a_small_file_up() -> None:
    layers = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 12))

    assert "values" in refusal("l0: &l0 [x]\n" + layers).message


def test_paths_are_written_with_dots_and_brackets() -> None:
    assert dotted(("spec", "models", 0, "name")) == "spec.models[0].name"
    assert dotted(("args", "a.b")) == 'args["a.b"]'
    assert dotted(()) == ""


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_json_reads_as_itself(value: Plain) -> None:
    import json

    text = json.dumps({"value": value}, ensure_ascii=True)
    if "\\u" in text:  # YAML's \u is one code unit, JSON may use two; control characters are not YAML
        return

    assert parse_document(text, "f.json").value == {"value": value}
