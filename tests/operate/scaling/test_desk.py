"""Who asks gets the newest decision, or the reason why there is none; never a 0 that nobody said."""

from __future__ import annotations

import pytest

from penstock.operate.scaling.desk import Answer, Desk, Refused
from penstock.operate.scaling.gateways import GatewayAddress
from penstock.operate.scaling.page import Reading
from penstock.operate.scaling.policy import Policy

CHAT = {"fleet": "prod", "model": "chat", "scalerAddress": "x:6000"}


def desk(policy: Policy | None = None) -> Desk:
    made = Desk("ai")
    made.put("prod", {"chat": policy or Policy(model="chat", target=8.0)})
    made.gateways("prod").keep([GatewayAddress(id="g", host="10.0.0.1", port=8081, is_serving=True)])
    return made


def hear(it: Desk, load: float, now: float) -> list[str]:
    """Takes a load; returns the words of what changed."""
    it.gateways("prod").take("g", Reading(in_flight={"chat": load}, asked={}), now)
    return [f"{change.replicas}: {change.decision.reason}" for change in it.observe("prod", now)]


def test_a_load_is_answered_with_its_target() -> None:
    it = desk()
    hear(it, 20, 0.0)

    assert it.answer("ai", CHAT, 1.0) == Answer(value=20, target=8.0, is_active=True)


def test_a_load_that_nobody_says_is_refused() -> None:
    it = desk()
    assert it.observe("prod", 0.0)

    found = it.answer("ai", CHAT, 0.0)

    assert isinstance(found, Refused)
    assert found.kind == "silent"
    assert it.target("ai", CHAT) == 8.0


def test_an_answer_is_not_kept_beyond_its_time() -> None:
    it = desk()
    hear(it, 20, 0.0)

    assert isinstance(it.answer("ai", CHAT, 60.0), Refused)


@pytest.mark.parametrize(
    ("namespace", "metadata", "word"),
    [
        ("other", CHAT, "namespace"),
        ("ai", {**CHAT, "fleet": "nope"}, "no fleet"),
        ("ai", {**CHAT, "model": "nope"}, "no model"),
        ("ai", {}, "no fleet"),
    ],
)
def test_what_is_not_kept_here_is_refused_by_name(namespace: str, metadata: dict[str, str], word: str) -> None:
    it = desk()
    hear(it, 20, 0.0)

    for found in (it.answer(namespace, metadata, 0.0), it.target(namespace, metadata)):
        assert isinstance(found, Refused)
        assert found.kind == "unknown"
        assert word in found.reason


def test_a_target_that_is_no_whole_number_is_told_in_thousandths_with_its_value() -> None:
    it = desk(Policy(model="chat", target=2.5))
    hear(it, 20, 0.0)

    assert it.answer("ai", CHAT, 0.0) == Answer(value=20_000, target=2500, is_active=True)
    assert it.target("ai", CHAT) == 2500


def test_what_always_runs_is_taken_off_and_never_gives_less_than_nothing() -> None:
    it = desk(Policy(model="chat", target=8.0, floor=2))
    hear(it, 20, 0.0)
    assert it.answer("ai", CHAT, 0.0) == Answer(value=4, target=8.0, is_active=True)
    hear(it, 10, 5.0)
    assert it.answer("ai", CHAT, 5.0) == Answer(value=0, target=8.0, is_active=False)


def test_a_decision_is_told_when_its_replicas_change_and_not_with_every_request() -> None:
    it = desk()

    assert hear(it, 20, 0.0) == ["3: 20 requests in flight at 1 of 1 gateways"]
    assert hear(it, 21, 5.0) == []
    assert hear(it, 25, 10.0) == ["4: 25 requests in flight at 1 of 1 gateways"]


def test_what_is_decided_is_shown() -> None:
    it = desk()
    assert [row.as_json()["is_known"] for row in it.rows(0.0)] == [False]
    hear(it, 20, 0.0)

    (row,) = it.rows(0.0)

    assert row.as_json() == {
        "fleet": "prod",
        "model": "chat",
        "target_requests": 8.0,
        "lead_s": 0.0,
        "floor_replicas": 0,
        "reason": "20 requests in flight at 1 of 1 gateways",
        "is_known": True,
        "in_flight_requests": 20,
        "recommended_requests": 20,
        "recommended_replicas": 3,
        "is_active": True,
        "has_trend": False,
    }


def test_a_model_that_no_longer_scales_so_is_forgotten() -> None:
    it = desk()
    hear(it, 20, 0.0)
    it.put("prod", {})
    assert not it.has_models("prod")
    assert it.rows(0.0) == []
    it.forget("prod")
    assert isinstance(it.answer("ai", CHAT, 0.0), Refused)
