"""A whole values file of the production stack: the real one, and what the chart can say besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import UsageError
from penstock.plan.imports import import_values, is_values_file
from penstock.plan.imports.values import leaves
from penstock.plan.manifests import plain
from penstock.spec.document import parse_document
from plan.imports.stacks import LEAST, loaded, outcome, read

REAL = Path(__file__).resolve().parents[4] / "shared" / "reference" / "production-stack-values.yaml"


def body(imported: Any) -> dict[str, Any]:
    found: dict[str, Any] = plain(imported.body)["spec"]
    return found


@pytest.mark.skipif(not REAL.exists(), reason="the guide's values file is not here")
@pytest.mark.parametrize("is_fixing", [False, True])
def test_every_value_of_the_guides_file_is_accounted_for(is_fixing: bool) -> None:
    document = parse_document(REAL.read_text(encoding="utf-8"), "values.yaml")

    imported = import_values(document.value, name="s0", is_fixing=is_fixing)

    noted = {note.at for note in imported.notes}
    ends = {leaf: [leaf[:end] for end in range(1, len(leaf) + 1)] for leaf in leaves(document.value)}
    assert [leaf for leaf, places in ends.items() if not noted.intersection(places)] == []
    assert len(loaded(imported).spec.models) == 8


def test_a_fleet_without_keys_says_that_anybody_may_call() -> None:
    imported = read()

    assert body(imported)["gateway"]["auth"] == {"anonymous": True}
    assert "whoever reaches the gateway may call" in imported.text


def test_a_key_in_a_secret_is_a_tenants() -> None:
    imported = read(engines={"vllmApiKey": {"secretName": "keys", "secretKey": "A"}})

    key = body(imported)["gateway"]["tenants"][0]["keys"][0]
    assert key["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": "A"}


def test_a_key_in_the_file_is_never_copied() -> None:
    imported = read(engines={"vllmApiKey": "sk-abcdefgh"})

    assert "sk-abcdefgh" not in imported.text + repr(imported.notes)
    assert loaded(imported).spec.gateway.tenants[0].keys[0].value_from is not None
    assert outcome(imported, "vllmApiKey") == ["left out"]


def test_a_token_in_a_secret_is_for_whatever_downloads() -> None:
    imported = read({"hf_token": {"secretName": "hub", "secretKey": "token"}})

    assert body(imported)["kubernetes"]["huggingFaceToken"] == {"name": "hub", "key": "token"}
    assert outcome(imported, "hf_token") == ["carried"]


def test_adapters_stand_under_their_model() -> None:
    source = {"type": "huggingface", "repository": "org/lora"}
    adapters = [{"name": "legal", "baseModel": "chat", "adapterSource": source}, {"name": "b", "baseModel": "nobody"}]
    imported = read({"enableLoRA": True}, loraAdapters=adapters)

    assert body(imported)["models"][0]["adapters"] == [{"name": "legal", "source": "org/lora"}]
    assert outcome(imported, "loraAdapters[1]") == ["left out"]


def test_nodes_runtime_and_taints_are_those_of_the_gpu() -> None:
    imported = read(engines={"runtimeClassName": "nvidia", "tolerations": [{"key": "gpu", "operator": "Exists"}]})

    assert body(imported)["hardware"]["classes"] == [
        {"gpu": "H100", "runtimeClass": "nvidia", "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    ]


def test_monitors_bring_monitoring() -> None:
    imported = read(engines={"serviceMonitor": {"enabled": True, "interval": "30s"}})

    assert loaded(imported).spec.monitoring is not None


def test_shared_storage_is_shared() -> None:
    imported = read(sharedPvcStorage={"enabled": True, "storageClass": "efs", "size": "1Ti"})

    assert body(imported)["storage"] == {"mode": "shared", "storageClass": "efs"}


def test_a_model_that_is_not_enabled_is_left_out() -> None:
    both = [{**LEAST, "enabled": False, "name": "old"}, LEAST]
    imported = import_values({"servingEngineSpec": {"modelSpec": both}}, name="x")

    assert [model["name"] for model in body(imported)["models"]] == ["chat"]


@pytest.mark.parametrize("value", [{"image": "nginx"}, [], None, "text"])
def test_another_file_is_told(value: Any) -> None:
    assert not is_values_file(value)
    with pytest.raises(UsageError, match="no values file of the vLLM production stack"):
        import_values(value, name="x")


def test_a_file_without_models_is_told() -> None:
    with pytest.raises(UsageError, match="names no model"):
        import_values({"servingEngineSpec": {}}, name="x")


@pytest.mark.parametrize(("name", "meant"), [("values-Prod.1", "values-prod-1"), ("___", "imported")])
def test_a_fleet_is_named_as_kubernetes_takes_it(name: str, meant: str) -> None:
    imported = import_values({"servingEngineSpec": {"modelSpec": [LEAST]}}, name=name)

    assert imported.body["metadata"]["name"] == meant
