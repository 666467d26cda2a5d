"""Whether a cluster can run a fleet, question by question (requirements R1–R8). Pure.

Guarantees: every model has an answer for its GPUs, its files, its Secrets; what could not be read is said to be
unknown; what fails says what to do. The order is that in which a person would mend things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from penstock.operate.preflight import cluster, gpus, things
from penstock.operate.preflight.case import Case
from penstock.operate.preflight.survey import Check, Status, Survey
from penstock.plan.manifests import Bundle, Site

__all__ = ["check_cluster", "worst"]

_QUESTIONS: tuple[Callable[[Case], Iterator[Check]], ...] = (
    cluster.version,
    cluster.kinds,
    cluster.namespace,
    things.secrets,
    things.storage,
    things.classes,
    gpus.device_plugin,
    gpus.driver,
    gpus.capacity,
    gpus.quota,
    cluster.dry_run,
)


def check_cluster(site: Site, bundle: Bundle, survey: Survey) -> tuple[Check, ...]:
    """Every question, answered."""
    case = Case(site=site, bundle=bundle, survey=survey)
    return tuple(check for question in _QUESTIONS for check in question(case))


def worst(checks: tuple[Check, ...]) -> Status:
    """The worst of the answers."""
    order = list(Status)
    return max((check.status for check in checks), key=order.index, default=Status.OK)
