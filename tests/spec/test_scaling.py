"""How many replicas a model may run as its load changes."""

from __future__ import annotations

import pytest

from penstock.spec import AutoscalingSpec
from penstock.spec.loader import load_fleet
from spec.fleets import fleet_text, the_problem


def test_replicas_come_at_once_and_go_after_ten_minutes() -> None:
    scaling = AutoscalingSpec(max_replicas=4)

    assert (scaling.via, scaling.min_replicas) == ("keda", 1)
    assert (scaling.scale_up_window_s, scaling.scale_down_window_s) == (0, 600)


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("{minReplicas: 3, maxReplicas: 2}", "maxReplicas", "less than `minReplicas`"),
        ("{via: hpa, minReplicas: 0, maxReplicas: 2}", "minReplicas", "does not scale to zero"),
        (
            "{maxReplicas: 2, schedule: [{name: day, start: 0 8 * * 1-5, end: 0 18 * * 1-5, replicas: 3}]}",
            "schedule[0].replicas",
            "more than `maxReplicas`",
        ),
        (
            "{via: hpa, maxReplicas: 2, schedule: [{name: day, start: 0 8 * * 1-5, end: 0 18 * * 1-5, replicas: 2}]}",
            "schedule[0]",
            "needs KEDA",
        ),
        (
            "{maxReplicas: 2, schedule: [{name: d, start: 8am, end: 0 18 * * *, replicas: 1}]}",
            "schedule[0].start",
            "cron",
        ),
    ],
)
def test_bounds_that_cannot_hold_are_told_at_their_place(text: str, field: str, words: str) -> None:
    problem = the_problem(fleet_text(model=f"autoscaling: {text}"))

    assert problem.field == f"spec.models[0].autoscaling.{field}"
    assert words in problem.message


def test_a_model_may_sleep() -> None:
    fleet = load_fleet(fleet_text(model="autoscaling: {minReplicas: 0, maxReplicas: 2}"), "f")

    assert fleet.spec.models[0].autoscaling == AutoscalingSpec(min_replicas=0, max_replicas=2)
