"""Finding form fields in bytes: values come back whole, files and look-alikes do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.multipart import PARTS_MAX, form_boundary, form_fields

NAMES = st.text("abcdefgh_[]", min_size=1, max_size=8)
VALUES = st.binary(max_size=40).filter(lambda value: b"--b0" not in value)


def form(fields: list[tuple[str, bytes]], boundary: str = "b0") -> bytes:
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n'.encode() + v for n, v in fields]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()])


def values(body: bytes, boundary: bytes = b"b0") -> list[tuple[str, bytes]]:
    return [(name.decode(), body[start:end]) for name, start, end in form_fields(body, boundary)]


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_every_field_comes_back_with_its_value(fields: list[tuple[str, bytes]]) -> None:
    assert values(form(fields)) == fields


@given(st.binary(max_size=120), st.binary(min_size=1, max_size=4))
def test_any_bytes_give_fields_within_them_or_none(body: bytes, boundary: bytes) -> None:
    for text in (body, b"--" + boundary + b"\r\n" + body):
        for name, start, end in form_fields(text, boundary):
            assert name
            assert 0 <= start <= end <= len(text)


def test_a_longer_line_that_begins_like_the_boundary_is_content() -> None:
    assert values(form([("a", b"x\r\n--b0ther\r\ny"), ("b", b"z")])) == [("a", b"x\r\n--b0ther\r\ny"), ("b", b"z")]


def test_a_form_that_is_cut_short_gives_what_is_whole() -> None:
    body = form([("a", b"x"), ("b", b"y")])
    assert values(body[: body.rindex(b"y")]) == [("a", b"x")]


def test_parts_past_the_bound_are_not_looked_at() -> None:
    assert len(values(form([("a", b"")] * (PARTS_MAX + 50)))) == PARTS_MAX


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; boundary="a b c"', b"a b c"),
        ("MULTIPART/FORM-DATA;charset=x;BOUNDARY=abc;x=y", b"abc"),
        ("multipart/form-data", b""),
        ("multipart/mixed; boundary=abc", b""),
        ("multipart/form-data-x; boundary=abc", b""),
        ("text/plain; x=multipart/form-data; boundary=abc", b""),
        ("", b""),
    ],
)
def test_the_boundary_is_told_by_the_content_type_of_a_form_alone(content_type: str, boundary: bytes) -> None:
    assert form_boundary(content_type) == boundary
