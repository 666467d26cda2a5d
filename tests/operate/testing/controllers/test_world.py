"""What controllers share."""

from __future__ import annotations

from penstock.operate.testing.controllers.world import condition, is_ready, with_condition


def test_a_condition_keeps_its_time_while_its_value_stays() -> None:
    first = with_condition({}, "t1", "Ready", "False", "Because", "words")
    same = with_condition(first, "t2", "Ready", "False", "Other", "")
    turned = with_condition(same, "t3", "Ready", "True", "", "")

    assert same["conditions"] == [{"type": "Ready", "status": "False", "lastTransitionTime": "t1", "reason": "Other"}]
    assert turned["conditions"] == [{"type": "Ready", "status": "True", "lastTransitionTime": "t3"}]
    assert is_ready({"status": turned})
    assert not is_ready({"status": same})
    assert condition({}, "Ready") is None
