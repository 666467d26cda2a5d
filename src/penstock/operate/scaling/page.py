"""Reads the few lines that scaling needs out of a gateway's `/metrics`. Pure.

Guarantees: never raises on any bytes; a page that is cut short, of another fleet or of something else is none, so that
a load which was not told is never taken for 0. Bounded: models beyond a number are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

__all__ = ["MODELS_MAX", "Reading", "read_page"]

MODELS_MAX = 10_000
_IN_FLIGHT = b"penstock_in_flight_requests"
_REQUESTS = b"penstock_requests_total"
_BUILD = b"penstock_build_info"
"""The last family of the page: where it is there, the page is whole."""
_NOT_ASKED = {"client_error", "limited"}
"""Outcomes of requests that no replica would have helped, as the trigger of Prometheus has them."""
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"')
_ESCAPED = re.compile(rb"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one gateway says of its models; one that it does not name has nothing there."""

    in_flight: Mapping[str, float]
    asked: Mapping[str, float]
    """Finished requests since the gateway's start that a replica was wanted for, also those refused without one."""


def read_page(page: bytes, fleet: str) -> Reading | None:
    """What the page of this fleet's gateway says; None where it is no such page, or not all of it."""
    if not page.endswith(b"\n") or fleet not in (labels.get("fleet") for labels, _ in _samples(page, _BUILD)):
        return None
    if b"# TYPE " + _IN_FLIGHT + b" gauge\n" not in page:
        return None
    in_flight: dict[str, float] = {}
    asked: dict[str, float] = {}
    for labels, value in _samples(page, _IN_FLIGHT):
        _add(in_flight, labels.get("model", ""), value)
    for labels, value in _samples(page, _REQUESTS):
        if labels.get("outcome") not in _NOT_ASKED:
            _add(asked, labels.get("model", ""), value)
    return Reading(in_flight=in_flight, asked=asked)


def _add(sums: dict[str, float], model: str, value: float) -> None:
    if model and (model in sums or len(sums) < MODELS_MAX):
        sums[model] = sums.get(model, 0.0) + value


def _samples(page: bytes, name: bytes) -> Iterator[tuple[dict[str, str], float]]:
    """Labels and values of a family; lines that are not well made, negative or no number are passed over."""
    start = 0
    while (start := page.find(name + b"{", start)) >= 0:
        end = page.find(b"\n", start)
        line = page[start + len(name) : end if end >= 0 else len(page)]
        if start == 0 or page[start - 1 : start] == b"\n":
            labels, closed, rest = line.rpartition(b"}")
            value = _number(rest) if closed else None
            if value is not None:
                yield {_text(found[1]): _text(found[2]) for found in _LABEL.finditer(labels)}, value
        start += len(name)


def _number(text: bytes) -> float | None:
    fields = text.split(None, 1)
    try:
        value = float(fields[0])
    except (ValueError, IndexError):
        return None
    return value if isfinite(value) and value >= 0 else None


def _text(raw: bytes) -> str:
    plain = _ESCAPED.sub(lambda found: b"\n" if found[1] == b"n" else found[1], raw)
    return plain.decode("utf-8", "replace")
