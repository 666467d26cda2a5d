"""Kubeconfig files for the fake API server: JSON, which every reader of kubeconfig takes as YAML."""

from __future__ import annotations

import json

__all__ = ["kubeconfig_text"]


def kubeconfig_text(url: str, namespace: str, token: str, name: str = "fake") -> str:
    """One cluster, one user, one context. Without a token the user has no credentials."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {"token": token} if token else {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    return json.dumps(config, indent=2) + "\n"
