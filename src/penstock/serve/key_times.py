"""Times as people write them for keys: `90d`, `12h`, `2027-01-31`, or RFC 3339. Pure: `now` is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from penstock.errors import UsageError

__all__ = ["parse_expiry", "parse_span"]

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_YEARS_MAX = 100
FORMS = "write a span from now (`90d`, `12h`), a day (`2027-01-31`, to its start in UTC), or RFC 3339"


def parse_span(text: str) -> int:
    """Seconds of `30m`, `12h`, `7d`, `2w` or `0`.

    Raises:
        UsageError: it is not of that form.
    """
    if text == "0":
        return 0
    found = _SPAN.fullmatch(text)
    if found is None:
        raise UsageError(f"{text[:40]!r} is no span of time.", hint="write a number and s, m, h, d or w: `24h`, `7d`")
    return int(found[1]) * _SECONDS[found[2]]


def parse_expiry(text: str, now: int) -> int:
    """Unix seconds of a span from `now`, a day, or a time with its zone.

    Raises:
        UsageError: it is none of these, or more than a hundred years away.
    """
    at = now + parse_span(text) if _SPAN.fullmatch(text) else _moment(text)
    if at > now + _YEARS_MAX * 366 * 86_400:
        raise UsageError(f"{text[:40]!r} is more than {_YEARS_MAX} years away.", hint="leave it out for no expiry")
    return at


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text[:40]!r} is no time.", hint=FORMS) from error
    if moment.tzinfo is None:
        if len(text) != len("2027-01-31"):
            raise UsageError(f"{text[:40]!r} says no zone.", hint="end it with `Z` for UTC, or with `+02:00`")
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())
