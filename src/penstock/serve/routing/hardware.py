"""From the performance model, or the fleet file's hardware, to the few numbers that the router needs. Pure.

Guarantees: the same model and calibration that `plan`, `simulate` and the simulated engine use. Takes some
milliseconds, once for each model; not imported by the data plane until a fleet is read.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.facts import Architecture, Gpu, engine_defaults, find_gpu
from penstock.perf import Calibration, StepTime
from penstock.plan.ask import ask_of_model
from penstock.plan.demand import plain_demand
from penstock.plan.prices import list_prices
from penstock.plan.quantization import native, quantized
from penstock.serve.routing.timing import ModelTiming
from penstock.spec import HardwareSpec, ModelSpec

__all__ = ["timing_of", "timing_of_steps"]

_SHORT, _LONG = 256, 8192
"""Prompts whose times give the line: the shortest that keeps a GPU busy, and the engine's usual step."""
_FAR = 32_768
"""Cached tokens at which the cost of attending to them is read."""
_SEQS_MAX = 4096
"""Steps that are tabled at most."""


def timing_of_steps(step: StepTime, *, seqs_max: int, batched_tokens: int = _LONG) -> ModelTiming:
    """The numbers of one performance model. `seqs_max`: the engine's `max_num_seqs`."""
    pair_s = _pair_s(step)
    short = step.prefill_s(_SHORT) - pair_s * _SHORT * _SHORT / 2
    long = step.prefill_s(_LONG, max_num_batched_tokens=batched_tokens) - pair_s * _LONG * _LONG / 2
    token_s = max(0.0, (long - short) / (_LONG - _SHORT))
    context_s = (step.decode_s(8, 8192) - step.decode_s(8, 1024)) / (8 * (8192 - 1024))
    has_decode = step.model.task == "generate"
    steps = (0.0, *(step.step_s(decode_requests=n) for n in range(1, seqs_max + 1))) if has_decode else (0.0,)
    return ModelTiming(
        name=step.calibration.name,
        fixed_s=max(0.0, short - _SHORT * token_s),
        token_s=token_s,
        pair_s=pair_s,
        steps_s=steps,
        context_s=max(0.0, context_s) if has_decode else 0.0,
    )


def _pair_s(step: StepTime) -> float:
    """Of full attention; of sliding windows the mean over long contexts, where they stop growing."""
    near = step.gpu_s(prefill_tokens=_LONG, prefill_pairs=_LONG * (_LONG / 2))
    far = step.gpu_s(prefill_tokens=_LONG, prefill_pairs=_LONG * (_FAR + _LONG / 2))
    return max(0.0, (far - near) / (_LONG * _FAR))


def timing_of(
    model: ModelSpec, architecture: Architecture, calibrations: Mapping[str, Calibration] | None = None
) -> ModelTiming | None:
    """The timing of a model of the fleet file, on the hardware that it names; None where that is not known: a model
    that runs elsewhere without saying on what, an architecture of which nothing is known, a sizing that is refused.

    `calibrations`: those measured on this fleet, by GPU; for others the shipped one.
    """
    has_hardware = model.endpoints is None or model.hardware is not None
    if architecture.is_guess or not has_hardware:
        return None
    gpu = find_gpu((model.hardware or HardwareSpec()).gpu)
    ask = ask_of_model(
        model,
        architecture,
        demand=plain_demand(0.0, 1, 1),
        gpus=(gpu,),
        prices=list_prices(),
        calibrations=calibrations,
    )
    if isinstance(ask, list):
        return None
    used: Gpu = ask.gpus[0]
    defaults = engine_defaults(used)
    tensor = ask.tensor or max(1, (ask.count or 1) // ask.data)
    step = StepTime(
        quantized(ask.model, ask.quantization or native(ask.model)),
        used,
        tensor_parallel=tensor,
        kv_dtype=ask.kv_dtype,
        calibration=ask.calibrations.get(used.name) or ask.calibrations.get(used.slice_of),
    )
    seqs_max = min(ask.max_num_seqs or defaults.max_num_seqs, _SEQS_MAX)
    return timing_of_steps(
        step, seqs_max=seqs_max, batched_tokens=ask.batched_tokens or defaults.max_num_batched_tokens
    )
