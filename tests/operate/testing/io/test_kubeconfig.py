"""Kubeconfig files."""

from __future__ import annotations

import json

from penstock.operate.testing.io.kubeconfig import kubeconfig_text
from penstock.spec.document import parse_document


def test_a_kubeconfig_names_one_cluster_user_and_context() -> None:
    text = kubeconfig_text("http://127.0.0.1:1", "serving", "secret")

    config = json.loads(text)
    assert config["clusters"][0]["cluster"] == {"server": "http://127.0.0.1:1"}
    assert config["users"][0]["user"] == {"token": "secret"}
    assert config["contexts"][0]["context"]["namespace"] == "serving"
    assert config["current-context"] == config["contexts"][0]["name"]
    assert parse_document(text, "config").value == config
    assert json.loads(kubeconfig_text("u", "n", ""))["users"][0]["user"] == {}
