"""One model of a vLLM production-stack values file as a model of a fleet. Pure.

The chart's own behaviour is what is carried: what it makes of a value counts, not what the value seems to say. Source
of the fields: the chart's `helm/values.yaml` and templates, 2026.
"""

from __future__ import annotations

from typing import Any

from penstock.facts import MIG_PROFILES, VLLM_VERSION, flag_trouble
from penstock.facts.flags import version_key
from penstock.plan.imports.engine_args import read_flags
from penstock.plan.imports.values import Values
from penstock.plan.manifests.manifest import Because

__all__ = ["model_of"]

_OWN_IMAGE = "vllm/vllm-openai"
_DTYPES = ("bfloat16", "float16", "float32")
_QUANTIZATIONS = ("fp8", "awq", "gptq", "mxfp4")
_MADE_HERE = "Penstock makes its own, sized from the plan"
_LEFT = {
    "annotations": "Penstock writes the Deployment's annotations",
    "podAnnotations": "Penstock writes the pods' annotations",
    "serviceAccountName": "engines need no access to the cluster's API: they run without a token",
    "priorityClassName": "say `scheduling.priority`: serving or batch",
    "limitCPU": "no CPU limit is set: it would throttle the engine's scheduler while the GPU waits",
    "pvcMatchLabels": "name the volume with `storage.claim`",
    "pvcLabels": _MADE_HERE,
    "pvcAnnotations": _MADE_HERE,
    "extraVolumes": "pods have the volumes that the model needs",
    "extraVolumeMounts": "pods have the volumes that the model needs",
    "initContainer": "`penstock models pull` downloads and verifies the model",
    "lmcacheConfig": "KV offloading is not carried over: say it in `engine.args`",
    "affinity": "say `scheduling.nodeSelector`, or describe the nodes in `hardware.classes`",
    "nodeName": "a replica tied to one node is gone with it: say `scheduling.nodeSelector`",
    "tolerationsPolicy": "a model's tolerations are added to those of its GPU's class",
    "raySpec": "a replica that spans nodes is a LeaderWorkerSet, from `hardware.count` and `gpusPerNode`",
    "chatTemplate": "put the template into the model's folder, or name it in `engine.args`",
    "envFromSecret": "Secrets are named one by one: `kubernetes.huggingFaceToken`",
    "requestGPUMem": "sharing by HAMi is not supported: say `hardware.mig` or `timeSlices`",
    "requestGPUMemPercentage": "sharing by HAMi is not supported: say `hardware.mig` or `timeSlices`",
    "requestGPUCores": "sharing by HAMi is not supported: say `hardware.mig` or `timeSlices`",
    "limitGPUMem": "sharing by HAMi is not supported: say `hardware.mig` or `timeSlices`",
    "limitGPUMemPercentage": "sharing by HAMi is not supported: say `hardware.mig` or `timeSlices`",
    "limitGPUCores": "sharing by HAMi is not supported: say `hardware.mig` or `timeSlices`",
    "imagePullSecret": "say `kubernetes.imagePullSecrets`",
}
_UNKNOWN = "neither the chart nor Penstock has such a value"


def model_of(values: Values, gpu: str) -> dict[str, Any]:
    """The model as a mapping of the fleet file. `gpu`: what the nodes have."""
    model: dict[str, Any] = {}
    name = values.text("name", "`name`") or "model"
    source = values.text("modelURL", "`source`; clients go on calling the model by it, as an alias")
    model["name"] = name
    if source is not None:
        model["source"] = source
        if source != name:
            model["aliases"] = [Because(source, "The chart's engines serve the model by this name.")]
    replicas = values.whole("replicaCount", "`replicas`")
    if replicas not in (None, 1):
        model["replicas"] = replicas
    flags = _flags(values)
    model |= {"hardware": _hardware(values, flags, gpu)}
    model |= {"engine": _engine(values)}
    model |= _fields(flags, model)
    if flags:
        model["engine"]["args"] = flags
    for part, found in (
        ("resources", _resources(values)),
        ("storage", _storage(values)),
        ("scheduling", _scheduling(values)),
        ("autoscaling", _autoscaling(values)),
    ):
        if found:
            model[part] = found
    values.take("enabled")
    values.take("hf_token")  # noted with the others of the fleet
    values.leave_rest(_LEFT, _UNKNOWN)
    return {key: value for key, value in model.items() if value not in ({}, None)}


