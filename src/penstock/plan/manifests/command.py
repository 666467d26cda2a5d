"""The command line and the environment of an engine in a pod, each part with its reason. Pure.

Guarantees: no secret stands in either; flags that the stated version does not know are left out with a note; the
engine's metrics stay on; a simulated engine gets what it understands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from penstock.facts.flags import version_key
from penstock.plan.engine_command import EVENTS_FLAG, events_config, joined_words, merged_flags, simulated_flags
from penstock.plan.manifests.fetch import TOKEN_VARIABLES, token_env
from penstock.plan.manifests.gpu_sharing import gpu_share, pods_of_replica
from penstock.plan.manifests.manifest import Because
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.probes import ending_of
from penstock.plan.manifests.site import ENGINE_PORT, Site
from penstock.plan.manifests.sources import folder_of, is_path
from penstock.plan.manifests.volumes import Files

__all__ = ["CACHE", "SECRET_VARIABLES", "Command", "command_of"]

CACHE = "/cache"
"""What the engine compiles and keeps: the one place beside /tmp that it can write."""
_OURS = {
    "host": "the pod's address is the cluster's to give",
    "port": "the Service and the probes name it",
    "uds": "the gateway reaches engines by address",
    "served-model-name": "the model's `name` is what clients send",
    "model": "`source` names the model",
    "revision": "`revision` names it",
    "shutdown-timeout": "`engine.stopTimeoutS` sets it, and the pod's grace with it",
    "api-key": "it would stand readable in the object; network policies keep others away from engines",
    "disable-log-stats": "it turns the metrics off, which routing, scaling and alerts are made from",
    "nnodes": "it follows from `hardware` and `gpusPerNode`",
    "node-rank": "it follows from `hardware` and `gpusPerNode`",
    "master-addr": "it follows from `hardware` and `gpusPerNode`",
    "headless": "it follows from `hardware` and `gpusPerNode`",
}
"""Flags that a cluster sets, and why a file's value is not taken."""
SECRET_VARIABLES = (*TOKEN_VARIABLES, "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "VLLM_API_KEY", "WANDB_API_KEY")
"""Variables whose value is a secret: never taken from a file, which is kept in the cluster for all to read."""
_HERE_ONLY = ("calibration",)
"""Flags of the simulated engine that name files of the machine the file was written for."""
_LORAS_MAX = 4
_TTFT_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    *(160.0, 640.0, 2560.0),
)
"""Of `vllm:time_to_first_token_seconds`, from `/metrics` of vLLM 0.32."""
_SEEN_IN = "0.32.0"
"""First version that was seen with the flags that `_of_pods` and `_add_bucket` set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How the engine's container is started."""

    command: list[str]
    args: list[Any]
    env: list[Any]
    notes: tuple[str, ...] = ()
    """What of the file was not carried over, in words."""


def command_of(site: Site, needs: ModelNeeds, files: Files) -> Command:
    """The engine's command line and environment."""
    return _simulated(site, needs) if needs.is_simulated else _vllm(site, needs, files)


def _vllm(site: Site, needs: ModelNeeds, files: Files) -> Command:
    spec, ending = needs.spec, ending_of(site, needs)
    defaults = {**needs.flags, **_of_pods(site, needs, files)}
    merged = merged_flags(spec, defaults, owned=_OURS, version=spec.engine.version)
    flags = {**merged.flags, **_parallel(needs)}
    reasons = _reasons(needs)
    _add_share(site, needs, flags, reasons)
    if files.downloads and (revision := folder_of(spec.source_or_name, spec.revision).revision) is not None:
        flags["revision"] = [revision]
        if spec.trust_remote_code:
            flags["code-revision"] = [revision]
    _add_adapters(flags, reasons, files)
    _add_bucket(needs, flags, reasons)
    if ending.stop_s:
        flags["shutdown-timeout"] = [str(ending.stop_s)]
        reasons["shutdown-timeout"] = ending.stop_reason
    args: list[Any] = [files.model, f"--served-model-name={spec.name}", "--host=0.0.0.0", f"--port={ENGINE_PORT}"]
    env, notes = _environment(site, needs, files)
    return Command(
        command=["vllm", "serve"], args=args + _explained(flags, reasons), env=env, notes=(*merged.notes, *notes)
    )


