"""One model of a production-stack values file."""

from __future__ import annotations

from typing import Any

import pytest

from plan.imports.stacks import loaded, model_in, outcome, read


def test_clients_go_on_calling_a_model_by_its_hub_name() -> None:
    model = model_in(read())

    assert (model["name"], model["source"], model["aliases"]) == ("chat", "Qwen/Qwen3-8B", ["Qwen/Qwen3-8B"])
    assert loaded(read()).spec.models[0].names == ("chat", "Qwen/Qwen3-8B")


def test_a_name_of_its_own_stands_for_the_hub_name() -> None:
    imported = read({"vllmConfig": {"extraArgs": ["--served-model-name", "chat", "gpt"]}})

    assert model_in(imported)["aliases"] == ["gpt"]


@pytest.mark.parametrize(
    ("config", "field", "meant"),
    [
        ({"maxModelLen": 16384}, "contextLength", 16384),
        ({"maxModelLen": "16k"}, "contextLength", "16k"),
        ({"dtype": "bfloat16"}, "dtype", "bfloat16"),
        ({"dtype": "half"}, "dtype", "float16"),
        ({"maxNumSeqs": 32}, "concurrency", 32),
        ({"extraArgs": ["--quantization", "fp8"]}, "quantization", "fp8"),
        ({"extraArgs": ["--kv-cache-dtype=fp8"]}, "kvCacheDtype", "fp8"),
        ({"extraArgs": ["--revision", "1a2b", "--trust-remote-code"]}, "trustRemoteCode", True),
    ],
)
def test_what_a_fleet_has_a_field_for_goes_there(config: dict[str, Any], field: str, meant: object) -> None:
    model = model_in(read({"vllmConfig": config}))

    assert model[field] == meant
    assert "args" not in model.get("engine", {})


def test_other_flags_stay_flags() -> None:
    imported = read({"vllmConfig": {"gpuMemoryUtilization": 0.9, "extraArgs": ["--seed", "7"]}})

    assert model_in(imported)["engine"]["args"] == {"gpu-memory-utilization": 0.9, "seed": 7}
    assert outcome(imported, "extraArgs") == ["carried"]


def test_a_flag_that_an_engine_of_today_refuses_is_gone() -> None:
    imported = read({"vllmConfig": {"extraArgs": ["--disable-log-requests"]}})

    assert "disable-log-requests" not in imported.text
    assert outcome(imported, "extraArgs") == ["changed"]


def test_caching_that_is_off_stays_off_until_it_is_mended() -> None:
    model = {"vllmConfig": {"enablePrefixCaching": False, "enableChunkedPrefill": True}}

    assert model_in(read(model))["engine"]["args"] == {"enable-prefix-caching": False}
    assert "args" not in model_in(read(model, is_fixing=True))["engine"]
    assert outcome(read(model), "enablePrefixCaching") == ["proposed"]
    assert outcome(read(model), "enableChunkedPrefill") == ["changed"]


@pytest.mark.parametrize(
    ("tag", "kept", "mended"),
    [
        ("latest", {"image": "vllm/vllm-openai:latest"}, None),
        ("v0.10.1.1", {"version": "0.10.1.1"}, None),
        ("v0.31.0", {"version": "0.31.0"}, {"version": "0.31.0"}),
    ],
)
def test_an_image_is_pinned_and_not_old_once_mended(tag: str, kept: object, mended: object) -> None:
    assert model_in(read({"tag": tag}))["engine"] == kept
    assert model_in(read({"tag": tag}, is_fixing=True)).get("engine") == mended


def test_an_image_of_somebody_else_is_carried() -> None:
    imported = read({"repository": "lmcache/vllm-openai", "tag": "v1"})

    assert model_in(imported)["engine"] == {"image": "lmcache/vllm-openai:v1"}


def test_parallel_sizes_that_use_all_gpus_need_not_be_said() -> None:
    model = model_in(read({"requestGPU": 4, "vllmConfig": {"tensorParallelSize": 4}}))

    assert model["hardware"] == {"gpu": "H100", "count": 4}


def test_gpus_that_the_engine_leaves_idle_are_given_back_once_mended() -> None:
    model = {"requestGPU": 4, "vllmConfig": {"tensorParallelSize": 2}}

    assert model_in(read(model))["hardware"] == {"gpu": "H100", "count": 4, "tensorParallel": 2}
    assert model_in(read(model, is_fixing=True))["hardware"] == {"gpu": "H100", "count": 2}


def test_a_slice_is_of_the_gpu_that_has_such() -> None:
    model = model_in(read({"requestGPU": 1, "requestGPUType": "nvidia.com/mig-4g.71gb"}))

    assert model["hardware"] == {"gpu": "H200", "mig": "4g.71gb", "count": 1}


@pytest.mark.parametrize(
    ("modes", "mode"),
    [(["ReadWriteMany"], "shared"), (["ReadOnlyMany"], "readOnlyMany"), (["ReadWriteOnce"], "node"), (None, "node")],
)
def test_a_volume_is_kept_as_many_can_read_it(modes: list[str] | None, mode: str) -> None:
    imported = read({"pvcStorage": "100Gi", "pvcAccessMode": modes, "storageClass": "efs"})

    assert model_in(imported)["storage"] == {"mode": mode, "size": "100Gi", "storageClass": "efs"}


def test_memory_is_what_the_limit_was() -> None:
    model = model_in(read({"requestCPU": 6, "requestMemory": "16Gi", "limitMemory": "32Gi", "shmSize": "20Gi"}))

    assert model["resources"] == {"cpu": "6", "memory": "32Gi", "shm": "20Gi"}


def test_secrets_in_the_environment_are_never_copied() -> None:
    env = [{"name": "HF_TOKEN", "value": "hf_abcdef"}, {"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}]
    imported = read({"env": env, "hf_token": "hf_abcdef"})

    assert model_in(imported)["engine"]["env"] == {"A": "1"}
    assert "hf_abcdef" not in imported.text + repr(imported.notes)


def test_nodes_are_selected_by_what_a_selector_can_say() -> None:
    one = [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100"]}]}]
    many = [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h100", "h200"]}]}]

    assert model_in(read({"nodeSelectorTerms": one}))["scheduling"] == {"nodeSelector": {"gpu": "h100"}}
    assert outcome(read({"nodeSelectorTerms": many}), "nodeSelectorTerms") == ["left out"]


def test_scaling_keeps_its_bounds_and_gets_a_query_that_works() -> None:
    keda = {"enabled": True, "minReplicaCount": 0, "maxReplicaCount": 5, "triggers": {"type": "prometheus"}}
    imported = read({"keda": keda})

    assert model_in(imported)["autoscaling"] == {"minReplicas": 0, "maxReplicas": 5}
    assert outcome(imported, "keda.triggers") == ["changed"]
    assert loaded(imported).spec.models[0].autoscaling is not None


def test_scaling_that_is_off_is_nothing() -> None:
    assert "autoscaling" not in model_in(read({"keda": {"enabled": False, "maxReplicaCount": 5}}))


def test_what_the_chart_does_not_know_is_said() -> None:
    assert outcome(read({"replicas": 3}), "modelSpec[0].replicas") == ["left out"]
