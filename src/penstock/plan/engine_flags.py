"""The engine's flags that make a plan true, and the same as lines of the fleet file. Pure."""

from __future__ import annotations

from penstock.facts import engine_defaults
from penstock.plan.quantization import flag_of, needs_float16
from penstock.plan.sizing import ModelPlan

__all__ = ["engine_flags", "fleet_lines"]


def engine_flags(plan: ModelPlan) -> dict[str, str]:
    """What `vllm serve` must be told; what it does by itself is left out."""
    layout, ask = plan.choice.layout, plan.ask
    defaults = engine_defaults(layout.gpu)
    flags = {"max-model-len": str(plan.context)} if plan.context != ask.model.context else {}
    if layout.max_num_seqs != defaults.max_num_seqs:
        flags["max-num-seqs"] = str(layout.max_num_seqs)
    if layout.batched_tokens != defaults.max_num_batched_tokens:
        flags["max-num-batched-tokens"] = str(layout.batched_tokens)
    if layout.utilization != defaults.gpu_memory_utilization:
        flags["gpu-memory-utilization"] = f"{layout.utilization:g}"
    for name, size in (("tensor", layout.tensor), ("pipeline", layout.pipeline), ("data", layout.data)):
        if size > 1:
            flags[f"{name}-parallel-size"] = str(size)
    quantization = flag_of(ask.model, layout.quantization)
    if quantization is not None:
        flags["quantization"] = quantization
    if layout.kv_dtype not in (None, "auto"):
        flags["kv-cache-dtype"] = str(layout.kv_dtype)
    dtype = ask.dtype or ("float16" if needs_float16(ask.model, layout.gpu) else None)
    if dtype is not None:
        flags["dtype"] = dtype
    return flags


def fleet_lines(plan: ModelPlan) -> list[str]:
    """What to write below the model in a fleet file, so that it runs as planned."""
    layout, ask = plan.choice.layout, plan.ask
    shape = [f"gpu: {layout.gpu.name}", f"count: {layout.gpus}"]
    shape += [f"{n}Parallel: {s}" for n, s in (("pipeline", layout.pipeline), ("data", layout.data)) if s > 1]
    lines = [f"replicas: {plan.choice.replicas}", f"hardware: {{{', '.join(shape)}}}"]
    lines.append(f"contextLength: {plan.context}")
    flags = engine_flags(plan)
    if "max-num-seqs" in flags:
        lines.append(f"concurrency: {layout.max_num_seqs}")
    if ask.quantization is not None or "quantization" in flags:
        lines.append(f"quantization: {layout.quantization}")
    if "kv-cache-dtype" in flags:
        lines.append(f"kvCacheDtype: {flags['kv-cache-dtype']}")
    if "dtype" in flags:
        lines.append(f"dtype: {flags['dtype']}")
    rest = {name: flags[name] for name in ("gpu-memory-utilization", "max-num-batched-tokens") if name in flags}
    if rest:
        lines.append(f"engine: {{args: {{{', '.join(f'{name}: {value}' for name, value in rest.items())}}}}}")
    return lines
