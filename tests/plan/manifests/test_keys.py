"""Keys in a cluster: as files, as variables, and never in clear text."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.keys import keys_by_secret, keys_from_env
from plan.manifests.sites import CHAT, DATABASE, findings_of, site_from


def _tenant(key: str) -> str:
    return f"{CHAT}  gateway:\n    tenants:\n      - {{name: acme, keys: [{key}]}}\n"


def test_keys_are_gathered_by_secret_once_each() -> None:
    text = f"""{CHAT}  gateway:
    tenants:
      - name: a
        keys:
          - valueFrom: {{secretKeyRef: {{name: two, key: y}}}}
          - valueFrom: {{secretKeyRef: {{name: two, key: x}}}}
      - {{name: b, keys: [{{valueFrom: {{secretKeyRef: {{name: one, key: z}}}}}}, {{valueFrom: {{env: B_KEY}}}}]}}
"""
    fleet = site_from(text).fleet

    assert keys_by_secret(fleet) == {"one": ["z"], "two": ["x", "y"]}
    assert keys_from_env(fleet) == ["B_KEY"]


def test_the_stores_password_its_certificate_and_the_admin_token_are_read_as_keys_are() -> None:
    """The certificate is named by its path alone: what lies below the folder of Secrets is that Secret's key."""
    fleet = site_from(CHAT + DATABASE).fleet

    assert keys_by_secret(fleet) == {"db": ["ca.crt", "password"]}
    assert keys_from_env(fleet) == ["ADMIN_TOKEN"]


@pytest.mark.parametrize("file", ["secrets/corp/ca.crt", "./secrets/corp/ca.crt", "/etc/penstock/secrets/corp/ca.crt"])
def test_the_cas_of_a_provider_lie_beside_the_fleet_file_where_its_secrets_are_mounted(file: str) -> None:
    provider = f"{{name: p, url: 'https://h/v1', caFile: '{file}'}}"
    fleet = site_from(f"{CHAT}  gateway: {{auth: {{anonymous: true}}, providers: [{provider}]}}\n").fleet

    assert keys_by_secret(fleet) == {"corp": ["ca.crt"]}


@pytest.mark.parametrize("file", ["/etc/ssl/db.pem", "/etc/penstock/secrets/db", "/etc/penstock/secrets/DB/../ca"])
def test_a_certificate_elsewhere_is_no_secret(file: str) -> None:
    text = CHAT + DATABASE.replace("/etc/penstock/secrets/db/ca.crt", file)

    assert keys_by_secret(site_from(text).fleet) == {"db": ["password"]}


@pytest.mark.parametrize(
    ("named", "instead", "at"),
    [
        ("name: db", "name: Not A Name", ("store", "passwordFrom", "secretKeyRef", "name")),
        ("env: ADMIN_TOKEN", "env: ADMIN TOKEN", ("adminTokenFrom", "env")),
        ("env: ADMIN_TOKEN", "env: HOME", ("adminTokenFrom", "env")),
        ("env: ADMIN_TOKEN", "env: PENSTOCK_STATE_DIR", ("adminTokenFrom", "env")),
    ],
)
def test_names_of_the_token_and_the_password_are_checked_at_their_places(
    named: str, instead: str, at: tuple[str, ...]
) -> None:
    findings = findings_of(CHAT + DATABASE.replace(named, instead))

    assert [finding.at for finding in findings] == [("spec", "gateway", *at)]


def test_a_key_in_clear_text_is_refused_at_its_place_without_being_printed() -> None:
    findings = findings_of(_tenant("{name: laptop, value: very-secret-key}"))

    assert [finding.at for finding in findings] == [("spec", "gateway", "tenants", 0, "keys", 0, "value")]
    assert "key: laptop" in (findings[0].hint or "")
    assert "very-secret-key" not in repr(findings)


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("{valueFrom: {secretKeyRef: {name: Not A Name, key: k}}}", "name"),
        ("{valueFrom: {secretKeyRef: {name: s, key: ../../etc/passwd}}}", "key"),
        ("{valueFrom: {secretKeyRef: {name: s, key: ..}}}", "key"),
        ("{valueFrom: {secretKeyRef: {name: s, key: .}}}", "key"),
        ("{valueFrom: {env: 'A KEY'}}", "env"),
    ],
)
def test_names_that_the_api_server_would_not_take_are_refused(key: str, field: str) -> None:
    assert [finding.at[-1] for finding in findings_of(_tenant(key))] == [field]
