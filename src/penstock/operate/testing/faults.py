"""What a test makes the server do wrong, and what it saw: faults, and the log of requests. Pure.

Faults count requests, never time: the next N that fit. Owned by one `Cluster`; a test arms it, requests use it up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from penstock.operate.testing.status import Refusal, too_many_requests

__all__ = ["LOG_MAX", "Fault", "Faults", "Logged"]

LOG_MAX = 50_000
"""Requests that the log keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One request that the server answered."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    body: Any
    code: int
    """The answer's status; 0 where the connection was reset."""
    user: str = ""

    @property
    def is_write(self) -> bool:
        return self.method in ("POST", "PUT", "PATCH", "DELETE")


@dataclass(slots=True)
class Fault:
    """What happens to the next `count` requests that `method` and `path` fit."""

    kind: Literal["error", "reset", "hold"]
    count: int
    method: str
    path: str
    code: int
    retry_after_s: int

    def fits(self, method: str, path: str) -> bool:
        return self.count > 0 and self.method in ("", method) and self.path in path


class Faults:
    """Faults to come. Empty unless a test arms it."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self.held: list[Callable[[], None]] = []
        """Requests that wait until the test lets them go on: `release`."""

    def fail(
        self, count: int = 1, *, code: int = 500, retry_after_s: int = 0, method: str = "", path: str = ""
    ) -> None:
        """The next `count` requests get `code` (429 and 503 with `Retry-After`, where `retry_after_s` is given)."""
        self._armed.append(Fault("error", count, method, path, code, retry_after_s))

    def reset(self, count: int = 1, *, method: str = "", path: str = "") -> None:
        """The next `count` requests end in a closed connection, not carried out."""
        self._armed.append(Fault("reset", count, method, path, 0, 0))

    def hold(self, count: int = 1, *, method: str = "", path: str = "") -> None:
        """The next `count` requests wait, not carried out, until `release`."""
        self._armed.append(Fault("hold", count, method, path, 0, 0))

    def release(self) -> None:
        """Lets the held requests go on, in the order they came."""
        waiting, self.held = self.held, []
        for go_on in waiting:
            go_on()

    def clear(self) -> None:
        self._armed = []
        self.release()

    def next_for(self, method: str, path: str) -> Fault | None:
        """The fault of this request, counted."""
        for fault in self._armed:
            if fault.fits(method, path):
                fault.count -= 1
                return fault
        return None

    @staticmethod
    def refusal(fault: Fault) -> Refusal:
        """The answer of an `error` fault."""
        if fault.code == 429:
            return too_many_requests(
                "the server has received too many requests and has asked us to try again later", fault.retry_after_s
            )
        reasons = {500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout", 403: "Forbidden", 409: "Conflict"}
        headers = {"Retry-After": str(fault.retry_after_s)} if fault.retry_after_s else {}
        words = {
            500: "Internal error occurred: a test asked for it",
            503: "the server is currently unable to handle the request",
        }
        return Refusal(
            fault.code, reasons.get(fault.code, ""), words.get(fault.code, "a test asked for this"), {}, headers
        )
