"""Whether a cluster can run a fleet, before anything is applied. Pure: a survey of the cluster in, answers out."""

from penstock.operate.preflight.checks import check_cluster, worst
from penstock.operate.preflight.survey import Check, DryRun, Status, Survey
from penstock.operate.preflight.things import secrets_of

__all__ = ["Check", "DryRun", "Status", "Survey", "check_cluster", "secrets_of", "worst"]
