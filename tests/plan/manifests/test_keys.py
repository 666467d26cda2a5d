"""Keys in a cluster: as files, as variables, and never in clear text."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.keys import keys_by_secret, keys_from_env
from plan.manifests.sites import CHAT, findings_of, site_from


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
