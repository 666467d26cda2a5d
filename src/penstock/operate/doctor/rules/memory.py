"""Rules on what fits: weights and cache in GPU memory, GPUs against parallelism, host memory and /dev/shm. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from penstock.errors import UsageError
from penstock.facts import GPUS, Architecture, find_gpu
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.engines import Engine
from penstock.operate.doctor.evidence import Node
from penstock.operate.doctor.findings import Hit, Rule, Severity, Where
from penstock.operate.doctor.quantities import quantity
from penstock.operate.doctor.sizing import assumed_gpu, fits, gpu_of, known_model, memory, sized_model, utilization
from penstock.perf import Parallelism, check_parallelism, weight_bytes

__all__ = ["RULES"]

_GIB = 1 << 30
_SPARE_REQUESTS = 12
"""Requests of full length that half of the GPUs would still hold: then the other half is waste, not room."""
_LARGE_WEIGHTS = 40 * _GIB
"""A model above it does not fit a 48 GB card, so that 80 GB ones are meant where the file does not say."""
_SMALL_GPU = "L4"
"""24 GB: the smallest that people serve with, and so meant at the least for a smaller model."""
_FEW_REQUESTS = 6
"""Requests of full length on an 80 GB card below which a context is too long for serving several people."""
_LOW_SHARE = 0.7
_HIGH_SHARE = 0.97
_PROCESS_BYTES = 4 * _GIB
"""API server and engine core, and each GPU's process (as `plan.host` takes it)."""
_SHM_MIN = _GIB


def _gb(count: float) -> str:
    return f"{count / 1e9:.0f} GB"


def _engines(case: Case) -> Iterator[tuple[Engine, Architecture]]:
    """Engines whose GPUs and model's size are told."""
    for engine in case.whole_engines:
        model = sized_model(engine)
        if engine.gpus and model is not None and engine.form in ("container", "chart") and _group(engine) == 1:
            yield engine, model


def _group(engine: Engine) -> int:
    return engine.pod.group_size if engine.pod is not None else 1


def _model_where(engine: Engine) -> Where:
    return engine.model_where or engine.where


def _too_large(case: Case, *, several: bool) -> Iterator[Hit]:
    for engine, model in _engines(case):
        ranks = engine.tensor * engine.pipeline
        if (ranks > 1) != several or engine.mig:
            continue
        gpu = assumed_gpu(engine)
        is_told = gpu_of(engine) is not None
        plenty = memory(engine, model, gpu) is not None if is_told else True
        if fits(model, gpu, engine) and (plenty or not is_told or model.is_guess):
            continue
        each = weight_bytes(model, engine.tensor, pipeline_parallel=engine.pipeline)
        larger = [g.name for g in GPUS if g.memory_gib > gpu.memory_gib and fits(model, g, engine)]
        name = gpu.name if is_told else "an 80 GB GPU"
        only = f"; only {' or '.join(larger)} would do" if larger and not is_told else ""
        many = f", {_gb(each)} on each of {ranks} GPUs" if several else ""
        yield Hit(
            where=_model_where(engine),
            message=f"{engine.title}: {engine.model} has {_gb(weight_bytes(model))} of weights{many}, which"
            f" {name} with {gpu.memory_gib:.0f} GiB does not hold beside a cache{only}",
            evidence=f"{engine.model} on {engine.gpus} GPU(s), tensor parallel {engine.tensor}",
            fix=_cure(engine, model, name_larger=bool(larger) and not is_told),
            severity=Severity.WARNING if not is_told and "H200" in larger else None,
        )


def _cure(engine: Engine, model: Architecture, *, name_larger: bool) -> str:
    """Sizes that would do on 80 GB cards."""
    sizes = [n for n in (1, 2, 4, 8, 16) if not model.heads % n]
    roomy = next((n for n in sizes if _has_room(engine, model, n)), None)
    small = replace(model, dtype="fp8") if model.dtype in ("bfloat16", "float16", "float32") else None
    halved = next((n for n in sizes if small is not None and _has_room(engine, small, n)), None)
    ways = [f"{roomy} GPUs of 80 GB with tensor parallel {roomy}"] if roomy else []
    ways += [f"an FP8 version on {halved}"] if halved and halved != roomy else []
    ways += ["name the larger GPU by a node selector"] if name_larger else []
    return ", or ".join(ways)


