"""Refusals as Status objects."""

from __future__ import annotations

from penstock.operate.testing.status import Cause, bad_request, forbidden, invalid, too_many_requests, unauthorized


def test_one_cause_stands_alone_and_many_in_brackets() -> None:
    one, two = Cause("FieldValueRequired", "Required value", "a"), Cause("FieldValueInvalid", "no", "b")

    assert invalid("g", "Kind", "n", [one]).message == 'Kind.g "n" is invalid: a: Required value'
    assert invalid("", "Kind", "n", [one, two]).message == 'Kind "n" is invalid: [a: Required value, b: no]'


def test_a_status_says_what_failed() -> None:
    assert bad_request("why").body() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "why",
        "reason": "BadRequest",
        "code": 400,
    }
    assert forbidden("g", "things", "", "no").message == "things.g is forbidden: no"
    assert str(unauthorized()) == "Unauthorized"
    assert too_many_requests("later", 3).headers == {"Retry-After": "3"}
