"""Volumes and the weights in them."""

from __future__ import annotations

import pytest

from operate.doctor.faults import STORAGE, Fault, assert_found_alone, codes, examined


@pytest.mark.parametrize("fault", STORAGE, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def claim(modes: str, storage: str, more: str = "") -> str:
    head = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec:\n "
    return head + f" accessModes: [{modes}]\n  storageClassName: {storage}\n{more}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (claim("ReadWriteMany", "filestore"), []),
        (claim("ReadWriteOnce", "gp3"), []),
        (claim("ReadWriteMany", "gp3"), ["PS017"]),
        (claim("ReadOnlyMany", "gp3"), ["PS017"]),
        (claim("ReadOnlyMany", "premium-rwo", "  dataSource: {kind: VolumeSnapshot, name: s}\n"), []),
        (claim("ReadOnlyMany", "filestore"), ["PS016"]),
        (claim("ReadOnlyMany", "filestore", "  volumeName: pv\n"), []),
        (
            claim("ReadWriteMany", "fast") + "---\napiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name:"
            " fast}\nprovisioner: ebs.csi.aws.com\n",
            ["PS017"],
        ),
    ],
)
def test_modes_are_judged_with_their_class(text: str, expected: list[str]) -> None:
    assert codes(examined(text, "a.yaml")) == expected


def test_a_small_model_has_one_file() -> None:
    assert codes(examined("test -f /models/Qwen3-0.6B/model.safetensors || exit 1\n", "a.sh")) == []
    assert codes(examined("test -f /models/Qwen3-32B/model.safetensors || exit 1\n", "a.sh")) == ["PS018"]
