"""A fleet settled for one cluster: names, images, storage, the nodes of a GPU."""

from __future__ import annotations

from penstock import __version__
from penstock.facts import find_model
from penstock.plan.fleet import size_fleet
from penstock.plan.manifests import Site, needs_of, site_of
from penstock.spec import ClusterSpec
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\n"


def site(text: str, cluster: ClusterSpec | None = None, namespace: str | None = None) -> Site:
    fleet = load_fleet(HEAD + "spec:\n" + text, "f")
    plans = size_fleet(fleet, architecture_of=find_model).plans
    needs = {model.name: needs_of(model, plans[model.name]) for model in fleet.spec.models if model.name in plans}
    return site_of(fleet, text, needs, cluster=cluster, namespace=namespace)


CHAT = "  models:\n    - {name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}%s}\n"


def test_the_engine_image_is_the_models_then_the_fleets_then_vllms_own() -> None:
    plain = site(CHAT % "")
    fleets = site("  kubernetes: {engineImage: 'registry/vllm:1'}\n" + CHAT % "")
    own = site("  kubernetes: {engineImage: 'registry/vllm:1'}\n" + CHAT % ", engine: {image: 'mine:2'}")

    images = [s.engine_image(s.needs["chat"]) for s in (plain, fleets, own)]
    assert images == ["vllm/vllm-openai:v0.32.0", "registry/vllm:1", "mine:2"]
    assert plain.image.endswith(f":{__version__}")


def test_a_model_takes_from_the_fleets_storage_what_it_leaves_out() -> None:
    found = site("  storage: {storageClass: efs, mode: readOnlyMany}\n" + CHAT % ", storage: {size: 50Gi}")

    storage = found.storage(found.needs["chat"])
    assert (storage.mode, storage.storage_class, storage.size) == ("readOnlyMany", "efs", "50Gi")


def test_files_are_shared_unless_said_otherwise() -> None:
    found = site(CHAT % "")

    assert found.storage(found.needs["chat"]).mode == "shared"


def test_the_nodes_of_a_gpu_are_found_by_any_of_its_names() -> None:
    found = site("  hardware: {classes: [{gpu: H100-SXM, gpusPerNode: 4}]}\n" + CHAT % "")

    assert found.gpu_class(found.needs["chat"]).gpus_per_node == 4


def test_a_gpu_that_no_class_describes_has_plain_nodes() -> None:
    found = site("  hardware: {classes: [{gpu: L4, gpusPerNode: 1}]}\n" + CHAT % "")

    assert found.gpu_class(found.needs["chat"]).gpus_per_node == 8


def test_a_cluster_has_only_its_models_and_all_names_stay() -> None:
    text = CHAT % "" + "    - {name: embed, source: Qwen/Qwen3-Embedding-0.6B, hardware: {gpu: L4}}\n"
    everywhere, here = site(text), site(text, cluster=ClusterSpec(name="eu", models=["embed"]))

    assert list(here.needs) == ["embed"]
    assert here.names == everywhere.names


def test_the_command_lines_namespace_stands_over_the_files() -> None:
    assert site(CHAT % "").namespace == "default"
    assert site(CHAT % "", namespace="team").namespace == "team"
