"""Text for regular expressions."""

from __future__ import annotations

import random
import re

import pytest

from penstock.simulate.engine.pattern import pattern_text


@pytest.mark.parametrize(
    "regex",
    [
        r"\d{3}-\d{4}", r"(yes|no)", r"[A-Z][a-z]+\s\w{2,}", r"^[^abc]+$", r"\w+@\w+\.com\n", r"a?b*c+?", r"(?:x|y){2}",
        r"[\w.-]+/v[0-9]", r"\S\D\W", r"[^\d\s]{4}", "", "プ+",
    ],
)  # fmt: skip
def test_text_matches_whole(regex: str) -> None:
    rng = random.Random(7)
    for _ in range(50):
        assert re.fullmatch(regex, pattern_text(regex, rng.randrange, is_whole=True))


@pytest.mark.parametrize("regex", ["(", "[z-a]", "a{2,1}", "(?P<n>a)b(?=c)"])
def test_what_cannot_be_met_is_an_error_that_names_it(regex: str) -> None:
    with pytest.raises(ValueError, match=r"regular expression|no text was found"):
        pattern_text(regex, random.Random(1).randrange, is_whole=True)