def _flags(values: Values) -> dict[str, Any]:
    """Everything that the chart tells the engine, as flags; what an engine of today refuses is gone."""
    config = values.part("vllmConfig")
    flags: dict[str, Any] = {}
    named = {
        "maxModelLen": "max-model-len",
        "dtype": "dtype",
        "tensorParallelSize": "tensor-parallel-size",
        "maxNumSeqs": "max-num-seqs",
        "maxLoras": "max-loras",
        "gpuMemoryUtilization": "gpu-memory-utilization",
        "runner": "runner",
        "convert": "convert",
    }
    for field, flag in named.items():
        value = config.carry(field, f"the engine's --{flag}")
        if value is not None:
            flags[flag] = value
    if "v0" in config:
        config.leave("v0", "vLLM's V0 engine is gone")
    _caching(config, flags)
    words = config.take("extraArgs")
    given, strays = read_flags(words if isinstance(words, list) else [words] if words is not None else [])
    at = (*config.at, "extraArgs")
    for stray in strays:
        values.ledger.note(at, "left out", f"{stray!r} is no flag, nor the value of one")
    for flag, value in given.items():
        trouble = flag_trouble(f"--{flag}", VLLM_VERSION)
        if trouble is not None:
            values.ledger.note(at, "changed", f"--{flag} is left out: {trouble}")
        else:
            values.ledger.note(at, "carried", f"the engine's --{flag}")
            flags[flag] = value
    if values.take("enableLoRA") and "enable-lora" not in flags:
        flags["enable-lora"] = True
        values.ledger.note((*values.at, "enableLoRA"), "carried", "the engine's --enable-lora")
    return flags


def _caching(config: Values, flags: dict[str, Any]) -> None:
    """Both are on by default today; the chart turns even an unset prefix caching off."""
    for field, flag in (
        ("enablePrefixCaching", "enable-prefix-caching"),
        ("enableChunkedPrefill", "enable-chunked-prefill"),
    ):
        value = config.take(field)
        if value is None:
            continue
        at = (*config.at, field)
        if value is True:
            config.ledger.note(at, "changed", f"--{flag} is left out: it is on by default")
        elif not config.ledger.mend(at, f"--no-{flag} costs throughput: it is left to the engine, which has it on"):
            flags[flag] = False


def _hardware(values: Values, flags: dict[str, Any], gpu: str) -> dict[str, Any]:
    hardware: dict[str, Any] = {"gpu": gpu}
    kind = values.take("requestGPUType")
    if kind is not None:
        at = (*values.at, "requestGPUType")
        profile = str(kind).rpartition("mig-")[2] if "mig-" in str(kind) else ""
        found = next((entry for entry in MIG_PROFILES if entry.name == profile), None)
        if found is not None:
            hardware |= {"gpu": found.gpu, "mig": profile}
            values.ledger.note(at, "carried", f"`hardware.mig` of a {found.gpu}")
        elif str(kind) == "nvidia.com/gpu":
            values.ledger.note(at, "carried", "the default resource")
        else:
            values.ledger.note(at, "left out", "say it as `resource` in `hardware.classes`")
    count = values.whole("requestGPU", "`hardware.count`")
    if count is not None:
        hardware["count"] = count
    tensor = flags.pop("tensor-parallel-size", None)
    pipeline = flags.pop("pipeline-parallel-size", None)
    if pipeline not in (None, 1, "1"):
        hardware["pipelineParallel"] = int(str(pipeline))
    product = (count or 1) if tensor is None else int(str(tensor)) * hardware.get("pipelineParallel", 1)
    if tensor is not None and product != (count or 1):
        at = (*values.at, "vllmConfig", "tensorParallelSize")
        message = (
            f"the engine would use {product} of the {count or 1} GPUs it asks for: `hardware.count` is what it uses"
        )
        if values.ledger.mend(at, message):
            hardware["count"] = Because(product, f"The engine uses {product}; {count or 1} were asked for.")
        else:
            hardware["tensorParallel"] = int(str(tensor))
    return hardware


