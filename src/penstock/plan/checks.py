"""What can be told to be impossible before anything is sized: numbers of the ask that contradict one another, the model
or every GPU that may be used. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from penstock.facts import Architecture
from penstock.perf import weight_bytes
from penstock.plan.ask import Ask
from penstock.plan.quantization import dtype_misfit, misfit, native, needs_own_source, words_of
from penstock.plan.refusal import Refusal

__all__ = ["check", "tensor_misfit"]


def check(ask: Ask) -> list[Refusal]:
    """Everything that is wrong with the ask by itself, each with its place."""
    found = [*_parallel(ask), *_lengths(ask), *_numbers(ask), *_volume(ask)]
    return [replace(refusal, at=ask.places.get(refusal.about, ())) for refusal in found]


def tensor_misfit(model: Architecture, tensor: int) -> str | None:
    """Why a model's heads cannot be shared by so many GPUs; None where they can."""
    if model.heads % tensor:
        return f"{model.heads} attention heads do not divide by {tensor} GPUs"
    if model.kv_heads % tensor and tensor % model.kv_heads:
        return f"{model.kv_heads} KV heads neither divide by {tensor} GPUs nor can each be copied to the same number"
    return None


def _parallel(ask: Ask) -> Iterator[Refusal]:
    model = ask.model
    if ask.tensor is not None:
        reason = tensor_misfit(model, ask.tensor)
        if reason is not None:
            yield Refusal(about="tensor", message=f"{model.name}: {reason}", hint=_sizes_hint(model))
    if ask.pipeline > model.layers:
        message = f"{ask.pipeline} pipeline stages, but {model.name} has {model.layers} layers"
        yield Refusal(about="pipeline", message=message, hint="use fewer stages")
    if ask.count is None:
        return
    beside = ask.pipeline * ask.data
    if ask.tensor is not None and ask.tensor * beside != ask.count:
        needed = ask.tensor * beside
        what = (
            f"the engine would want {needed} and not start"
            if needed > ask.count
            else f"{ask.count - needed} of {ask.count} GPUs would stand idle, and be paid for"
        )
        yield Refusal(
            about="tensor",
            message=f"{_sizes(ask)}, but each replica has {ask.count} GPU{'' if ask.count == 1 else 's'}: {what}",
            hint=f"give each replica {needed} GPU{'' if needed == 1 else 's'}, or leave the tensor-parallel size out",
        )
    elif ask.count % beside:
        message = f"{ask.count} GPUs cannot be shared by {ask.pipeline} pipeline × {ask.data} data-parallel groups"
        yield Refusal(about="count", message=message, hint=f"use a multiple of {beside}")
    elif ask.tensor is None and (reason := tensor_misfit(model, ask.count // beside)) is not None:
        yield Refusal(about="count", message=f"{model.name}: {reason}", hint=_sizes_hint(model))


def _sizes(ask: Ask) -> str:
    if ask.pipeline * ask.data == 1:
        return f"the tensor-parallel size is {ask.tensor}"
    total = (ask.tensor or 1) * ask.pipeline * ask.data
    return f"tensor × pipeline × data parallel is {ask.tensor} × {ask.pipeline} × {ask.data} = {total}"


def _sizes_hint(model: Architecture) -> str:
    sizes = [str(n) for n in (1, 2, 4, 8, 16) if tensor_misfit(model, n) is None]
    return f"sizes that work for it: {', '.join(sizes)}"


def _lengths(ask: Ask) -> Iterator[Refusal]:
    model, demand = ask.model, ask.demand
    if ask.context is not None and ask.context > model.context:
        yield Refusal(
            about="context",
            message=f"{ask.context:,} tokens is beyond what {model.name} was made for, {model.context:,}:"
            " the engine refuses to start",
            hint=f"write {model.context} or less, or name a model with a longer context",
        )
    limit = min(ask.context or model.context, model.context)
    mean = demand.prompt_tokens + (demand.output_tokens if model.task == "generate" else 0)
    if mean > limit:
        yield Refusal(
            about="demand",
            message=f"a request of mean length, {demand.prompt_tokens:,.0f} prompt and {demand.output_tokens:,.0f}"
            f" answer tokens, does not fit a context of {limit:,}",
            hint="raise the context, or expect shorter requests",
        )
    if ask.batched_tokens is not None and ask.max_num_seqs is not None and ask.batched_tokens < ask.max_num_seqs:
        yield Refusal(
            about="batched_tokens",
            message=f"{ask.batched_tokens:,} tokens of a step are fewer than {ask.max_num_seqs:,} requests at once,"
            " each of which needs one: the engine refuses to start",
            hint=f"write {ask.max_num_seqs} or more",
        )


def _volume(ask: Ask) -> Iterator[Refusal]:
    """A volume that the model's files do not fit."""
    needed = weight_bytes(ask.model)
    if ask.volume_bytes is not None and ask.volume_bytes < needed:
        whole = -(-needed * 115 // (100 << 30))
        yield Refusal(
            about="volume",
            message=f"a volume of {ask.volume_bytes / (1 << 30):.3g} GiB does not hold the files of {ask.model.name},"
            f" {needed / (1 << 30):.3g} GiB",
            hint=f"write {whole}Gi or more, which leaves room for the next revision's download, or leave it out",
        )


def _numbers(ask: Ask) -> Iterator[Refusal]:
    """Types of numbers that no GPU in question takes."""
    how = ask.quantization or native(ask.model)
    if needs_own_source(ask.model, how):
        yield Refusal(
            about="quantization",
            message=f"{words_of(ask.model, how)} weights are made beforehand; {ask.source} has {ask.model.dtype} ones"
            ": the engine refuses to start",
            hint=f"name a `source` that was made so, often {ask.source.rstrip('/')}-{how.upper()}, and leave the"
            " quantization out; or write `fp8`, which the engine makes while it loads",
        )
    misfits = [misfit(ask.model, gpu, how) for gpu in ask.gpus]
    if misfits and all(found is not None for found in misfits):
        first = misfits[0]
        assert first is not None
        yield Refusal(about="quantization" if ask.quantization else "gpu", message=first.message, hint=first.hint)
    dtypes = [dtype_misfit(gpu, ask.dtype) for gpu in ask.gpus]
    if dtypes and all(found is not None for found in dtypes):
        first = dtypes[0]
        assert first is not None
        yield Refusal(about="dtype", message=first.message, hint=first.hint)
