"""The store of keys in a cluster: a database, because no pod keeps a file."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.store import database_of, store_notes
from plan.manifests.sites import CHAT, DATABASE, OPEN, bundle_of, findings_of, site_from

FILE = "  gateway: {store: {url: 'sqlite:keys.db'}, scale: {minReplicas: 1, maxReplicas: %d}}\n"
URL = ("spec", "gateway", "store", "url")


@pytest.mark.parametrize(("most", "reason"), [(4, "up to 4 gateways"), (1, "no disk that lasts")])
def test_a_file_is_refused_because_pods_neither_share_nor_keep_it(most: int, reason: str) -> None:
    (finding,) = findings_of(CHAT + FILE % most)

    assert finding.at == URL
    assert reason in finding.message
    assert "postgresql://" in (finding.hint or "")


def test_keys_that_are_made_through_the_admin_port_need_a_database_too() -> None:
    """Else they would go to the default file."""
    (finding,) = findings_of(CHAT + "  gateway: {auth: {anonymous: true}, adminTokenFrom: {env: T}}\n")

    assert finding.at == ("spec", "gateway", "adminTokenFrom")
    assert "postgresql://" in (finding.hint or "")


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
def test_a_certificate_that_is_checked_against_nothing_is_refused(mode: str) -> None:
    """The driver then wants ~/.postgresql/root.crt, and a pod's home is empty."""
    text = DATABASE.replace("verify-full&sslrootcert=/etc/penstock/secrets/db/ca.crt", mode)
    (finding,) = findings_of(CHAT + text)

    assert finding.at == URL
    assert "sslrootcert=/etc/penstock/secrets/SECRET/KEY" in (finding.hint or "")
    assert findings_of(CHAT + text.replace(mode, "require")) == []


def test_a_file_that_is_not_mounted_is_told() -> None:
    text = CHAT + DATABASE.replace("/etc/penstock/secrets/db/ca.crt", "/etc/ssl/db.pem&sslcrl=/crl")
    notes = [note for note in bundle_of(text).notes if "sslrootcert" in note]

    assert len(notes) == 1
    assert "/etc/ssl/db.pem" in notes[0]
    assert "/crl" in notes[0]
    assert list(store_notes(site_from(CHAT + DATABASE))) == []
    assert list(store_notes(site_from(CHAT + OPEN))) == []


def test_a_months_budget_that_goes_with_the_pod_is_told() -> None:
    def told(limits: str, more: str = "") -> list[str]:
        tenant = f"{{name: acme, limits: {{{limits}}}, keys: [{{valueFrom: {{secretKeyRef: {{name: k, key: a}}}}}}]}}"
        return list(store_notes(site_from(f"{CHAT}  gateway:\n    tenants: [{tenant}]\n{more}")))

    (note,) = told("tokensPerMonth: 5")
    assert "budgets a month of acme" in note
    assert "gateway.store.url" in note
    assert told("tokensPerMinute: 5") == []
    assert told("tokensPerMonth: 5", "    limits: {url: 'redis://r.example'}\n") == []
    assert told("tokensPerMonth: 5", "    store: {url: 'postgresql://p@db.example/p'}\n") == []


@pytest.mark.parametrize(
    ("place", "host", "port"),
    [("db.example:6432", "db.example", 6432), ("db.example", "db.example", 5432), ("[::1]:5433", "::1", 5433)],
)
def test_where_the_database_is(place: str, host: str, port: int) -> None:
    fleet = site_from(CHAT + DATABASE.replace("db.example:6432", place)).fleet
    assert database_of(fleet) == (host, port)


def test_without_a_store_there_is_no_database() -> None:
    assert database_of(site_from(CHAT + OPEN).fleet) is None
