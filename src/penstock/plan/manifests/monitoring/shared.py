"""Alerts on what gateways share: the limits in Redis, and the ledger of use in the store. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.monitoring.recording import window_name
from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page
from penstock.plan.manifests.signals import scope
from penstock.plan.manifests.site import Site

__all__ = ["PAGES", "shared_alerts"]

_BEHIND_S = 900
"""A database that fails over is back before; the journal has room for far more."""
_LOGS = "kubectl -n NAMESPACE logs -l penstock.dev/fleet=FLEET,app.kubernetes.io/component=gateway --since=15m"
_DISK = "kubectl -n NAMESPACE describe pod POD | grep -iE 'evict|ephemeral|state' | head"

_LIMITS = Page(
    name="PenstockLimitsAway",
    summary="Gateway {{ $labels.pod }} decides limits alone: Redis is away",
    description="It allows its own share of every limit: a tenant whose requests all come through one gateway gets "
    "less than its limit.",
    meaning="`penstock_limits_connected` was 0 for five minutes: this gateway can't reach the Redis of "
    "`gateway.limits.url`.",
    first=f"{_LOGS} | grep -iE 'redis|limits' | tail",
    causes=(
        Cause("Redis is down, or fails over.", "Bring it back: gateways connect again by themselves, within seconds."),
        Cause("Its password was changed.", "Put the new one into the Secret that `gateway.limits.passwordFrom` names."),
        Cause(
            "A network policy or a firewall keeps the gateway out.",
            "All gateways tell so, and Redis runs: look at the policies of its namespace.",
        ),
    ),
    wake="No: limits hold. Where every gateway is cut off nobody gets more than the limit; where one alone is, at most "
    "its share more.",
)
_BEHIND = Page(
    name="PenstockLedgerBehind",
    summary="Gateway {{ $labels.pod }} has entered no use for {{ $value | humanizeDuration }}",
    description="Finished requests of this gateway are not in the store: `penstock usage` and monthly budgets do not "
    "see them yet. They are kept in the gateway's journal and are entered when the store takes them.",
    meaning="`penstock_ledger_silence_seconds`: finished requests wait in the journal, and the store was "
    "not up to date for a quarter of an hour.",
    first=f"{_LOGS} | grep -i ledger | tail",
    causes=(
        Cause("The database is down or read only.", "Bring it back; see PenstockStoreAway."),
        Cause("Its disk is full.", "Make room there; what waits is entered by itself."),
        Cause(
            "The database is too slow for what is served: `penstock_ledger_waiting_requests` grows.",
            "Look at its load: a gateway enters 200 requests in one transaction.",
        ),
    ),
    wake="No. Delete no gateway pod meanwhile: its journal goes with it.",
)
_MEMORY = Page(
    name="PenstockLedgerInMemory",
    summary="Gateway {{ $labels.pod }} keeps its journal of use in memory",
    description="If this gateway is killed now, it loses the use of requests that are not in the store yet.",
    meaning="`penstock_ledger_journal_failed` was 1 for five minutes: the journal can't be written to the pod's disk.",
    first=_DISK,
    causes=(
        Cause("The node's disk is full.", "Make room there; or delete the pod while PenstockLedgerBehind is quiet."),
        Cause("The folder is not writable.", "The volume `state` must be mounted, as `penstock render` has it."),
    ),
    wake="No, unless PenstockLedgerBehind is there too and use is billed.",
)
_LOST = Page(
    name="PenstockUseLost",
    summary="Gateway {{ $labels.pod }} dropped {{ $value | humanize }} entries of use",
    description="There was no room for them on disk or in memory: their requests were served and will be missing from "
    "`penstock usage` and from budgets.",
    meaning="`penstock_ledger_dropped_total` grew within a quarter of an hour.",
    first=_DISK,
    causes=(
        Cause("The store has been away for so long that the journal is full.", "See PenstockLedgerBehind."),
        Cause("The journal is in memory and memory's part of it is full.", "See PenstockLedgerInMemory."),
    ),
    wake="If use is billed: at once. What is lost can't be told later.",
)
PAGES = (_LIMITS, _BEHIND, _MEMORY, _LOST)


def shared_alerts(site: Site) -> Iterator[Alert]:
    """Alerts on Redis, where the file names one, and on the ledger."""
    gateway, by_pod, w = scope(site, component="gateway"), "by (namespace, fleet, pod)", window_name(site, 900)
    if site.fleet.spec.gateway.limits.url is not None:
        expr = f"min {by_pod} (penstock_limits_connected{{{gateway}}}) == 0"
        yield Alert(page=_LIMITS, expr=expr, severity="warning", for_s=300)
    expr = f"max {by_pod} (penstock_ledger_silence_seconds{{{gateway}}}) > {_BEHIND_S}"
    yield Alert(page=_BEHIND, expr=expr, severity="warning", for_s=60)
    expr = f"max {by_pod} (penstock_ledger_journal_failed{{{gateway}}}) == 1"
    yield Alert(page=_MEMORY, expr=expr, severity="warning", for_s=300)
    lost = f"sum {by_pod} (increase(penstock_ledger_dropped_total{{{gateway}}}[{w}]))"
    yield Alert(page=_LOST, expr=f"{lost} > 0", severity="warning")