def _has_room(engine: Engine, model: Architecture, tensor: int) -> bool:
    """Whether weights take less than two thirds of each 80 GB card."""
    gpu = find_gpu("A100-80GB")
    return weight_bytes(model, tensor) < gpu.memory_bytes * utilization(engine) * 0.67


def _too_large_for_one(case: Case) -> Iterator[Hit]:
    return _too_large(case, several=False)


def _too_large_for_several(case: Case) -> Iterator[Hit]:
    return _too_large(case, several=True)


def _wasteful(case: Case) -> Iterator[Hit]:
    for engine, model in _engines(case):
        if engine.tensor < 2 or engine.mig or model.is_guess or model.task == "embed" or engine.pipeline > 1:
            continue
        gpu, is_told = assumed_gpu(engine), gpu_of(engine) is not None
        if not is_told and weight_bytes(model) < _LARGE_WEIGHTS:
            gpu = find_gpu(_SMALL_GPU)
        half = engine.tensor // 2
        plan = memory(engine, model, gpu, tensor=half)
        if plan is None or plan.concurrency < _SPARE_REQUESTS:
            continue
        name = gpu.name if is_told else f"{gpu.memory_gib:.0f} GB GPUs"
        yield Hit(
            where=engine.gpus_where or engine.where,
            message=f"{engine.title}: {engine.model} is {_gb(weight_bytes(model))}; half of its"
            f" {engine.tensor} {name} would"
            f" hold it and {plan.concurrency:.0f} requests of {plan.max_model_len:,} tokens",
            evidence=f"{engine.gpus} GPUs, tensor parallel {engine.tensor}",
            fix=f"{half} GPU{'s' if half > 1 else ''}, and more replicas where the load asks for them",
        )


def _context(case: Case) -> Iterator[Hit]:
    for engine, model in _engines(case):
        flag = engine.flags.find("max-model-len")
        gpu = gpu_of(engine)
        if model.is_guess or model.task == "embed" or not model.has_kv_cache or (flag is None and gpu is None):
            continue
        plan = memory(engine, model, gpu or assumed_gpu(engine))
        if plan is None or (flag is None and plan.concurrency >= 1):
            continue
        if plan.concurrency >= (_FEW_REQUESTS if gpu is None else 3) or engine.mig:
            continue
        each = plan.kv_bytes_per_token * plan.max_model_len / _GIB
        is_none = plan.concurrency < 1
        name = gpu.name if gpu is not None else "an 80 GB GPU (and fewer on a smaller one)"
        room = (
            "not even one such request: the engine refuses to start" if is_none else f"{plan.concurrency:.1f} of them"
        )
        yield Hit(
            where=flag.where if flag is not None else _model_where(engine),
            message=f"{engine.title}: one request of {plan.max_model_len:,} tokens takes {each:.1f} GiB of KV"
            f" cache on each GPU;"
            f" {name} holds {room}",
            evidence=flag.shown if flag is not None else engine.model,
            severity=Severity.ERROR if is_none and gpu is not None else None,
        )


