"""Fleet objects for the tests of this folder, as an API server gives them."""

from __future__ import annotations

from typing import Any

from penstock.spec.crd import fleet_resource
from penstock.spec.loader import load_fleet

TEXT = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: f}
spec:
  gateway: {auth: {anonymous: true}}
  models:
    - {name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}
"""


def fleet_object(text: str = TEXT, **metadata: Any) -> dict[str, Any]:
    """A Fleet as read from the cluster."""
    made = fleet_resource(load_fleet(text, "f"), "ai")
    given = {"uid": "u-1", "generation": 1, "resourceVersion": "7", "creationTimestamp": "2026-11-21T00:00:00Z"}
    return {**made, "metadata": {**made["metadata"], **given, **metadata}}
