"""What Kubernetes took away or never had."""

from __future__ import annotations

import pytest

from penstock.facts.kubernetes import BLOCK_CLASSES, BLOCK_DRIVERS, GONE_APIS, is_known_node_key


def test_the_old_budget_went_with_125_and_only_its_version_changes() -> None:
    gone = GONE_APIS["policy/v1beta1", "PodDisruptionBudget"]

    assert (gone.gone_in, gone.instead, gone.is_same_shape) == ("1.25", "policy/v1", True)


def test_no_removed_version_is_told_to_be_replaced_by_itself() -> None:
    assert all(version != gone.instead for (version, _), gone in GONE_APIS.items())


@pytest.mark.parametrize(
    "key", ["node.kubernetes.io/not-ready", "node.kubernetes.io/instance-type", "example.com/spot"]
)
def test_keys_that_exist_or_are_somebody_s_own_are_known(key: str) -> None:
    assert is_known_node_key(key)


@pytest.mark.parametrize("key", ["node.kubernetes.io/spot", "node.kubernetes.io/preemptible"])
def test_invented_keys_are_not(key: str) -> None:
    assert not is_known_node_key(key)


def test_the_guides_classes_are_block_storage() -> None:
    assert {"gp3", "standard", "premium-rwo"} <= set(BLOCK_CLASSES)
    assert "efs.csi.aws.com" not in BLOCK_DRIVERS
