"""Kustomizations: kubectl builds from them what was rendered."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.plan.manifests import Bundle
from penstock.plan.manifests.formats import HEADER, kustomize_files
from penstock.plan.manifests.formats.kustomize import images_of
from penstock.plan.manifests.render import render
from penstock.spec import ClusterSpec
from plan.manifests.sites import CHAT, TENANT, bundle_of, site_from

KUBECTL = shutil.which("kubectl")
TWO = CHAT + "    - {name: embed, source: Qwen/Qwen3-Embedding-0.6B, hardware: {gpu: L4}}\n" + TENANT
WATCHED = TWO + "  monitoring: {}\n"


def _sorted(objects: list[Any]) -> list[str]:
    return sorted(json.dumps(body, sort_keys=True) for body in objects)


def _built(folder: Path, files: dict[str, str], overlay: str) -> list[Any]:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed: nothing builds the kustomization")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    where = folder / "overlays" / overlay
    made = subprocess.run([KUBECTL, "kustomize", str(where)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    return list(yaml.safe_load_all(made.stdout))


def test_kubectl_builds_what_was_rendered(tmp_path: Path) -> None:
    bundle = bundle_of(WATCHED, namespace="llm")
    built = _built(tmp_path, kustomize_files({"default": bundle}), "default")

    assert _sorted(built) == _sorted(bundle.objects)


def test_each_cluster_is_the_base_and_its_own(tmp_path: Path) -> None:
    eu, us = ClusterSpec(name="eu", models=["chat"]), ClusterSpec(name="us")
    bundles: dict[str, Bundle] = {c.name: render(site_from(TWO, cluster=c)) for c in (eu, us)}
    files = kustomize_files(bundles)

    for name, bundle in bundles.items():
        assert _sorted(_built(tmp_path, files, name)) == _sorted(bundle.objects)
    assert any(path.startswith("overlays/us/demo-embed/") for path in files)
    assert any(path.startswith("base/demo-chat/") for path in files)


def test_files_say_that_they_are_ours() -> None:
    assert all(text.startswith(f"# {HEADER}\n") for text in kustomize_files({"default": bundle_of()}).values())


def test_images_are_named_once_with_what_holds_already() -> None:
    digest = f"sha256:{'0' * 64}"
    spec = CHAT.replace("replicas: 2", f"engine: {{image: 'registry:5000/a/vllm@{digest}'}}") + TENANT
    found = {entry["name"]: entry for entry in images_of(bundle_of(spec).manifests)}

    assert found["registry:5000/a/vllm"]["digest"] == digest
    assert found["ghcr.io/penstock-dev/penstock"].keys() == {"name", "newTag"}
