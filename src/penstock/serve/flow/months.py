"""Calendar months in UTC, for budgets. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Month", "month_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One month. `begins` and `ends` are Unix seconds; the end is the next one's beginning."""

    label: str
    """As in `202611`."""
    begins: float
    ends: float


def month_of(unix_s: float) -> Month:
    """The month that a moment lies in."""
    at = datetime.fromtimestamp(unix_s, UTC)
    first = datetime(at.year, at.month, 1, tzinfo=UTC)
    after = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return Month(label=f"{at.year:04d}{at.month:02d}", begins=first.timestamp(), ends=after.timestamp())
