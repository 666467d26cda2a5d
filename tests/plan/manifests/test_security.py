"""The restricted pod security standard, word for word."""

from __future__ import annotations

from penstock.plan.manifests import plain
from penstock.plan.manifests.security import USER, container_security, pod_security


def test_a_pod_runs_as_somebody_who_is_not_root_and_whom_the_node_can_check() -> None:
    found = plain(pod_security())
    assert found["runAsNonRoot"] is True
    assert found["runAsUser"] == found["runAsGroup"] == found["fsGroup"] == USER > 0
    assert found["seccompProfile"] == {"type": "RuntimeDefault"}


def test_a_container_gains_nothing_and_writes_nowhere() -> None:
    assert container_security() == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