def _of_pods(site: Site, needs: ModelNeeds, files: Files) -> dict[str, str]:
    """What is better where an engine is a pod; the file's word stands over it."""
    if not _is_at_least(needs, _SEEN_IN):
        return {}
    found = {"disable-access-log-for-endpoints": "/health,/metrics"}
    events_port = site.fleet.spec.gateway.routing.kv_events_port
    if events_port is not None and needs.data == 1:  # the gateway follows one cache of an address
        found[EVENTS_FLAG] = events_config(events_port)
    reads_network = bool(files.markers) and "load-format" not in {n.replace("_", "-") for n in needs.spec.engine.args}
    if reads_network and pods_of_replica(site, needs) == 1:
        found["safetensors-load-strategy"] = "prefetch"
    return found


def _parallel(needs: ModelNeeds) -> dict[str, list[str]]:
    """Sizes above one, whatever the file left out: the pod asks for GPUs by them."""
    sizes = {"tensor": needs.tensor, "pipeline": needs.pipeline, "data": needs.data}
    return {f"{name}-parallel-size": [str(size)] for name, size in sizes.items() if size > 1}


def _explained(flags: dict[str, list[str]], reasons: dict[str, str]) -> list[Any]:
    told: set[str] = set()
    words: list[Any] = []
    for name, word in joined_words(flags):
        words.append(Because(word, reasons[name]) if name in reasons and name not in told else word)
        told.add(name)
    return words


def _reasons(needs: ModelNeeds) -> dict[str, str]:
    """Why our own flags have the values they have; none for the file's."""
    own = {name.replace("_", "-") for name in needs.spec.engine.args}
    per_request = f"the KV cache of a replica holds {needs.kv_tokens:,} tokens"
    reasons = {
        "max-model-len": f"Longest prompt plus answer; {per_request}.",
        "max-num-seqs": f"More wait: beyond it answers would come slower than promised, or not fit; {per_request}.",
        "gpu-memory-utilization": "What is left over is for graphs and what others hold on the GPU.",
        "tensor-parallel-size": f"{needs.tensor} GPUs share each layer; the pod must ask for as many.",
        "disable-access-log-for-endpoints": "Probes and scrapes would be most of the log.",
        "safetensors-load-strategy": "Reads the files ahead and in order, which the engine does by itself on NFS "
        "only: page by page is slow on any volume over a network.",
        "quantization": "As the plan sized the weights.",
        EVENTS_FLAG: "Tells the gateway what the prefix cache holds (`routing.kvEventsPort`).",
        "kv-cache-dtype": "Half the bytes of a token, twice the tokens.",
    }
    return {name: reason for name, reason in reasons.items() if name not in own}


def _add_share(site: Site, needs: ModelNeeds, flags: dict[str, list[str]], reasons: dict[str, str]) -> None:
    """Where pods take turns on a GPU they share its memory too."""
    share = gpu_share(site, needs)
    if share is None or "gpu-memory-utilization" in {name.replace("_", "-") for name in needs.spec.engine.args}:
        return
    flags["gpu-memory-utilization"] = [f"{share:g}"]
    slices = site.gpu_class(needs).time_slices
    reasons["gpu-memory-utilization"] = f"{slices} pods take turns on a GPU and share its memory."


def _add_adapters(flags: dict[str, list[str]], reasons: dict[str, str], files: Files) -> None:
    if not files.adapters:
        return
    flags["enable-lora"] = []
    flags["lora-modules"] = [f"{name}={place}" for name, place in files.adapters]
    reasons["lora-modules"] = "Each adapter is a model name of its own."
    count = len(files.adapters)
    if "max-loras" not in flags and count > 1:
        flags["max-loras"] = [str(min(count, _LORAS_MAX))]
        reasons["max-loras"] = "Adapters that one batch may mix; with fewer, requests of different ones take turns."
    if "max-cpu-loras" not in flags and count > _LORAS_MAX:
        flags["max-cpu-loras"] = [str(count)]
        reasons["max-cpu-loras"] = "All stay in host memory, so that a change of adapter reads no disk."


