"""An engine's command line and environment: what the plan needs, the file's word over it, no secret in either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from penstock.cli.main import app
from penstock.facts import GONE_FLAGS
from penstock.facts.flag_names import is_serve_flag
from penstock.plan.manifests.command import command_of
from penstock.plan.manifests.engine import render_engines
from penstock.plan.manifests.manifest import plain
from penstock.plan.manifests.volumes import files_of
from plan.manifests import sites
from plan.manifests.engines import objects_of, one, site_from, site_of_text
from plan.manifests.test_engine import FLEETS
from plan.manifests.validation import pod_templates

SHA = "0123456789abcdef0123456789abcdef01234567"


def container(
    fields: str = "", more: str = "", source: str = "Qwen/Qwen3-8B", gpu: str = "gpu: H100"
) -> dict[str, Any]:
    model = f"{{name: m, source: {source}, hardware: {{{gpu}}}{fields}}}"
    found: dict[str, Any] = one(objects_of(model, more=more), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return found


def notes(fields: str) -> tuple[str, ...]:
    site = site_from(f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}")
    return command_of(site, site.needs["m"], files_of(site, site.needs["m"])).notes


def env(found: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in found["env"]}


def test_vllm_serves_the_models_folder_under_its_name_on_the_ports_of_the_service() -> None:
    found = container()
    assert found["command"] == ["vllm", "serve"]
    assert found["args"][:4] == [
        "/models/Qwen--Qwen3-8B/current",
        "--served-model-name=m",
        "--host=0.0.0.0",
        "--port=8000",
    ]


def test_flags_of_the_plan_stand_and_the_files_stand_over_them() -> None:
    planned = container(", contextLength: 8192", gpu="gpu: H100, count: 2")["args"]
    assert {"--max-model-len=8192", "--tensor-parallel-size=2"} <= set(planned)
    said = container(", engine: {args: {gpu-memory-utilization: 0.8, enforce-eager: true}}")["args"]
    assert {"--gpu-memory-utilization=0.8", "--enforce-eager"} <= set(said)


def test_the_parallel_sizes_are_those_that_the_pod_asks_gpus_for_whatever_the_file_leaves_out() -> None:
    args = container(", engine: {args: {tensor-parallel-size: null}}", gpu="gpu: H100, count: 4")["args"]
    assert "--tensor-parallel-size=4" in args


@pytest.mark.parametrize(
    ("fields", "is_ahead"),
    [
        ("", True),
        (", storage: {mode: readOnlyMany}", True),
        (", storage: {mode: node}", False),
        (", storage: {mode: none}", False),
        (", engine: {version: 0.31.0}", False),
        (", engine: {args: {load-format: runai_streamer}}", False),
        (", engine: {args: {safetensors-load-strategy: null}}", False),
    ],
)
def test_files_on_a_network_volume_are_read_ahead_unless_the_file_says_how(fields: str, is_ahead: bool) -> None:
    assert ("--safetensors-load-strategy=prefetch" in container(fields)["args"]) == is_ahead


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_every_flag_is_one_that_vllm_has(path: Path) -> None:
    for manifest in render_engines(site_of_text(path.read_text(encoding="utf-8"))):
        for _, template in pod_templates(manifest.object):
            (engine, *_) = template["spec"]["containers"]
            if engine.get("command") == ["vllm", "serve"]:
                flags = [word.partition("=")[0].removeprefix("--") for word in engine["args"] if word.startswith("--")]
                assert [flag for flag in flags if not is_serve_flag(flag)] == []


def test_each_flag_stands_there_once() -> None:
    args = container(", contextLength: 8192, engine: {args: {max_num_seqs: 8}}")["args"]
    names = [word.partition("=")[0] for word in args if word.startswith("--")]
    assert len(names) == len(set(names))


def test_the_engine_logs_no_requests_and_keeps_its_metrics() -> None:
    args = container(", engine: {args: {disable-log-stats: true}}")["args"]
    assert not any("log-requests" in word or "disable-log-stats" in word for word in args)
    assert any("metrics off" in note for note in notes(", engine: {args: {disable-log-stats: true}}"))


@pytest.mark.parametrize("flag", [gone.name for gone in GONE_FLAGS if gone.gone_in == "0.32.0"])
def test_a_flag_that_the_version_no_longer_has_is_left_out_with_a_note(flag: str) -> None:
    fields = f", engine: {{args: {{{flag.removeprefix('--')}: true}}}}"
    assert flag not in container(fields)["args"]
    assert any(flag in note for note in notes(fields))


def test_a_key_is_never_written_into_the_object() -> None:
    fields = ", engine: {args: {api-key: abcsecret}, env: {HF_TOKEN: hf_secret, HUGGING_FACE_HUB_TOKEN: hf_secret}}"
    assert "secret" not in json.dumps(container(fields))
    assert len(notes(fields)) == 3
    assert not any("hf_secret" in note or "abcsecret" in note for note in notes(fields))


def test_files_on_a_volume_need_no_hub_and_no_token() -> None:
    found = container(more="kubernetes: {huggingFaceToken: {name: hub, key: token}}")
    assert env(found)["HF_HUB_OFFLINE"] == "1"
    assert "HF_TOKEN" not in env(found)


def test_an_engine_that_downloads_gets_the_token_and_the_revision() -> None:
    found = container(
        f", revision: '{SHA}', trustRemoteCode: true, storage: {{mode: none}}",
        more="kubernetes: {huggingFaceToken: {name: hub, key: token}}",
    )
    (token,) = [entry for entry in found["env"] if entry["name"] == "HF_TOKEN"]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert "HF_HUB_OFFLINE" not in env(found)
    assert found["args"][0] == "Qwen/Qwen3-8B"
    assert {f"--revision={SHA}", f"--code-revision={SHA}", "--trust-remote-code"} <= set(found["args"])


def test_the_models_code_is_run_only_where_the_file_says_so() -> None:
    assert "--trust-remote-code" not in container()["args"]
    assert "--trust-remote-code" in container(f", revision: '{SHA}', trustRemoteCode: true")["args"]


def test_everything_that_an_engine_writes_is_where_it_may_write() -> None:
    found = container()
    places = [m["mountPath"] for m in found["volumeMounts"] if not m.get("readOnly")]
    written = [value for name, value in env(found).items() if name.endswith(("HOME", "ROOT", "DIR"))]
    assert len(written) >= 6
    assert all(any(value.startswith(place) for place in places) for value in written)
    assert found["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_files_variables_stand_over_ours_and_none_stands_twice() -> None:
    found = container(", engine: {env: {HOME: /cache/me, VLLM_LOGGING_LEVEL: DEBUG}}")
    assert env(found)["HOME"] == "/cache/me"
    assert env(found)["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert len(found["env"]) == len(env(found))


def test_adapters_are_models_of_their_own_with_room_in_a_batch() -> None:
    adapters = ", adapters: [{name: a, source: x/a}, {name: b, source: s3://x/b, revision: v1}]"
    args = container(adapters)["args"]
    assert "--enable-lora" in args
    assert "--max-loras=2" in args
    place = args.index("--lora-modules")
    assert args[place + 1 : place + 3] == ["a=/models/x--a/current", "b=/models/x--b/v1"]


def buckets(found: dict[str, Any]) -> list[float]:
    (word,) = [word for word in found["args"] if word.startswith("--custom-histogram-buckets=")]
    values: list[float] = json.loads(word.partition("=")[2])["time_to_first_token"]
    return values


def test_an_objective_between_two_buckets_gets_one_of_its_own() -> None:
    found = buckets(container(", objectives: {ttftMs: 1200}"))
    assert 1.2 in found
    assert found == sorted(set(found))
    assert {0.5, 1.0, 2.5} <= set(found)


def test_an_objective_on_a_bucket_needs_none() -> None:
    assert not any("histogram" in word for word in container(", objectives: {ttftMs: 500}")["args"])


def test_a_simulated_engine_is_our_image_with_what_it_understands() -> None:
    args = {"startup-delay-s": 5, "calibration": "mine.json", "enforce-eager": True, "max-model-len": 4096}
    found = container(
        f", engine: {{type: simulated, speed: 10, args: {json.dumps(args)}}}, adapters: [{{name: a, source: x/a}}]"
    )
    assert "command" not in found
    assert found["image"].startswith("ghcr.io/penstock-dev/penstock:")
    assert found["args"][:4] == ["engine", "--model=m", "--source=Qwen/Qwen3-8B", "--gpu=H100"]
    assert {"--served-model-name=m", "--served-model-name=a", "--speed=10", "--max-model-len=4096"} <= set(
        found["args"]
    )
    assert {"--host=0.0.0.0", "--port=8000", "--startup-delay-s=5"} <= set(found["args"])
    assert not any("calibration" in word or "eager" in word for word in found["args"])


def test_the_command_line_takes_what_a_simulated_engines_pod_says() -> None:
    fields = (
        ", task: generate, engine: {type: simulated, speed: 2.5, args: {seed: -1}}, adapters: [{name: a, source: x/a}]"
    )
    args = container(fields)["args"]
    context = get_command(app).commands[args[0]].make_context("engine", list(args[1:]))  # type: ignore[attr-defined]
    assert context.params["served_model_name"] == ["m", "a"]
    assert (context.params["seed"], context.params["speed"], context.params["port"]) == (-1, 2.5, 8000)


def test_the_slice_of_a_simulated_gpu_is_told_by_the_whole_ones_name() -> None:
    found = container(", engine: {type: simulated}", source="Qwen/Qwen3-0.6B", gpu="gpu: H100, mig: 1g.10gb")
    assert "--gpu=H100" in found["args"]


def test_the_reasons_of_our_flags_are_not_given_for_the_files() -> None:
    site = site_from("{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, engine: {args: {max-num-seqs: 8}}}")
    command = command_of(site, site.needs["m"], files_of(site, site.needs["m"]))
    assert "--max-num-seqs=8" in [word for word in command.args if isinstance(word, str)]
    assert "--max-num-seqs=8" in plain(command.args)


def test_engines_publish_what_their_caches_hold_where_the_file_names_a_port() -> None:
    def told(gateway: str, chat: str = sites.CHAT) -> list[str]:
        site = sites.site_from(f"{chat}  gateway: {{auth: {{anonymous: true}}{gateway}}}\n")
        args = plain(command_of(site, site.needs["chat"], files_of(site, site.needs["chat"])).args)
        return [word for word in args if "kv-events" in word]

    assert told(", routing: {kvEventsPort: 5557}") == [
        '--kv-events-config={"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:5557",'
        '"replay_endpoint":"tcp://*:5558"}'
    ]
    assert told("") == []
    ranks = sites.CHAT.replace("replicas: 2,", "replicas: 2, engine: {args: {data-parallel-size: 2}},")
    assert told(", routing: {kvEventsPort: 5557}", ranks) == []
