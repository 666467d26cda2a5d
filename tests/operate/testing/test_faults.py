"""Faults that a test arms."""

from __future__ import annotations

from penstock.operate.testing.faults import Faults


def test_a_fault_is_used_up_by_requests_that_fit() -> None:
    faults = Faults()
    faults.fail(2, code=503, method="GET", path="/pods")
    faults.reset(1)

    kinds = [
        fault.kind if fault else ""
        for fault in (faults.next_for(*request) for request in (
            ("GET", "/api/v1/pods"), ("POST", "/api/v1/pods"), ("GET", "/api/v1/pods"), ("GET", "/api/v1/pods"),
        ))
    ]  # fmt: skip

    assert kinds == ["error", "reset", "error", ""]


def test_too_many_requests_say_when_to_come_again() -> None:
    faults = Faults()
    faults.fail(code=429, retry_after_s=7)
    fault = faults.next_for("GET", "/")
    assert fault is not None

    refusal = faults.refusal(fault)

    assert (refusal.code, refusal.reason) == (429, "TooManyRequests")
    assert refusal.headers == {"Retry-After": "7"}
    assert refusal.body()["details"]["retryAfterSeconds"] == 7


def test_held_requests_go_on_in_order_when_released() -> None:
    faults = Faults()
    went: list[int] = []
    faults.held += [lambda: went.append(1), lambda: went.append(2)]
    assert went == []

    faults.release()
    faults.release()

    assert went == [1, 2]


def test_clearing_disarms() -> None:
    faults = Faults()
    faults.hold(3)
    faults.clear()

    assert faults.next_for("GET", "/") is None