def _add_bucket(needs: ModelNeeds, flags: dict[str, list[str]], reasons: dict[str, str]) -> None:
    """A bucket at the objective, so that the share of requests that met it is counted, not interpolated."""
    objective = needs.spec.objectives.ttft_ms
    if objective is None or objective / 1000 in _TTFT_BUCKETS or not _is_at_least(needs, _SEEN_IN):
        return
    if "custom-histogram-buckets" in flags:
        return
    buckets = sorted({*_TTFT_BUCKETS, objective / 1000})
    flags["custom-histogram-buckets"] = [json.dumps({"time_to_first_token": buckets}, separators=(",", ":"))]
    reasons["custom-histogram-buckets"] = (
        f"One more bound, at {objective / 1000:g} s: the objective is then counted exactly, not guessed between two."
    )


def _is_at_least(needs: ModelNeeds, version: str) -> bool:
    return version_key(needs.spec.engine.version) >= version_key(version)


def _environment(site: Site, needs: ModelNeeds, files: Files) -> tuple[list[Any], list[str]]:
    """Ours, the file's over it; and what of the file was not taken."""
    hub = {} if files.downloads else {"HF_HUB_OFFLINE": "1"}
    ours = {
        **_CACHES,
        **hub,
        "VLLM_NO_USAGE_STATS": "1",
    }
    reasons = {
        "HOME": "Nothing else can be written, and /cache lasts as long as the pod: a restarted engine finds what it "
        "compiled. A new pod compiles anew, which its start has time for.",
        "USER": "The user has no name in the image, and PyTorch asks for one.",
        "HF_HUB_OFFLINE": "The files are on a volume: a name that is missing there fails at once, and nothing leaves.",
    }
    given, notes = _given(needs)
    merged = {**ours, **given}
    reasons = {name: reason for name, reason in reasons.items() if name not in given}
    env: list[Any] = []
    for name, value in merged.items():
        entry = {"name": name, "value": value}
        env.append(Because(entry, reasons[name]) if name in reasons else entry)
    return env + (token_env(site) if files.downloads else []), notes


_CACHES = {
    "HOME": CACHE,
    "USER": "penstock",
    "HF_HOME": f"{CACHE}/huggingface",
    "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
    "VLLM_CONFIG_ROOT": f"{CACHE}/vllm-config",
    "TORCHINDUCTOR_CACHE_DIR": f"{CACHE}/inductor",
    "TRITON_CACHE_DIR": f"{CACHE}/triton",
    "XDG_CACHE_HOME": f"{CACHE}/xdg",
}
"""Everything that an engine writes by itself."""


def _given(needs: ModelNeeds) -> tuple[dict[str, str], list[str]]:
    """The file's variables, secrets apart."""
    given = {name: value for name, value in sorted(needs.spec.engine.env.items()) if name not in SECRET_VARIABLES}
    secrets = sorted(set(needs.spec.engine.env) & set(SECRET_VARIABLES))
    notes = [f"{name} is not taken from engine.env: it would stand readable in the object" for name in secrets]
    return given, notes


def _simulated(site: Site, needs: ModelNeeds) -> Command:
    spec, ending = needs.spec, ending_of(site, needs)
    merged = simulated_flags(merged_flags(spec, needs.flags, owned=_OURS))
    flags = {name: values for name, values in merged.flags.items() if name not in _HERE_ONLY}
    flags["shutdown-timeout"] = [str(ending.stop_s)]
    gpu = spec.hardware.gpu if spec.hardware is not None else needs.gpu.name
    names = [spec.name, *(adapter.name for adapter in spec.adapters)] if spec.adapters else []
    args: list[Any] = ["engine", f"--model={spec.name}", f"--source={spec.source_or_name}", f"--gpu={gpu}"]
    args += [f"--served-model-name={name}" for name in names]
    args += [f"--task={spec.task}"] if spec.task != "auto" else []
    args += ["--host=0.0.0.0", f"--port={ENGINE_PORT}", f"--speed={spec.engine.speed:g}"]
    args += _explained(flags, {"shutdown-timeout": ending.stop_reason})
    given, notes = _given(needs)
    env = [{"name": name, "value": value} for name, value in {"HOME": "/tmp", **given}.items()]  # noqa: S108
    dropped = [f"the engine flag {n} names a file of this machine: dropped" for n in _HERE_ONLY if n in merged.flags]
    if is_path(spec.source_or_name):
        dropped.append(f"{spec.source_or_name} is not in the image: the simulated engine knows the model by that name")
    return Command(command=[], args=args, env=env, notes=(*merged.notes, *notes, *dropped))
