"""Secrets: referred to, never rendered."""

from __future__ import annotations

from penstock.plan.manifests.secrets import needed_secrets, render_secrets, secret_notes
from plan.manifests.sites import CHAT, DATABASE, TENANT, found, site_from

TOKEN = "  kubernetes: {huggingFaceToken: {name: hf, key: token}}\n"
STORE = TOKEN.replace("}}", "}, externalSecrets: {store: vault, prefix: a/, refreshS: 5400}}")


def test_every_secret_that_is_read_is_known() -> None:
    assert needed_secrets(site_from(CHAT + TENANT + TOKEN).fleet) == {"hf": ["token"], "keys": ["acme"]}


def test_secrets_of_the_store_and_the_admin_token_are_known_and_fetched_too() -> None:
    site = site_from(CHAT + DATABASE + STORE)

    needed = {"db": ["ca.crt", "password"], "demo-env": ["ADMIN_TOKEN"], "hf": ["token"]}
    assert needed_secrets(site.fleet) == needed
    assert {m.name: [row["secretKey"] for row in m.object["spec"]["data"]] for m in render_secrets(site)} == needed


def test_without_a_store_they_must_be_there_and_that_is_said() -> None:
    site = site_from(CHAT + TENANT + TOKEN, namespace="llm")

    assert list(render_secrets(site)) == []
    notes = list(secret_notes(site))
    assert any("llm/keys" in note and "acme" in note for note in notes)
    assert any("llm/hf" in note for note in notes)


def test_with_a_store_each_is_fetched_from_it() -> None:
    spec = found([m for m in render_secrets(site_from(CHAT + TENANT + STORE)) if m.name == "hf"], "ExternalSecret")[
        "spec"
    ]

    assert spec["refreshInterval"] == "1h30m0s"
    assert spec["data"] == [{"secretKey": "token", "remoteRef": {"key": "a/hf", "property": "token"}}]
    assert spec["secretStoreRef"] == {"name": "vault", "kind": "ClusterSecretStore"}
