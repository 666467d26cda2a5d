"""What the model and its flags mean in bytes, and on which GPU that is judged. Pure.

A model that is not known is judged by its weights only where its name has its size, and never by its heads or cache.
Where the file does not say which GPU, 80 GB are taken: the commonest card for serving, and the guides' own.
"""

from __future__ import annotations

import re
from dataclasses import replace

from penstock.errors import UsageError
from penstock.facts import GPUS, Architecture, Gpu, engine_defaults, find_gpu, find_model, mig_slice
from penstock.operate.doctor.engines import Engine
from penstock.perf import MemoryPlan, plan_memory, weight_bytes
from penstock.plan.estimate import Estimate, Layout
from penstock.plan.host import Startup, startup

__all__ = ["assumed_gpu", "cold_start", "fits", "gpu_of", "known_model", "memory", "sized_model", "utilization"]

_ASSUMED = "A100-80GB"
_SIZE = re.compile(r"(?<![A-Za-z\d.])\d+(?:\.\d+)?[bB](?![A-Za-z])")
_DTYPES = {
    "fp8": "fp8", "compressed-tensors": "", "awq": "int4", "awq_marlin": "int4", "gptq": "int4", "gptq_marlin": "int4",
    "bitsandbytes": "int4", "int8": "int8", "modelopt": "fp8", "modelopt_fp4": "int4", "nvfp4": "int4", "gguf": "int4",
    "mxfp4": "", "experts_int8": "int8", "fbgemm_fp8": "fp8", "fp8_per_tensor": "fp8", "fp8_per_block": "fp8",
}  # fmt: skip
_SPARE = 1.06
"""A guessed model's weights are taken as a little less certain: they must be over by this."""


def known_model(engine: Engine) -> Architecture | None:
    """The engine's model where its shape is known, quantized as its flags say."""
    if not engine.model or "$" in engine.model or "{{" in engine.model:
        return None
    model = find_model(engine.model)
    return None if model.is_guess else _quantized(model, engine)


def sized_model(engine: Engine) -> Architecture | None:
    """The same, and one that is guessed from the size in its name."""
    known = known_model(engine)
    if known is not None or not _SIZE.search(engine.model.rpartition("/")[2]):
        return known
    return _quantized(find_model(engine.model), engine)


def _quantized(model: Architecture, engine: Engine) -> Architecture:
    how = (engine.flags.text("quantization") or "").lower()
    dtype = _DTYPES.get(how) or ("int4" if engine.flags.text("load-format") == "bitsandbytes" else "")
    if dtype and model.dtype not in ("fp8", "int8", "int4") and model.expert_bits is None:
        return replace(model, dtype=dtype)
    if engine.flags.text("dtype") in ("float", "float32") and model.dtype == "bfloat16":
        return replace(model, dtype="float32")
    return model


def gpu_of(engine: Engine) -> Gpu | None:
    """The GPU, or slice of one, that the engine is sure to get; None where the file does not say."""
    if not engine.mig:
        return engine.gpu
    size = re.search(r"(\d+)gb", engine.mig)
    owners = [engine.gpu.name.split("-MIG")[0]] if engine.gpu is not None else [gpu.name for gpu in GPUS]
    for name in owners:
        try:
            return mig_slice(name, engine.mig.split("+")[0].split(".me")[0])
        except UsageError:
            continue
    return (
        None if size is None else replace(find_gpu(_ASSUMED), memory_gib=float(size.group(1)) * 0.95, name=engine.mig)
    )


def assumed_gpu(engine: Engine) -> Gpu:
    """The GPU, or an 80 GB one."""
    return gpu_of(engine) or find_gpu(_ASSUMED)


def fits(model: Architecture, gpu: Gpu, engine: Engine, tensor: int | None = None) -> bool:
    """Whether the weights leave room for anything else on each GPU."""
    ranks = engine.tensor if tensor is None else tensor
    try:
        weights = weight_bytes(
            model, ranks, pipeline_parallel=engine.pipeline, data_parallel=engine.data if model.experts else 1
        )
    except (UsageError, ZeroDivisionError):
        return True
    share = utilization(engine)
    return weights < gpu.memory_bytes * share * (_SPARE if model.is_guess else 1)


def utilization(engine: Engine) -> float:
    """The share of memory that it may use."""
    number = engine.flags.number("gpu-memory-utilization")
    return number if number is not None and 0 < number <= 1 else 0.92


def memory(
    engine: Engine, model: Architecture, gpu: Gpu, *, tensor: int | None = None, share: float | None = None
) -> MemoryPlan | None:
    """What lies on each GPU; None where it does not fit or cannot be shared out."""
    flags, defaults = engine.flags, engine_defaults(gpu)
    length = flags.number("max-model-len")
    try:
        return plan_memory(
            model,
            gpu,
            utilization=share or utilization(engine),
            max_num_batched_tokens=int(flags.number("max-num-batched-tokens") or defaults.max_num_batched_tokens),
            max_num_seqs=int(flags.number("max-num-seqs") or defaults.max_num_seqs),
            max_model_len=int(length) if length else None,
            block_size=int(flags.number("block-size") or defaults.block_size),
            tensor_parallel=tensor or engine.tensor,
            pipeline_parallel=engine.pipeline,
            data_parallel=engine.data if model.experts else 1,
            kv_dtype=_kv_dtype(flags.text("kv-cache-dtype")),
        )
    except (UsageError, KeyError, ZeroDivisionError):
        return None


def _kv_dtype(name: str | None) -> str | None:
    return "fp8" if name is not None and name.startswith("fp8") else None


def cold_start(engine: Engine) -> Startup | None:
    """How long its first start takes; None where the model is not known."""
    model = sized_model(engine)
    if model is None:
        return None
    layout = Layout(gpu=find_gpu(_ASSUMED), pipeline=engine.pipeline)
    return startup(Estimate(model, layout, model.context), is_cold=True)