def _engine(values: Values) -> dict[str, Any]:
    engine: dict[str, Any] = {}
    repository, tag = values.carry("repository", "with its tag: `engine.image` or `engine.version`"), values.take("tag")
    if repository is not None or tag is not None:
        engine |= _image(values, str(repository or _OWN_IMAGE), str(tag or "latest"))
    env = values.take("env")
    kept: dict[str, str] = {}
    for place, entry in enumerate(env if isinstance(env, list) else []):
        at = (*values.at, "env", place)
        if isinstance(entry, dict) and "value" in entry and "name" in entry and not _is_secret(str(entry["name"])):
            kept[str(entry["name"])] = str(entry["value"])
            values.ledger.note(at, "carried", "`engine.env`")
        else:
            values.ledger.note(at, "left out", "secrets are not written into a fleet: name them where they are used")
    if kept:
        engine["env"] = kept
    return engine


def _is_secret(name: str) -> bool:
    return any(word in name.upper() for word in ("TOKEN", "SECRET", "PASSWORD", "API_KEY", "ACCESS_KEY"))


def _image(values: Values, repository: str, tag: str) -> dict[str, Any]:
    at = (*values.at, "tag")
    if repository != _OWN_IMAGE:
        values.ledger.note(at, "carried", "`engine.image`")
        if tag == "latest":
            values.ledger.note(at, "changed", "`latest` of somebody else's image: pin it by digest, nobody else can")
        return {"image": f"{repository}:{tag}"}
    version = tag.removeprefix("v")
    if not version[:1].isdigit():
        message = f"{tag!r} is another engine every week: the image is pinned to vLLM {VLLM_VERSION}"
        return {} if values.ledger.mend(at, message) else {"image": f"{repository}:{tag}"}
    if version_key(version)[:2] < _oldest():
        message = f"vLLM {version} is more than two releases old, and not what flags and sizes are checked for"
        if values.ledger.mend(at, f"{message}: the image is that of {VLLM_VERSION}"):
            return {}
    values.ledger.note(at, "carried", "`engine.version`")
    return {"version": version}


def _oldest() -> tuple[int, ...]:
    major, minor = version_key(VLLM_VERSION)[:2]
    return (int(major), int(minor) - 2)


