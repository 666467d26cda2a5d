"""Where files are kept: who writes, who reads, and what changes its name."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.plan.manifests.engine import render_engines
from penstock.plan.manifests.manifest import Wave
from penstock.plan.manifests.volumes import files_of
from plan.manifests.engines import manifests_of, objects_of, one, site_from, with_source

GIB = 1 << 30


def model(storage: str, fields: str = "") -> str:
    return f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}, storage: {storage}{fields}}}"


def kinds(*models: str) -> list[str]:
    return sorted(body["kind"] for body in objects_of(*models) if body["kind"] in ("Job", "PersistentVolumeClaim"))


def pod(*models: str) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects_of(*models), "Deployment")["spec"]["template"]["spec"]
    return spec


def volume(spec: dict[str, Any], name: str = "models") -> dict[str, Any] | None:
    return next((v for v in spec["volumes"] if v["name"] == name), None)


def test_shared_is_one_claim_that_many_read_and_a_job_fills() -> None:
    objects = objects_of(model("{mode: shared, storageClass: efs}"))
    claim = one(objects, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["storageClassName"] == "efs"
    (job_volume,) = [v for v in one(objects, "Job")["spec"]["template"]["spec"]["volumes"] if v["name"] == "models"]
    assert job_volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    found = volume(one(objects, "Deployment")["spec"]["template"]["spec"])
    assert found is not None
    assert found["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"], "readOnly": True}


def test_a_shared_volume_has_room_for_the_next_revision() -> None:
    claim = one(objects_of(model("{}")), "PersistentVolumeClaim")
    needs = site_from(model("{}")).needs["m"]
    size = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert size * GIB >= 2 * needs.source_bytes


def test_a_stated_size_is_taken_in_canonical_form() -> None:
    claim = one(objects_of(model("{size: 102400Mi}")), "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "100Gi"


def test_read_only_many_is_loaded_once_and_read_from_a_clone_that_comes_after_the_job() -> None:
    manifests = manifests_of(model("{mode: readOnlyMany, storageClass: fast, readerClass: fast-ro}"))
    loaded, clone = (m for m in manifests if m.kind == "PersistentVolumeClaim")
    (job,) = (m for m in manifests if m.kind == "Job")
    assert loaded.object["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert clone.object["spec"]["accessModes"] == ["ReadOnlyMany"]
    assert clone.object["spec"]["dataSource"] == {"kind": "PersistentVolumeClaim", "name": loaded.name}
    assert (loaded.object["spec"]["storageClassName"], clone.object["spec"]["storageClassName"]) == ("fast", "fast-ro")
    assert loaded.wave == Wave.STORE < job.wave < clone.wave == Wave.CLONE
    found = volume(pod(model("{mode: readOnlyMany}")))
    assert found is not None
    assert found["persistentVolumeClaim"]["claimName"] == clone.name


def test_a_clone_of_other_content_has_another_name_and_a_shared_claim_keeps_its_own() -> None:
    def names(storage: str, revision: str) -> set[str]:
        objects = objects_of(model(storage, f", revision: '{revision}'"))
        return {body["metadata"]["name"] for body in objects if body["kind"] == "PersistentVolumeClaim"}

    assert not names("{mode: readOnlyMany}", "a" * 40) & names("{mode: readOnlyMany}", "b" * 40)
    assert names("{mode: shared}", "a" * 40) == names("{mode: shared}", "b" * 40)


def test_node_is_a_volume_of_the_pods_own_that_it_fills_before_it_starts() -> None:
    assert kinds(model("{mode: node, storageClass: nvme}")) == []
    spec = pod(model("{mode: node, storageClass: nvme}"))
    found = volume(spec)
    assert found is not None
    claim = found["ephemeral"]["volumeClaimTemplate"]
    assert claim["spec"]["storageClassName"] == "nvme"
    assert claim["metadata"]["labels"]["penstock.dev/fleet"] == "f"
    (pull,) = spec["initContainers"]
    assert pull["args"][:2] == ["models", "pull"]
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "models"]
    assert mount["readOnly"] is True
    assert "readOnly" not in next(m for m in pull["volumeMounts"] if m["name"] == "models")


def test_an_image_is_mounted_and_nothing_is_pulled() -> None:
    spec = pod(model("{mode: image, image: 'ghcr.io/acme/qwen3-8b:v1'}"))
    found = volume(spec)
    assert found is not None
    assert found["image"] == {"reference": "ghcr.io/acme/qwen3-8b:v1", "pullPolicy": "IfNotPresent"}
    assert "initContainers" not in spec
    engine = spec["containers"][0]
    (mount,) = [m for m in engine["volumeMounts"] if m["name"] == "models"]
    assert engine["args"][0] == mount["mountPath"]


def test_without_storage_the_engine_downloads_onto_its_nodes_disk_and_asks_for_room() -> None:
    spec = pod(model("{mode: none}"))
    assert kinds(model("{mode: none}")) == []
    assert volume(spec) is None
    resources = spec["containers"][0]["resources"]
    needs = site_from(model("{mode: none}")).needs["m"]
    cache = next(v for v in spec["volumes"] if v["name"] == "cache")
    assert int(cache["emptyDir"]["sizeLimit"].removesuffix("Gi")) * GIB > needs.source_bytes
    assert resources["requests"]["ephemeral-storage"] == resources["limits"]["ephemeral-storage"]


def test_a_claim_that_exists_gets_a_job_only_and_several_models_may_name_it() -> None:
    second = "{name: n, source: Qwen/Qwen3-0.6B, hardware: {gpu: H100}, storage: {claim: ours}}"
    assert kinds(model("{claim: ours}"), second) == ["Job", "Job"]


def test_a_folder_of_a_claim_is_served_as_it_is_and_nothing_is_pulled() -> None:
    site = with_source(site_from(model("{claim: ours}")), "/models/qwen")
    files = files_of(site, site.needs["m"])
    assert (files.model, files.markers, files.pulled) == ("/models/qwen", (), ())
    assert files.volumes[0]["persistentVolumeClaim"]["claimName"] == "ours"
    assert "Job" not in {manifest.kind for manifest in render_engines(site)}


def test_a_folder_without_a_claim_is_in_the_image() -> None:
    site = with_source(site_from(model("{}")), "/opt/qwen")
    files = files_of(site, site.needs["m"])
    assert (files.model, files.volumes, files.downloads) == ("/opt/qwen", (), False)
    assert not {"Job", "PersistentVolumeClaim"} & {manifest.kind for manifest in render_engines(site)}


def test_a_simulated_engine_has_no_files() -> None:
    assert kinds(model("{mode: shared}", ", engine: {type: simulated}")) == []


@pytest.mark.parametrize("storage", ["{}", "{mode: readOnlyMany}", "{claim: ours}"])
def test_an_engine_waits_for_the_marker_that_a_pull_writes_last(storage: str) -> None:
    (wait,) = pod(model(storage))["initContainers"]
    assert "/models/Qwen--Qwen3-8B/current/.penstock-model.json" in wait["command"][2]
    assert wait["image"] == pod(model(storage))["containers"][0]["image"], "no other image has to be pulled"
