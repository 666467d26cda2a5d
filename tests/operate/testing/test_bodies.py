"""Bodies: JSON with fields twice, YAML, and what cannot be read."""

from __future__ import annotations

import pytest

from operate.testing.api import APPLY, MAPS, Api
from penstock.operate.testing.bodies import read_body
from penstock.operate.testing.status import Refusal

TWICE = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'


def test_a_field_that_stands_twice_is_warned_of_or_refused() -> None:
    warned = Api().send("POST", MAPS, TWICE)
    refused = Api().refused("POST", MAPS, TWICE, fieldValidation="Strict")

    assert warned.body["data"] == {"k": "2"}
    assert warned.headers["Warning"] == '299 - "duplicate field \\"data.k\\""'
    assert 'strict decoding error: duplicate field "data.k"' in refused["message"]


def test_an_apply_may_be_yaml() -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  key: 'yes'\n"

    applied = Api().ok("PATCH", f"{MAPS}/a", text, kind=APPLY, fieldManager="penstock")

    assert applied["data"] == {"key": "yes"}
    assert Api().refused("PATCH", f"{MAPS}/a", b"a: [", kind=APPLY, fieldManager="x")["code"] == 400


def test_a_body_of_another_type_is_not_read() -> None:
    with pytest.raises(Refusal) as refused:
        read_body(b"<xml/>", {"content-type": "text/xml"}, "POST")

    assert refused.value.code == 415
    assert read_body(b"", {}, "POST") == (None, [])
    assert read_body(b"x", {}, "GET") == (None, [])


def test_a_body_has_a_limit() -> None:
    assert Api().refused("POST", MAPS, b"x" * (3 * 1024 * 1024 + 1))["code"] == 413


def test_paths_of_doubled_fields_go_through_lists() -> None:
    value, twice = read_body(b'{"a":[{"b":1,"b":2}]}', {"content-type": "application/json"}, "POST")

    assert value == {"a": [{"b": 2}]}
    assert twice == ["a[0].b"]