def _fields(flags: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Flags that are fields of ours are taken out of the flags."""
    fields: dict[str, Any] = {}
    length = flags.pop("max-model-len", None)
    if length is not None:
        text = str(length)
        fields["contextLength"] = int(text) if text.isdigit() else length
    if flags.get("dtype") in _DTYPES:
        fields["dtype"] = flags.pop("dtype")
    elif flags.get("dtype") in ("auto", "half"):
        fields |= {"dtype": "float16"} if flags.pop("dtype") == "half" else {}
    if flags.get("quantization") in _QUANTIZATIONS:
        fields["quantization"] = flags.pop("quantization")
    if flags.get("kv-cache-dtype") == "fp8":
        fields["kvCacheDtype"] = flags.pop("kv-cache-dtype")
    seqs = flags.pop("max-num-seqs", None)
    if seqs is not None:
        fields["concurrency"] = int(str(seqs))
    revision = flags.pop("revision", None)
    if revision is not None:
        fields["revision"] = str(revision)
    if flags.pop("trust-remote-code", None):
        fields["trustRemoteCode"] = True
    served = flags.pop("served-model-name", None)
    if served is not None:
        names = served if isinstance(served, list) else [str(served)]
        model["aliases"] = [name for name in dict.fromkeys(names) if name != model["name"]]
    for name, value in flags.items():
        flags[name] = _plain(value)
    return fields


def _plain(value: Any) -> Any:
    """Numbers of a command line as numbers: they read better in a file."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            try:
                return float(value)
            except ValueError:
                return value
    return value


def _resources(values: Values) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cpu = values.text("requestCPU", "`resources.cpu`")
    if cpu is not None:
        found["cpu"] = cpu
    memory = values.text("requestMemory", "`resources.memory`, request and limit")
    limit = values.take("limitMemory")
    if limit is not None:
        at = (*values.at, "limitMemory")
        values.ledger.note(at, "changed", "`resources.memory`: with a lower request, the pod is evicted first")
        memory = str(limit)
    if memory is not None:
        found["memory"] = memory
    shm = values.text("shmSize", "`resources.shm`")
    if shm is not None:
        found["shm"] = shm
    block = values.part("resources")
    requests = block.part("requests")
    for field in ("cpu", "memory"):
        value = requests.text(field, f"`resources.{field}`")
        if value is not None:
            found[field] = value
    return found


def _storage(values: Values) -> dict[str, Any]:
    found: dict[str, Any] = {}
    size = values.text("pvcStorage", "`storage.size`")
    modes = values.take("pvcAccessMode")
    if size is None and modes is None:
        return found
    at = (*values.at, "pvcAccessMode")
    held = [str(mode) for mode in modes] if isinstance(modes, list) else ["ReadWriteOnce"]
    if "ReadWriteMany" in held:
        found["mode"] = "shared"
        values.ledger.note(at, "carried", "`storage.mode: shared`: one volume that every replica reads")
    elif "ReadOnlyMany" in held:
        found["mode"] = "readOnlyMany"
        message = (
            "`storage.mode: readOnlyMany`: a Job fills a volume, since nothing can be written into a read-only one"
        )
        values.ledger.note(at, "changed", message)
    else:
        reason = "A ReadWriteOnce volume is read on one node only: each replica pulls into one of its own."
        found["mode"] = Because("node", reason)
        outcome = "carried" if modes is not None else "changed"
        values.ledger.note(at, outcome, f"`storage.mode: node`. {reason}")  # type: ignore[arg-type]
    if size is not None:
        found["size"] = size
    storage_class = values.text("storageClass", "`storage.storageClass`")
    if storage_class is not None:
        found["storageClass"] = storage_class
    return found


def _scheduling(values: Values) -> dict[str, Any]:
    found: dict[str, Any] = {}
    tolerations = values.carry("tolerations", "`scheduling.tolerations`")
    if isinstance(tolerations, list):
        known = ("key", "operator", "value", "effect")
        found["tolerations"] = [
            {key: entry[key] for key in known if entry.get(key) is not None}
            for entry in tolerations
            if isinstance(entry, dict) and entry.get("key")
        ]
    terms = values.take("nodeSelectorTerms")
    if isinstance(terms, list):
        selector = _selector(terms)
        at = (*values.at, "nodeSelectorTerms")
        if selector:
            found["nodeSelector"] = selector
            values.ledger.note(at, "carried", "`scheduling.nodeSelector`")
        else:
            values.ledger.note(
                at, "left out", "only one term of `In` with one value each can be said as a node selector"
            )
    return found


def _selector(terms: list[Any]) -> dict[str, str]:
    """Labels that mean the same as the terms; none where there is no such."""
    if len(terms) != 1 or not isinstance(terms[0], dict):
        return {}
    rows = terms[0].get("matchExpressions") or []
    if not all(row.get("operator") == "In" and len(row.get("values") or []) == 1 for row in rows):
        return {}
    return {str(row["key"]): str(row["values"][0]) for row in rows}


def _autoscaling(values: Values) -> dict[str, Any]:
    keda = values.part("keda")
    if not keda.carry("enabled", "`autoscaling`"):
        for name in keda.value:
            keda.take(name)
        return {}
    found: dict[str, Any] = {
        "minReplicas": keda.whole("minReplicaCount", "`autoscaling.minReplicas`") or 0,
        "maxReplicas": keda.whole("maxReplicaCount", "`autoscaling.maxReplicas`") or 1,
    }
    reason = (
        "the query is Penstock's own, one series that survives an outage; the target is what the plan gives a replica"
    )
    keda.change("triggers", f"`autoscaling.targetConcurrency` is left to the plan: {reason}")
    for name in (
        "pollingInterval",
        "cooldownPeriod",
        "idleReplicaCount",
        "initialCooldownPeriod",
        "fallback",
        "advanced",
    ):
        if name in keda:
            keda.change(
                name, "Penstock sets its own: up at once, down after ten minutes, kept where the metrics are away"
            )
    return found
