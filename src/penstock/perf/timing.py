"""How long one engine step takes: a roofline of the model's matrices and caches on the GPU, plus overheads.

    step = layers x fixed  +  matrices  +  element-wise  +  attention  +  head and sampling

`matrices` is the smooth maximum of reading the weights (experts only as far as touched) and multiplying by them.
Constants are fitted on one H200 with vLLM 0.26 (`Overheads`); other GPUs are scaled by their bandwidth and rates.
What was measured and how far off this is: `tests/perf/test_timing.py`. Not here: what runs together (the scheduler),
memory, queueing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from penstock.facts.architecture import Architecture
from penstock.facts.gpus import Gpu
from penstock.perf.memory import DTYPE_BYTES, kv_bytes_per_token

__all__ = ["FrontEndTime", "Overheads", "StepTime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """What a data sheet does not say. Shares are of the data sheet's peak; times are seconds."""

    bandwidth_share: float = 0.89
    """Of memory bandwidth when reading weights: 4.28 of 4.8 TB/s measured on H200."""
    kv_bandwidth_share: float = 0.92
    """Of memory bandwidth when attention reads the cache: 4.3 to 4.6 TB/s measured."""
    matmul_share: float = 0.72
    """Of dense FLOP/s in the matrices of a long prefill: 0.0212 ms a token for an 8B in bf16 on H200."""
    expert_matmul_share: float = 0.50
    """The same for expert matrices, which are multiplied in many small groups."""
    attention_share: float = 0.59
    """Of dense FLOP/s in prefill attention: 0.9e-9 s per query-key pair of an 8B on H200."""
    layer_s: float = 43e-6
    """Gaps between kernels of one layer inside a CUDA graph."""
    expert_layer_s: float = 11e-6
    """More of the same in a mixture-of-experts layer: router, sort, combine."""
    decode_layer_s: float = 0.16e-6
    """Attention of one more decoding request in one layer, beyond reading its cache."""
    elementwise_hiddens: float = 28.0
    """Vectors of `hidden` elements read or written per token and layer outside the matrices."""
    sampling_s: float = 0.05e-3
    """Sampling and hand-over of a step."""
    launch_s: float = 4e-6
    """One kernel launch on the host's CPU: 3 to 5 us on a fast one, 9 us measured on the slow one of the H200."""
    launches_per_layer: float = 38.0
    """Kernels that a step beyond the CUDA graphs launches one by one: its least time."""
    link_latency_s: float = 12e-6
    """One all-reduce of tensor parallelism, without its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndTime:
    """Time in the API server around the engine: tokenizing, HTTP. Depends on the host's CPU, not on its GPU."""

    before_s: float = 2.3e-3
    before_per_prompt_token_s: float = 0.4e-6
    after_s: float = 1.0e-3
    after_per_prompt_token_s: float = 2.0e-6

    def before(self, prompt_tokens: int) -> float:
        """From the request's arrival until the scheduler sees it."""
        return self.before_s + self.before_per_prompt_token_s * prompt_tokens

    def after(self, prompt_tokens: int) -> float:
        """From the engine's first token until the client sees it."""
        return self.after_s + self.after_per_prompt_token_s * prompt_tokens


_GRAPH_TOKENS_MAX = 512
"""Largest step that runs as one CUDA graph when it has decodes only (vLLM's default capture sizes)."""
_SHARPNESS = 3.0
"""Exponent of the smooth maximum of memory and compute time: fitted on the 8B's decode times from 1 to 512 requests."""


class StepTime:
    """Step times of one model on one kind of GPU. Everything that does not depend on the step is worked out once."""

    def __init__(
        self,
        model: Architecture,
        gpu: Gpu,
        *,
        tensor_parallel: int = 1,
        kv_dtype: str | None = None,
        overheads: Overheads | None = None,
    ) -> None:
        o = self.overheads = overheads or Overheads()
        self.model = model
        self.gpu = gpu
        tp = self.tensor_parallel = tensor_parallel
        weight_bandwidth = gpu.bandwidth_bytes_per_s * o.bandwidth_share
        element = DTYPE_BYTES[model.dtype]
        flops = gpu.fp8_flops if model.dtype == "fp8" and gpu.fp8_flops else gpu.bf16_flops
        layers = model.layers
        self._fixed_s = layers * (o.layer_s + (o.expert_layer_s if model.experts else 0.0))
        self._fixed_s += layers * 2 * o.link_latency_s if tp > 1 else 0.0
        self._dense_read_s = model.dense_params_read * element / tp / weight_bandwidth
        self._expert_read_s = model.expert_params * layers * model.expert_bytes_per_param / tp / weight_bandwidth
        self._dense_token_s = 2 * model.dense_params_read / tp / (flops * o.matmul_share)
        active = layers * model.experts_per_token * model.expert_params
        self._expert_token_s = 2 * active / tp / (flops * o.expert_matmul_share)
        moved = layers * o.elementwise_hiddens * model.hidden * 2
        self._element_token_s = moved / tp / weight_bandwidth
        if tp > 1:
            reduced = 2 * layers * model.hidden * 2 * 2 * (tp - 1) / tp
            self._element_token_s += reduced / gpu.link_bytes_per_s
        self._decode_s = layers * o.decode_layer_s
        self._context_s = kv_bytes_per_token(model, kv_dtype, tp) / (gpu.bandwidth_bytes_per_s * o.kv_bandwidth_share)
        pair_flops = 4 * model.heads * model.head_dim * layers / tp
        self._pair_s = pair_flops / (gpu.bf16_flops * o.attention_share)
        head_bytes = model.vocab * model.hidden * element / tp if model.task == "generate" else 0
        self._head_s = head_bytes / weight_bandwidth + o.sampling_s
        self._launch_floor_s = layers * o.launches_per_layer * o.launch_s
        self._untouched = 1.0 - model.experts_per_token / model.experts if model.experts else 1.0

    def step_s(
        self,
        *,
        prefill_tokens: int = 0,
        decode_requests: int = 0,
        decode_context: int = 0,
        prefill_pairs: float = 0.0,
    ) -> float:
        """Seconds of one step.

        `decode_context` is the sum of the decodes' context lengths; `prefill_pairs` the sum over prefill chunks of
        n * (start + n / 2).
        """
        tokens = prefill_tokens + decode_requests
        if not tokens:
            return 0.0
        read = self._dense_read_s
        if self._expert_read_s:
            read += self._expert_read_s * self.model.experts * (1.0 - math.pow(self._untouched, tokens))
        multiply = tokens * (self._dense_token_s + self._expert_token_s)
        matrices = math.pow(math.pow(read, _SHARPNESS) + math.pow(multiply, _SHARPNESS), 1.0 / _SHARPNESS)
        on_gpu = (
            self._fixed_s
            + matrices
            + tokens * self._element_token_s
            + decode_requests * self._decode_s
            + decode_context * self._context_s
            + prefill_pairs * self._pair_s
            + self._head_s
        )
        if prefill_tokens or tokens > _GRAPH_TOKENS_MAX:
            return max(on_gpu, self._launch_floor_s)
        return on_gpu
