"""By when an answer is of use to whoever asked: read from the headers that clients and proxies send. Pure.

`x-request-timeout-ms` and Envoy's `x-envoy-expected-rq-timeout-ms` (milliseconds) and `grpc-timeout` (a number and a
unit, as in `1500m`) bound the whole answer. OpenAI's and Anthropic's clients say what they do themselves, in seconds:
`x-stainless-read-timeout` and `x-stainless-timeout` are the longest silence (Python, `_base_client.py` of both) or the
time until the answer's head (JavaScript), so they bound the first byte, and the whole of an answer that is no stream.

Guarantees: the shortest holds, and the class's own bound is never passed; what can't be read or is out of bounds is as
if it were not there, never an error: such headers come from libraries, and no user could mend it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

__all__ = ["DEADLINE_HEADERS", "Deadline", "deadline_of", "remaining_header"]

DEADLINE_HEADERS = frozenset(
    {
        b"x-request-timeout-ms",
        b"x-envoy-expected-rq-timeout-ms",
        b"grpc-timeout",
        b"x-stainless-read-timeout",
        b"x-stainless-timeout",
    }
)
TIMEOUT_S_MAX = 86_400.0
"""Seconds from which a header's value says nothing: a day."""
TIMEOUT_S_MIN = 0.001
_CHARS_MAX = 20
_NUMBER = re.compile(rb"[0-9]+(\.[0-9]*)?")
_GRPC = re.compile(rb"([0-9]{1,8})([HMSmun])")
_GRPC_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
"""Seconds of gRPC's units (its HTTP/2 protocol page, `TimeoutUnit`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Seconds from a request's arrival; None for no bound."""

    whole_s: float | None = None
    """Until the last byte."""
    first_s: float | None = None
    """Until the first byte of the answer: the client leaves then, however long the answer may take after that."""

    def is_past(self, waited_s: float, *, has_begun: bool) -> bool:
        """Whether nobody waits any more after that many seconds."""
        if self.whole_s is not None and waited_s > self.whole_s:
            return True
        return not has_begun and self.first_s is not None and waited_s > self.first_s


NO_DEADLINE = Deadline()


def deadline_of(
    headers: tuple[tuple[bytes, bytes], ...], class_timeout_s: float | None, *, is_stream: bool
) -> Deadline:
    """What the client's headers (lower-case names, those of `DEADLINE_HEADERS`) and its class allow."""
    if not headers:
        return NO_DEADLINE if class_timeout_s is None else Deadline(whole_s=class_timeout_s)
    whole_s, first_s = class_timeout_s, None
    for name, value in headers:
        seconds = _seconds(name, value) if len(value) <= _CHARS_MAX else None
        if seconds is None:
            continue
        if name.startswith(b"x-stainless"):
            first_s = _least(first_s, seconds)
            if not is_stream:
                whole_s = _least(whole_s, seconds)
        else:
            whole_s = _least(whole_s, seconds)
    return Deadline(whole_s=whole_s, first_s=_least(first_s, whole_s))


def remaining_header(deadline: Deadline, waited_s: float) -> bytes:
    """The header line that tells the next server, ended by CRLF; empty without a bound. At least one millisecond."""
    if deadline.whole_s is None:
        return b""
    return b"x-request-timeout-ms: %d\r\n" % max(1, int((deadline.whole_s - waited_s) * 1e3))


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


@lru_cache(maxsize=256)  # nearly all clients send the same few values
def _seconds(name: bytes, value: bytes) -> float | None:
    value = value.strip()
    if name == b"grpc-timeout":
        match = _GRPC.fullmatch(value)
        seconds = int(match[1]) * _GRPC_S[match[2]] if match is not None else 0.0
    elif name in DEADLINE_HEADERS and _NUMBER.fullmatch(value):
        seconds = float(value) / (1e3 if name.endswith(b"-ms") else 1.0)
    else:
        return None
    return seconds if isfinite(seconds) and TIMEOUT_S_MIN <= seconds <= TIMEOUT_S_MAX else None
