"""How weights may be quantized, and on which GPU: what vLLM 0.32 does, and what it refuses. Pure.

Sources: vLLM 0.32 documentation, "FP8 W8A8" (FP8 units from compute capability 8.9; older GPUs from 7.5 keep the
weights in FP8 and compute in 16 bits) and the table of supported hardware of "Quantization" (AWQ, GPTQ and FP8 by GPU
generation); KV cache in FP8 on GPUs without FP8 units: github.com/vllm-project/vllm issues 26431 and 24577.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from penstock.facts import Architecture, Gpu

__all__ = [
    "CHOICES",
    "Misfit",
    "Quantization",
    "dtype_misfit",
    "flag_of",
    "misfit",
    "native",
    "needs_float16",
    "needs_own_source",
    "quantized",
    "words_of",
]

Quantization = Literal["none", "fp8", "fp8-weights", "awq", "gptq", "mxfp4"]
CHOICES: tuple[Quantization, ...] = ("none", "fp8", "fp8-weights", "awq", "gptq", "mxfp4")
_DTYPES: dict[Quantization, str] = {"fp8": "fp8", "fp8-weights": "fp8", "awq": "int4", "gptq": "int4"}
_TURING = frozenset({"T4"})
"""GPUs of compute capability 7.5: no bfloat16, no 4-bit floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """Why a GPU or a model does not take a quantization, and what to do."""

    message: str
    hint: str


def native(model: Architecture) -> Quantization:
    """How the model's own weights are quantized."""
    if model.expert_bits is not None:
        return "mxfp4"
    return {"fp8": "fp8", "int4": "awq"}.get(model.dtype, "none")  # type: ignore[return-value]


def quantized(model: Architecture, how: Quantization) -> Architecture:
    """The model with its weights quantized; as it is where they are so already."""
    own = native(model)
    is_same = {how, own} in ({how}, {"awq", "gptq"}, {"fp8", "fp8-weights"})
    if is_same or own == "mxfp4":
        return model
    if how == "mxfp4":
        return replace(model, expert_bits=4.25) if model.experts else replace(model, dtype="int4")
    return replace(model, dtype=_DTYPES.get(how, "bfloat16"))


def misfit(model: Architecture, gpu: Gpu, how: Quantization) -> Misfit | None:
    """What keeps vLLM from running the model so on this GPU; None when nothing does."""
    own = native(model)
    if own not in ("none", how) and {own, how} not in ({"awq", "gptq"}, {"fp8", "fp8-weights"}):
        return Misfit(
            message=f"the weights of {model.name} are {words_of(model, own)} already and cannot be made {how}",
            hint="leave `quantization` out, or name another `source`",
        )
    if how == "fp8" and gpu.fp8_flops is None and own != "fp8":
        return Misfit(
            message=f"{gpu.name} has no FP8 units: vLLM would keep the weights in FP8 and compute in 16 bits, which"
            " halves their memory and speeds up nothing but their reading",
            hint="use L4, L40S, H100, H200, B200 or MI300X; or write `fp8-weights` if that is what you want",
        )
    if (how == "mxfp4" or own == "mxfp4") and gpu.name in _TURING:
        return Misfit(
            message=f"MXFP4 needs compute capability 8.0; {gpu.name} has 7.5", hint="use A10G, L4, A100 or a newer GPU"
        )
    if how in ("awq", "gptq") and gpu.vendor == "amd":
        return Misfit(message=f"{how.upper()} kernels do not run on {gpu.name}", hint="use fp8 there, or an NVIDIA GPU")
    return None


def needs_own_source(model: Architecture, how: Quantization) -> bool:
    """Whether the engine cannot make these weights while it loads the model's: they must be published so."""
    return how in ("awq", "gptq", "mxfp4") and native(model) == "none"


def dtype_misfit(gpu: Gpu, dtype: str | None) -> Misfit | None:
    """The same for the numbers that the engine computes with."""
    if gpu.name in _TURING and dtype == "bfloat16":
        return Misfit(message=f"{gpu.name} has no bfloat16; vLLM refuses it there", hint="write `dtype: float16`")
    return None


def needs_float16(model: Architecture, gpu: Gpu) -> bool:
    """Whether the engine must be told `--dtype float16`: the GPU has no bfloat16, and the model is in it."""
    return gpu.name in _TURING and model.dtype not in ("float16", "float32")


def flag_of(model: Architecture, how: Quantization) -> str | None:
    """The engine's `--quantization`; None where the source says it itself."""
    if how == native(model) or how == "none" or native(model) == "mxfp4":
        return None
    return "fp8" if how == "fp8-weights" else how


def words_of(model: Architecture, how: Quantization) -> str:
    """Shown to people: `bfloat16`, `FP8`, `AWQ (4 bits)`."""
    if how == "none":
        return model.dtype
    named = {"fp8": "FP8", "fp8-weights": "FP8 weights", "awq": "AWQ 4-bit", "gptq": "GPTQ 4-bit", "mxfp4": "MXFP4"}
    return named[how]
