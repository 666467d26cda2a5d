"""A page of another origin may call where the gateway lets it, and nowhere else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.cors import ANY_ORIGIN, allowed_headers, is_preflight, preflight_headers

APP = b"https://app.example"


def parsed(lines: bytes) -> dict[str, str]:
    assert lines.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in lines.decode("latin-1").split("\r\n")[:-1])


def test_only_options_with_an_origin_is_a_preflight() -> None:
    assert is_preflight("OPTIONS", APP)
    assert not is_preflight("OPTIONS", b"")
    assert not is_preflight("POST", APP)


def test_a_preflight_is_told_methods_headers_and_for_how_long() -> None:
    told = parsed(preflight_headers(ANY_ORIGIN, APP))
    assert "access-control-allow-origin" not in told  # that is in every answer, and may stand only once
    assert "DELETE" in told["access-control-allow-methods"]
    assert told["access-control-allow-headers"].startswith("authorization")
    assert told["access-control-max-age"] == "600"


def test_a_named_origin_is_repeated_and_caches_are_told() -> None:
    told = parsed(allowed_headers(("https://app.example",), APP))
    assert (told["access-control-allow-origin"], told["vary"]) == ("https://app.example", "origin")
    assert "x-request-id" in told["access-control-expose-headers"]


def test_nobody_else_is_told_anything() -> None:
    assert allowed_headers(("https://other.example",), APP) == b""
    assert preflight_headers(("https://other.example",), APP) == b""
    assert allowed_headers((), APP) == b""
    assert allowed_headers(ANY_ORIGIN, b"") == b""


def test_credentials_are_never_allowed() -> None:
    assert b"credentials" not in preflight_headers(ANY_ORIGIN, APP) + preflight_headers(("https://app.example",), APP)


@given(st.binary(max_size=40), st.lists(st.text(max_size=20), max_size=3))
def test_an_origin_brings_no_line_of_its_own(origin: bytes, origins: list[str]) -> None:
    for lines in (allowed_headers(origins, origin), allowed_headers([*origins, origin.decode("latin-1")], origin)):
        if lines:
            assert set(parsed(lines)) <= {"access-control-allow-origin", "vary", "access-control-expose-headers"}
