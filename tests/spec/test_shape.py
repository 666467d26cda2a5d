"""The types read as shapes: what may stand where, in words."""

from __future__ import annotations

import pytest

from penstock.spec import Fleet
from penstock.spec.base import FieldPath
from penstock.spec.shape import fields_of, shape_at, walk


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("kind",), "`Fleet`"),
        (("metadata", "name"), "at most 63 lower-case letters, digits and `-`, a letter or digit at both ends"),
        (("metadata", "labels"), "a mapping of names to values"),
        (("metadata", "labels", "any"), "text"),
        (("spec", "models"), "a list with at least one entry"),
        (("spec", "models", 7, "replicas"), "a whole number from 0 to 1000"),
        (("spec", "models", 7, "aliases"), "a list"),
        (("spec", "models", 7, "engine", "speed"), "a number above 0"),
        (("spec", "models", 7, "engine", "type"), "one of `auto`, `vllm`, `simulated`"),
        (("spec", "models", 7, "engine", "args", "x"), "text, a number, true, false, null or a list of these"),
        (("spec", "models", 7, "hardware", "tensorParallel"), "a whole number from 1 to 64"),
        (("spec", "models", 7, "objectives", "ttftMs"), "a number above 0"),
        (("spec", "gateway", "auth", "anonymous"), "true or false"),
        (("spec", "gateway", "limits", "bodyBytesMax"), "a whole number from 1024 up"),
        (("spec", "gateway", "listen"), "HOST:PORT, as in `127.0.0.1:8080`"),
        (("spec", "gateway", "tenants", 0, "keys", 0, "value"), "text of at least 8 characters"),
        (("spec", "gateway", "tls", "certFile"), "text that is not empty"),
    ],
)
def test_a_shape_says_what_its_place_wants(path: FieldPath, words: str) -> None:
    shape = shape_at(Fleet, path)

    assert shape is not None
    assert shape.words == words


def test_nothing_may_stand_where_no_field_is() -> None:
    assert shape_at(Fleet, ("spec", "zebra")) is None
    assert shape_at(Fleet, ("spec", "zebra", "deeper")) is None
    assert shape_at(Fleet, ("kind", "deeper")) is None


def test_secrets_are_known_as_such() -> None:
    secrets = [path[-1] for path, field in walk(Fleet) if field.shape.is_secret]

    assert secrets == ["value"]


def test_every_field_says_what_it_is() -> None:
    silent = [path for path, field in walk(Fleet) if not field.description.endswith((".", "`"))]

    assert silent == []


def test_a_unit_follows_from_the_end_of_a_name() -> None:
    units = {path[-1]: field.unit for path, field in walk(Fleet)}

    assert units["ttftMs"] == "milliseconds"
    assert units["drainS"] == "seconds"
    assert units["bodyBytesMax"] == "bytes"
    assert units["replicas"] == ""


def test_fields_are_named_as_in_the_file() -> None:
    assert [field.name for field in fields_of(Fleet)] == ["apiVersion", "kind", "metadata", "spec"]
    assert [field.is_required for field in fields_of(Fleet)] == [True] * 4


def test_the_walk_meets_each_field_once_and_parents_first() -> None:
    paths = [path for path, _ in walk(Fleet)]

    assert len(set(paths)) == len(paths)
    for path in paths:
        parent = path[:-1][:-1] if path[:-1] and path[-2] == 0 else path[:-1]
        assert not parent or paths.index(parent) < paths.index(path)
