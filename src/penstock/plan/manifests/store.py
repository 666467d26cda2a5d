"""The store of keys and of use in a cluster: a database that all gateways share, and what each keeps itself. Pure.

A SQLite file is refused: pods neither share a disk nor keep one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from penstock.plan.manifests.keys import SECRETS_FOLDER, STATE_VARIABLE, tls_files
from penstock.plan.manifests.manifest import Because
from penstock.plan.manifests.site import Site
from penstock.spec import Fleet, QuotaSpec, TenantSpec, sqlite_path
from penstock.spec.base import Finding

__all__ = ["database_of", "state_env", "state_mount", "state_volume", "store_findings", "store_notes"]

_STATE_FOLDER = "/var/lib/penstock"
_PORT = 5432
"""PostgreSQL's own."""
_STATE_SIZE = "2Gi"
"""A snapshot has 256 MiB at most (a million keys), with a new one beside it; journals of requests 1 GiB; the month's
sums 64 MiB; and slack, as a pod past the limit is evicted."""
_HINT = "name a database that all of them share: `store: {url: postgresql://USER@HOST/DATABASE}`"


def database_of(fleet: Fleet) -> tuple[str, int] | None:
    """Host and port of the PostgreSQL database; None where the file names none."""
    store = fleet.spec.gateway.store
    if store is None or sqlite_path(store.url):
        return None
    parts = urlsplit(store.url)
    return parts.hostname or "", parts.port or _PORT


def state_env() -> list[dict[str, Any]]:
    """The variable that says where a gateway keeps what must outlive its container."""
    reason = (
        "Requests that are not in the store yet, and digests of the last known keys: a container that is killed begins "
        "again with them."
    )
    return [{"name": STATE_VARIABLE, "value": Because(_STATE_FOLDER, reason)}]


def state_mount() -> list[dict[str, Any]]:
    """Where the container finds it."""
    return [{"name": "state", "mountPath": _STATE_FOLDER}]


def state_volume() -> list[dict[str, Any]]:
    """The volume, which lasts as long as the pod."""
    reason = (
        "Room for a million keys twice, as a new snapshot is written beside the old, and for an hour's requests that "
        "are not in the store yet."
    )
    return [{"name": "state", "emptyDir": {"sizeLimit": Because(_STATE_SIZE, reason)}}]


def store_findings(fleet: Fleet) -> Iterator[Finding]:
    """Stores that pods cannot have, or could not connect to."""
    gateway = fleet.spec.gateway
    if gateway.store is None:
        if gateway.admin_token_from is not None:
            message = "lets keys be made here, and without `store` they go to a file, which pods neither share nor keep"
            yield Finding(at=("spec", "gateway", "adminTokenFrom"), message=message, hint=_HINT)
        return
    if sqlite_path(gateway.store.url):
        yield Finding(at=("spec", "gateway", "store", "url"), message=_of_file(fleet), hint=_HINT)
        return
    mode = dict(parse_qsl(urlsplit(gateway.store.url).query)).get("sslmode")
    if mode in ("verify-ca", "verify-full") and "sslrootcert" not in tls_files(fleet):
        message = (
            f"checks the server's certificate (`sslmode={mode}`) without saying against what: the gateway would look "
            "in its home folder, which is empty in a pod, and not start"
        )
        hint = f"add `&sslrootcert={SECRETS_FOLDER}/SECRET/KEY`: that key of that Secret is then mounted there"
        yield Finding(at=("spec", "gateway", "store", "url"), message=message, hint=hint)


def _of_file(fleet: Fleet) -> str:
    most = fleet.spec.gateway.scale.max_replicas
    if most > 1:
        return (
            f"is a file, and up to {most} gateways run in a cluster (`scale.maxReplicas`): each would have its own, "
            "and know no key that another made"
        )
    return "is a file, and the gateway's pods have no disk that lasts: the keys would go with the pod"


def store_notes(site: Site) -> Iterator[str]:
    """Files that the store's URL names and nothing mounts; use that is counted where it does not last."""
    lacking = [f"{option} {file}" for option, (file, ref) in tls_files(site.fleet).items() if ref is None]
    if lacking:
        yield (
            f"the store's URL names {', '.join(lacking)}, which the gateway's image must have; a file that is named "
            f"{SECRETS_FOLDER}/SECRET/KEY is mounted from that Secret"
        )
    gateway = site.fleet.spec.gateway
    if gateway.store is None and gateway.limits.url is None and (names := _with_budgets(site.fleet)):
        yield (
            f"budgets a month of {', '.join(names)} are counted in the gateways' pods and begin anew with each pod: "
            "name a database in `gateway.store.url`"
        )


def _with_budgets(fleet: Fleet) -> list[str]:
    """Tenants that a month's use limits."""
    quotas = ((tenant.name, q) for tenant in fleet.spec.gateway.tenants for q in (tenant.limits, *_of_keys(tenant)))
    return list(dict.fromkeys(n for n, q in quotas if (q.tokens_per_month, q.cost_per_month) != (None, None)))


def _of_keys(tenant: TenantSpec) -> Iterator[QuotaSpec]:
    yield from (key.limits for key in tenant.keys)
