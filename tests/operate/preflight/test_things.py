"""What must be there before pods start."""

from __future__ import annotations

from typing import Any

import pytest

from operate.preflight.clusters import asked, bundle, deployment, site, storage_class
from penstock.operate.preflight import Status, secrets_of
from plan.manifests.sites import CHAT, DATABASE, bundle_of


def claim(mode: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models", "namespace": "ai"},
        "spec": {"accessModes": [mode], **spec},
    }


ENV = [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}]
READER = deployment(containers=[{"name": "a", "env": ENV}], imagePullSecrets=[{"name": "registry"}])


def test_every_secret_that_pods_read_is_looked_for() -> None:
    projected = {"projected": {"sources": [{"secret": {"name": "keys", "items": [{"key": "a", "path": "a"}]}}]}}
    volumes = [{"name": "v", "secret": {"secretName": "cert"}}, {"name": "w", **projected}]
    optional = [{"name": "O", "valueFrom": {"secretKeyRef": {"name": "maybe", "key": "x", "optional": True}}}]
    reader = deployment(containers=[{"env": [*ENV, *optional]}], volumes=volumes)

    assert secrets_of(bundle(reader, READER)) == {
        "cert": frozenset(),
        "hf": frozenset({"token"}),
        "keys": frozenset({"a"}),
        "registry": frozenset(),
    }


def test_secrets_of_the_gateways_store_and_its_admin_token_are_looked_for() -> None:
    wanted = secrets_of(bundle_of(CHAT + DATABASE))

    assert wanted == {"db": frozenset({"ca.crt", "password"}), "demo-env": frozenset({"ADMIN_TOKEN"})}


def test_a_secret_that_the_fleet_makes_is_not_missed() -> None:
    external = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "hf-from-vault"},
        "spec": {"target": {"name": "hf"}},
    }

    assert "hf" not in secrets_of(bundle(READER, external))


@pytest.mark.parametrize(
    ("held", "status", "words"),
    [
        ({"hf": None}, Status.FAILED, "there is no Secret hf"),
        ({"hf": frozenset({"HF_TOKEN"})}, Status.FAILED, "no key token; it has HF_TOKEN"),
        ({"hf": frozenset({"token"})}, Status.OK, "is there"),
    ],
)
def test_a_secret_is_there_with_its_key(held: Any, status: Status, words: str) -> None:
    found = asked("secret", READER, secrets={**held, "registry": frozenset()})[0]

    assert (found.about, found.status) == ("hf", status)
    assert words in found.message


def test_how_to_make_a_secret_is_said() -> None:
    found = asked("secret", READER, secrets={"hf": None, "registry": frozenset()})[0]

    assert found.hint == "kubectl -n ai create secret generic hf --from-literal=token=…"


@pytest.mark.parametrize(
    ("mode", "provisioner", "status"),
    [
        ("ReadWriteMany", "efs.csi.aws.com", Status.OK),
        ("ReadWriteMany", "ebs.csi.aws.com", Status.FAILED),
        ("ReadWriteOnce", "ebs.csi.aws.com", Status.OK),
    ],
)
def test_a_volume_for_many_nodes_is_of_a_class_that_many_can_write(mode: str, provisioner: str, status: Status) -> None:
    classes = (storage_class("c", provisioner),)

    (found,) = asked("storage-class", claim(mode, storageClassName="c"), storage_classes=classes)

    assert found.status is status


def test_a_volume_without_a_class_needs_a_default() -> None:
    classes = (storage_class("c", "efs.csi.aws.com"),)

    (found,) = asked("storage-class", claim("ReadWriteMany"), storage_classes=classes)

    assert found.status is Status.FAILED
    assert "name one of c" in found.hint


def test_a_class_that_is_not_there_is_told_with_those_that_are() -> None:
    (found,) = asked("storage-class", claim("ReadWriteMany", storageClassName="nfs"))

    assert (found.status, found.hint) == (Status.FAILED, "there are efs")


@pytest.mark.parametrize(("names", "status"), [((), Status.FAILED), (("weights",), Status.OK)])
def test_a_volume_that_is_named_is_there(names: tuple[str, ...], status: Status) -> None:
    fleet = site("hardware: {gpu: H100}, storage: {claim: weights}")
    claims = tuple({"metadata": {"name": name}} for name in names)

    (found,) = asked("volume", fleet=fleet, claims=claims)

    assert (found.about, found.status) == ("weights", status)


def test_classes_that_pods_name_are_there_or_made() -> None:
    made = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "made"}}
    first = deployment(priorityClassName="made", runtimeClassName="nvidia")
    second = deployment(priorityClassName="theirs")

    found = asked("class", first, second, made, runtime_classes=({"metadata": {"name": "nvidia"}},))

    assert {check.about: check.status for check in found} == {"nvidia": Status.OK, "theirs": Status.FAILED}
