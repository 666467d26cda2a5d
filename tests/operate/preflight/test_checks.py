"""All questions together: a real fleet on a good cluster, and on one that shows nothing."""

from __future__ import annotations

import pytest

from operate.preflight.clusters import GOOD, site
from penstock.operate.preflight import Check, Status, Survey, check_cluster, worst
from penstock.plan.manifests.render import render


def test_a_fleet_fits_a_good_cluster() -> None:
    fleet = site()

    checks = check_cluster(fleet, render(fleet), GOOD)

    bad = [check for check in checks if check.status is not Status.OK]
    assert {check.id for check in bad} <= {"driver"}


def test_a_cluster_that_shows_nothing_is_unknown_and_never_well() -> None:
    fleet = site()

    checks = check_cluster(fleet, render(fleet), Survey(unread={"namespace": "no", "dry_runs": "no"}))

    assert {check.id for check in checks if check.status is Status.OK} <= {"api-served"}


@pytest.mark.parametrize(
    ("statuses", "meant"),
    [
        ([], Status.OK),
        ([Status.OK, Status.UNKNOWN], Status.UNKNOWN),
        ([Status.FAILED, Status.WARNING], Status.FAILED),
    ],
)
def test_the_worst_answer_is_the_answer(statuses: list[Status], meant: Status) -> None:
    checks = tuple(Check(id="x", about="", status=status, message="") for status in statuses)

    assert worst(checks) is meant
