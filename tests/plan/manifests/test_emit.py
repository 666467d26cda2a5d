"""Manifests as YAML: what is read back is what was meant, and reasons stand where they belong."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from penstock.plan.manifests import Because, Manifest, Wave, emit, emit_all, plain

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
    st.sampled_from(
        ["yes", "No", "on", "1e3", "0x1f", "1:30", "~", "=", "<<", "012", "-", "- a", "a: b", "a #b", "1_000"]
    ),
    st.sampled_from(
        ["a\nb\n", "a\n\nb", " a\nb", "a\n", "\n", "a \n b\n", "#!/bin/sh\necho 1\n", "a\r\nb", "2026-11-21"]
    ),
)
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(NAMES, inner, max_size=4),
        inner.map(lambda value: Because(value, "as it should be")),
    ),
    max_leaves=25,
)


def manifest(spec: Any) -> Manifest:
    body = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}
    return Manifest(body=body, wave=Wave.SERVE, file="x")


@given(TREES)
def test_the_text_reads_back_as_the_object(tree: Any) -> None:
    thing = manifest(tree)

    text = emit(thing)

    assert yaml.safe_load(text) == thing.object
    assert YAML(typ="safe", pure=True).load(text) == thing.object


@pytest.mark.parametrize("word", ["yes", "Off", "null", "n", "1.0", "0o17", "2026-11-21", "12:30:45", "", " x", "x "])
def test_what_some_yaml_takes_for_no_text_is_quoted(word: str) -> None:
    line = emit(manifest(word)).splitlines()[-1]

    assert line == f'spec: "{word}"'


def test_a_reason_stands_above_its_value() -> None:
    text = emit(manifest({"probe": {"period": Because(10, "Ten seconds."), "failures": 3}}))

    assert "  probe:\n    # Ten seconds.\n    period: 10\n    failures: 3\n" in text


def test_a_reason_in_a_list_stands_above_its_dash() -> None:
    text = emit(manifest([Because("a", "First."), {"name": Because("b", "Second."), "value": 1}]))

    assert text.endswith("spec:\n  # First.\n  - a\n  # Second.\n  - name: b\n    value: 1\n")


def test_a_long_reason_is_wrapped() -> None:
    text = emit(manifest({"a": Because(1, "word " * 60)}))

    assert max(len(line) for line in text.splitlines()) <= 118
    assert all(line.startswith("  # ") for line in text.splitlines() if "word" in line)


def test_a_script_is_a_block_that_can_be_read() -> None:
    assert emit(manifest("set -e\necho done\n")).endswith("spec: |\n  set -e\n  echo done\n")


def test_documents_are_told_apart_and_headed() -> None:
    first = Manifest(
        body={"apiVersion": "v1", "kind": "A", "metadata": {}}, wave=Wave.STORE, file="a", heading="For a."
    )

    text = emit_all([first, manifest(1)])

    assert text.startswith("---\n# For a.\napiVersion: v1\n")
    assert len(list(yaml.safe_load_all(text))) == 2


def test_what_has_no_yaml_form_is_told() -> None:
    with pytest.raises(TypeError, match="set has no YAML form"):
        emit(manifest({1, 2}))


@given(TREES)
def test_a_plain_object_holds_no_reasons(tree: Any) -> None:
    def holds_reason(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return isinstance(value, Because) or any(holds_reason(item) for item in inner)

    assert not holds_reason(plain(tree))
