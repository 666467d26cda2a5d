"""JSON bytes and events."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.api.encoding import dump, event, quote

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(st.text())
def test_text_comes_back(text: str) -> None:
    assert json.loads(quote(text)) == text


@given(ANY_TEXT)
def test_text_that_utf8_cannot_write_never_raises(text: str) -> None:
    for made in (quote(text), dump({"a": [text, {text: 1}]})):
        json.loads(made.decode())


def test_text_is_not_escaped() -> None:
    assert quote("é\n") == '"é\\n"'.encode()


def test_a_named_event_has_both_lines() -> None:
    assert event("ping", {"a": 1}) == b'event: ping\ndata: {"a":1}\n\n'
