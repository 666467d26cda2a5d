"""The figures of the limits' benchmark mean what its page says."""

from __future__ import annotations

from typing import Any

import pytest

from bench.limits import is_held, largest_window


def test_the_largest_window_is_any_sixty_seconds_not_a_minute_of_the_clock() -> None:
    assert largest_window([(0.0, 5), (50.0, 7), (59.9, 1), (60.0, 9), (100.0, 9)]) == 26
    assert largest_window([]) == 0


def figures(of_limit: float = 1.0, largest: int = 100, admitted: int = 100, **words: Any) -> dict[str, Any]:
    kind = {
        "limit": 100,
        "admitted": admitted,
        "of_limit": of_limit,
        "largest_60_s": largest,
        "limit_and_burst": 110,
    }
    return {"seconds": 60.0, "redis": "there", "requests": kind, "tokens": kind, **words}


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (figures(), True),
        (figures(of_limit=0.985), False),
        (figures(of_limit=1.011), False),
        (figures(largest=111), False),
        (figures(of_limit=0.5, seconds=6.0), True),
        (figures(redis="STOP for 15 s", of_limit=0.9), True),
        (figures(redis="STOP for 15 s", admitted=101), False),
    ],
)
def test_a_run_holds_its_bar_or_does_not(found: dict[str, Any], holds: bool) -> None:
    assert is_held(found) is holds