def _low_share(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        flag = engine.flags.find("gpu-memory-utilization", "device-memory-utilization")
        share = engine.flags.number(flag.name[2:]) if flag is not None else None
        if flag is None or share is None or share > 1 or engine.flags.find("kv-cache-memory-bytes"):
            continue
        model = known_model(engine)
        gpu = gpu_of(engine)
        if model is not None and gpu is not None and engine.gpus and _group(engine) == 1:
            now, full = memory(engine, model, gpu), memory(engine, model, gpu, share=0.92)
            if full is not None and full.concurrency >= 1 and (now is None or now.concurrency < 1) and share < 0.9:
                yield Hit(
                    where=flag.where,
                    message=f"{engine.title}: {share:g} of {gpu.name} leaves no KV blocks for one request of"
                    f" {full.max_model_len:,} tokens; 0.92 would",
                    evidence=flag.shown,
                    fix="raise it, or leave it out (0.92)",
                    severity=Severity.ERROR,
                )
                continue
        if share < _LOW_SHARE and not engine.mig and engine.gpus != 0:
            yield Hit(
                where=flag.where,
                message=f"{engine.title} leaves {1 - share:.0%} of each GPU's memory unused",
                evidence=flag.shown,
            )


def _high_share(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        flag = engine.flags.find("gpu-memory-utilization", "device-memory-utilization")
        share = engine.flags.number(flag.name[2:]) if flag is not None else None
        if flag is not None and share is not None and share > _HIGH_SHARE:
            too_much = " (it is a share, 1 at most: the engine exits)" if share > 1 else ""
            yield Hit(
                where=flag.where,
                message=f"{engine.title} takes {share:g} of GPU memory{too_much}: CUDA's own context and graphs"
                f" need the rest",
                evidence=flag.shown,
                severity=Severity.ERROR if share > 1 else None,
            )


def _ranks(engine: Engine) -> int:
    return engine.tensor * engine.pipeline * engine.data


def _parallel(case: Case) -> Iterator[tuple[Engine, int, int]]:
    """Engines with GPUs and ranks told: GPUs of the whole group."""
    for engine in case.whole_engines:
        if engine.gpus and engine.form in ("container", "chart"):
            has_nodes = engine.flags.find("nnodes", "node-rank", "data-parallel-address")
            is_ray = engine.flags.text("distributed-executor-backend") == "ray" and _group(engine) == 1
            if has_nodes is None and not is_ray:
                yield engine, engine.gpus * _group(engine), _ranks(engine)


def _tensor_flag(engine: Engine) -> tuple[Where, str]:
    flag = engine.flags.find("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")
    return (
        (flag.where, flag.shown)
        if flag is not None
        else (engine.gpus_where or engine.where, "no --tensor-parallel-size")
    )


def _words(engine: Engine) -> str:
    sizes = [("tensor", engine.tensor), ("pipeline", engine.pipeline), ("data", engine.data)]
    told = [f"{name} {size}" for name, size in sizes if size > 1] or ["tensor 1"]
    return " × ".join(told) + " parallel"


def _more_ranks(case: Case) -> Iterator[Hit]:
    for engine, gpus, ranks in _parallel(case):
        if ranks > gpus:
            where, shown = _tensor_flag(engine)
            yield Hit(
                where=where,
                message=f"{engine.title} is {_words(engine)}, {ranks} GPUs, and gets {gpus}",
                evidence=shown,
                fix=f"ask for {ranks} GPUs, or lower the sizes to {gpus}",
            )


def _idle(case: Case) -> Iterator[Hit]:
    for engine, gpus, ranks in _parallel(case):
        if ranks < gpus:
            where, shown = _tensor_flag(engine)
            yield Hit(
                where=where,
                message=f"{engine.title} is {_words(engine)} and gets {gpus} GPUs: {gpus - ranks} of them idle",
                evidence=shown,
                fix=f"ask for {ranks}, or set --tensor-parallel-size {gpus // (engine.pipeline * engine.data)}",
            )


def _heads(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        model = known_model(engine)
        flag = engine.flags.find("tensor-parallel-size")
        if model is None or flag is None:
            continue
        try:
            check_parallelism(model, Parallelism(tensor=engine.tensor, pipeline=engine.pipeline))
        except UsageError as error:
            yield Hit(
                where=flag.where, message=f"{engine.title}: {error.message}", evidence=flag.shown, fix=error.hint or ""
            )


def _slice(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        model, gpu = sized_model(engine), gpu_of(engine)
        if not engine.mig or model is None or gpu is None:
            continue
        if not fits(model, gpu, engine, tensor=1) or (
            not model.is_guess and memory(engine, model, gpu, tensor=1) is None
        ):
            yield Hit(
                where=engine.gpus_where or engine.where,
                message=f"{engine.title}: {engine.model} has {_gb(weight_bytes(model))} of weights, and the slice"
                f" {engine.mig} holds {gpu.memory_gib:.1f} GiB",
                evidence=f"nvidia.com/mig-{engine.mig}",
                fix="a larger slice, a whole GPU, or a quantized model",
            )


def _shm_volume(engine: Engine) -> Node | None:
    """The volume that is mounted at /dev/shm."""
    if engine.container is None or engine.pod is None:
        return None
    mount = next((m for m in engine.container.mounts if m["mountPath"].text.rstrip("/") == "/dev/shm"), None)  # noqa: S108
    return engine.pod.volume(mount["name"].text) if mount is not None else None


def _no_shm(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        pod = engine.pod
        ranks = engine.tensor * engine.pipeline
        if pod is None or engine.container is None or ranks < 2 or pod.spec["hostIPC"].value is True:
            continue
        volume = _shm_volume(engine)
        if volume is None:
            yield Hit(
                where=engine.where,
                message=f"{engine.title} runs {ranks} processes on 64 MiB of /dev/shm, the container runtime's default",
                evidence=_tensor_flag(engine)[1],
            )
        elif volume["emptyDir"].value is not None and volume.at("emptyDir", "medium").text != "Memory":
            yield Hit(
                where=volume["emptyDir"].where,
                message=f"{engine.title}: /dev/shm is a folder on the node's disk, not memory",
                evidence=volume["emptyDir"].shown,
            )


def _small_shm(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        volume = _shm_volume(engine)
        node = volume.at("emptyDir", "sizeLimit") if volume is not None else None
        size = quantity(node.value) if node is not None else None
        if node is not None and size is not None and engine.tensor > 1 and size < _SHM_MIN:
            yield Hit(
                where=node.where,
                message=f"{engine.title}: {node.text} of /dev/shm for {engine.tensor} GPUs",
                evidence=node.shown,
                fix=f"sizeLimit: {1 + engine.tensor}Gi",
            )


def _limit(engine: Engine) -> tuple[float | None, Node | None]:
    if engine.container is None:
        return None, None
    node = engine.container.node.at("resources", "limits", "memory")
    return quantity(node.value), node


def _shm_over_limit(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        volume, (limit, _) = _shm_volume(engine), _limit(engine)
        node = volume.at("emptyDir", "sizeLimit") if volume is not None else None
        size = quantity(node.value) if node is not None else None
        if node is not None and size is not None and limit is not None and size > 0.5 * limit:
            yield Hit(
                where=node.where,
                message=f"{engine.title}: /dev/shm may grow to {node.text}, which counts against the memory limit"
                f" of {limit / _GIB:.0f} GiB",
                evidence=node.shown,
            )


def _unequal(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        limit, node = _limit(engine)
        if engine.container is None or node is None or limit is None or not engine.gpus:
            continue
        asked = engine.container.node.at("resources", "requests", "memory")
        request = quantity(asked.value)
        if request is not None and limit > request * 1.001:
            yield Hit(
                where=node.where,
                message=f"{engine.title} requests {asked.text} of memory and is limited to {node.text}",
                evidence=node.shown,
                fix=f"requests.memory: {node.text}",
                edits=asked.replaced(node.text),
            )


def _little_memory(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        limit, node = _limit(engine)
        if node is None or limit is None or not engine.gpus:
            continue
        volume = _shm_volume(engine)
        shm = quantity(volume.at("emptyDir", "sizeLimit").value) if volume is not None else None
        offload = (engine.flags.number("cpu-offload-gb") or 0) * _GIB * engine.gpus + (
            engine.flags.number("kv-offloading-size") or 0
        ) * _GIB
        need = _PROCESS_BYTES * (1 + engine.gpus) + offload + min(shm or 0, _GIB * (1 + engine.gpus))
        if limit < need:
            yield Hit(
                where=node.where,
                message=f"{engine.title} is limited to {node.text}; its {1 + engine.gpus} processes, /dev/shm and"
                f" offload need about {need / _GIB:.0f} GiB before the page cache",
                evidence=node.shown,
                fix=f"request and limit {need / _GIB:.0f}Gi, and the size of the weights on top for a warm restart",
            )


RULES = (
    Rule(
        id="PS019-weights-exceed-gpu",
        title="The weights do not fit the GPU",
        severity=Severity.ERROR,
        rows=(19, 52),
        consequence="Loading ends with CUDA out of memory, and the pod loops. Host memory does not help: the"
        " weights must be on the GPU.",
        fix="More GPUs with tensor parallelism, a larger GPU, or an FP8 or 4-bit version.",
        check=_too_large_for_one,
    ),
    Rule(
        id="PS021-weights-exceed-gpus",
        title="The weights do not fit these GPUs together",
        severity=Severity.ERROR,
        rows=(19, 21),
        consequence="Loading ends with CUDA out of memory, or no KV blocks are left, and the pod loops.",
        fix="More GPUs, larger ones named by a node selector, or an FP8 or 4-bit version.",
        check=_too_large_for_several,
    ),
    Rule(
        id="PS020-wasteful-gpus",
        title="Half of the GPUs would do",
        severity=Severity.WARNING,
        rows=(20,),
        consequence="You pay for GPUs that hold cache nobody fills; tensor parallelism also costs speed per GPU.",
        fix="Size by the bytes on disk and the cache that the load needs (`penstock plan`); spend the"
        " rest on replicas.",
        check=_wasteful,
    ),
    Rule(
        id="PS022-context-fills-cache",
        title="A few long requests fill the cache",
        severity=Severity.WARNING,
        rows=(22,),
        consequence="Requests wait or are preempted and computed again; on a smaller GPU the engine refuses to start.",
        fix="Set `--max-model-len` from the concurrency you need, or give it more memory, or an FP8 cache.",
        check=_context,
    ),
    Rule(
        id="PS035-low-utilization",
        title="gpu-memory-utilization is lowered",
        severity=Severity.WARNING,
        rows=(35,),
        consequence="The KV cache takes what is left after the weights: lower means fewer requests at once,"
        " down to none at start.",
        fix="Leave it at 0.92; lower it only for an out-of-memory error in a forward pass or CUDA graphs.",
        check=_low_share,
    ),
    Rule(
        id="PS141-high-utilization",
        title="gpu-memory-utilization leaves nothing",
        severity=Severity.WARNING,
        rows=(35,),
        consequence="CUDA's context, NCCL and graphs lie outside of it: out of memory at start or under the"
        " first load.",
        fix="0.95 at most; 0.92 is the default.",
        check=_high_share,
    ),
    Rule(
        id="PS033-more-ranks-than-gpus",
        title="More parallel ranks than GPUs",
        severity=Severity.ERROR,
        rows=(33,),
        consequence="The engine ends at start: tensor parallel size cannot be larger than the GPUs that it sees.",
        fix="TP × PP × DP equals the pod's GPUs.",
        check=_more_ranks,
    ),
    Rule(
        id="PS136-idle-gpus",
        title="Fewer parallel ranks than GPUs",
        severity=Severity.WARNING,
        rows=(33,),
        consequence="Nothing says so: the rest of the GPUs are reserved, paid for and idle.",
        fix="TP × PP × DP equals the pod's GPUs.",
        check=_idle,
    ),
    Rule(
        id="PS138-heads-not-divisible",
        title="Heads that cannot be shared by the GPUs",
        severity=Severity.ERROR,
        rows=(33,),
        consequence="The engine ends at start: attention heads must be divisible by the tensor parallel size.",
        fix="A tensor parallel size that divides the heads.",
        check=_heads,
    ),
    Rule(
        id="PS044-slice-too-small",
        title="The MIG slice is too small for the model",
        severity=Severity.ERROR,
        rows=(44,),
        consequence="Loading ends with CUDA out of memory.",
        fix="A larger profile, a whole GPU, or a quantized model.",
        check=_slice,
    ),
    Rule(
        id="PS034-no-shm",
        title="Several GPUs without /dev/shm",
        severity=Severity.ERROR,
        rows=(34,),
        consequence="NCCL and the workers share memory there: 64 MiB end in `No space left on device` or a bus error.",
        fix="An emptyDir with `medium: Memory` at /dev/shm, about 1 GiB for each GPU and one more.",
        check=_no_shm,
    ),
    Rule(
        id="PS139-small-shm",
        title="Too little /dev/shm for its GPUs",
        severity=Severity.WARNING,
        rows=(34,),
        consequence="NCCL fails or falls back to slower ways.",
        fix="About 1 GiB for each GPU and one more.",
        check=_small_shm,
    ),
    Rule(
        id="PS140-shm-over-limit",
        title="Most of the memory limit is /dev/shm's",
        severity=Severity.WARNING,
        rows=(34,),
        consequence="What lies there counts against the container's memory limit: filled, it ends the"
        " container (OOMKilled).",
        fix="Size it by tensor parallelism; the KV cache is not in it.",
        check=_shm_over_limit,
    ),
    Rule(
        id="PS036-memory-request-below-limit",
        title="Memory request and limit differ",
        severity=Severity.WARNING,
        rows=(36,),
        consequence="The page cache of the weights counts: the pod grows past its request and is evicted"
        " first when the node runs short.",
        fix="Request what you limit to.",
        check=_unequal,
    ),
    Rule(
        id="PS142-little-host-memory",
        title="Too little host memory for the processes",
        severity=Severity.ERROR,
        rows=(36,),
        consequence="The container is OOMKilled while it loads.",
        fix="About 4 GiB for each GPU and 4 more, /dev/shm and offload on top.",
        check=_little_memory,
    ),
)
