"""How long one engine step takes: a roofline of the model's matrices and caches on the GPU, beside the host's work.

    GPU  = layers x fixed + matrices + element-wise + attention + head and sampling
    host = schedule + launch + deliver
    step = the larger of both, when steps like it follow each other

`matrices` is the smooth maximum of reading the weights (experts only as far as touched) and multiplying by them. With
async scheduling the host prepares a step while the GPU runs the one before, so small models and steps without a CUDA
graph wait for the host. Numbers come from a `Calibration`; how far off this is: `docs/accuracy.md`. Not here: what runs
together (the scheduler), memory, queueing.
"""

from __future__ import annotations

import math

from penstock.facts.architecture import Architecture
from penstock.facts.gpus import Gpu
from penstock.perf.calibration import Calibration, Interval, Regime, default_calibration
from penstock.perf.kv import kv_layout
from penstock.perf.overheads import slowed
from penstock.perf.weights import weight_bytes

__all__ = ["GRAPH_TOKENS_MAX", "StepTime"]

GRAPH_TOKENS_MAX = 512
"""Largest step that runs as CUDA graphs: vLLM's default capture sizes end here."""
_SHARPNESS = 3.0
"""Exponent of the smooth maximum of memory and compute time: fitted on the 8B's decode times from 1 to 512 requests."""
_FP8_TILE = 256
"""Rows that the fp8 kernels compute at once, two clusters of 128: their time moves in steps of this many tokens. From
AIConfigurator's table of kernels, as `overheads` says."""
_SMALL_HIDDEN = 2048
"""Narrower models than the measured ones: their kernels are all start and no work, and the host decides."""
_SHORT_CONTEXT = 1024
_SLOW_DRAW = 0.7
"""How slow a host-bound step's host may be over the quick one that is stated: 9 decodes without graphs were measured,
their median 5 % and two of them 130 % over the quickest."""
_WIDER_EACH = 0.75
"""What each trait that was not measured adds to the width of an interval: published times of the same kernels in fp8
and of narrower models lie within 10 % of ours, about twice the measured kinds' residuals."""
_EXPERT_TILE = (8, 64)
"""Rows that an expert's part wastes on average, least and most: half of the kernels' tiles of 16 to 128. Chosen with
AIConfigurator's table of kernels."""


def _smooth_max(one: float, other: float) -> float:
    return math.pow(math.pow(one, _SHARPNESS) + math.pow(other, _SHARPNESS), 1.0 / _SHARPNESS)


def _captured(tokens: int) -> int:
    """The CUDA graph that a step of so many tokens runs in: 1, 2, 4, then multiples of 8, above 256 of 16."""
    if tokens <= 2:
        return tokens
    step = 4 if tokens <= 4 else 8 if tokens <= 256 else 16
    return -(-tokens // step) * step


class StepTime:
    """Step times of one model on one kind of GPU. Everything that does not depend on the step is worked out once."""

    def __init__(
        self,
        model: Architecture,
        gpu: Gpu,
        *,
        tensor_parallel: int = 1,
        kv_dtype: str | None = None,
        is_eager: bool = False,
        calibration: Calibration | None = None,
    ) -> None:
        self.calibration = calibration or default_calibration(gpu)
        self.model = model
        self.gpu = gpu
        self.tensor_parallel = tensor_parallel
        self.kv_dtype = kv_dtype
        self._is_eager = is_eager
        self._set_matrices()
        self._set_attention()
        self._set_head()
        self._set_host()

    def _set_matrices(self) -> None:
        model, gpu, tp, o = self.model, self.gpu, self.tensor_parallel, self.calibration.overheads
        bandwidth = gpu.bandwidth_bytes_per_s * o.bandwidth_share
        is_fp8 = model.dtype == "fp8" and gpu.fp8_flops is not None
        flops = (gpu.fp8_flops or 0.0) * o.fp8_matmul_share if is_fp8 else gpu.bf16_flops * o.matmul_share
        fixed = o.layer_s + (model.norms_per_layer - 2) * o.norm_s + (o.fp8_layer_s if is_fp8 else 0.0)
        self._fixed_s = model.layers * fixed + model.moe_layers * o.expert_layer_s
        dense_bytes = (
            model.matrix_params * model.matrix_bytes_per_param + model.small_params * model.plain_bytes_per_param
        )
        self._dense_read_s = dense_bytes / tp / bandwidth
        self._expert_read_s = model.expert_params * model.moe_layers * model.expert_bytes_per_param / tp / bandwidth
        self._dense_token_s = 2 * model.dense_params_read / tp / flops
        self._is_mxfp4 = model.expert_bits is not None
        if self._is_mxfp4:
            self._expert_read_s *= o.mxfp4_read_factor
        expert_flops = gpu.bf16_flops * o.expert_matmul_share  # fp8 experts are no faster: see Overheads
        self._expert_row_s = 2 * model.moe_layers * model.expert_params / tp / expert_flops
        self._untouched = 1.0 - model.experts_per_token / model.experts if model.experts else 1.0
        moved = model.layers * o.elementwise_hiddens * model.hidden / tp
        rows = 6 * model.expert_intermediate / tp + 2 * model.hidden  # read and written for each chosen expert
        moved += model.moe_layers * model.experts_per_token * rows
        self._element_token_s = moved * 2 / bandwidth
        self._tile = _FP8_TILE if is_fp8 else 1
        if tp > 1:
            self._fixed_s += model.layers * 2 * o.link_latency_s
            reduced = 2 * model.layers * model.hidden * 2 * 2 * (tp - 1) / tp
            self._element_token_s += reduced / (gpu.link_bytes_per_s * o.link_share)

    def _set_attention(self) -> None:
        model, gpu, tp, o = self.model, self.gpu, self.tensor_parallel, self.calibration.overheads
        is_fp8 = str(self.kv_dtype).startswith("fp8")
        share = o.kv_fp8_bandwidth_share if is_fp8 else o.kv_bandwidth_share
        token_bytes = kv_layout(model, self.kv_dtype, tp).layer_token_bytes if model.has_kv_cache else 0.0
        layer_s = token_bytes / (gpu.bandwidth_bytes_per_s * share)
        heads = model.heads / tp
        if model.latent:
            wide = 2 * model.latent.kv_rank + model.latent.rope_dim
            layer_s = max(layer_s, 2 * heads * wide / (gpu.bf16_flops * o.latent_attention_share))
        value_dim = model.latent.value_dim if model.latent else model.head_dim
        pair_s = 2 * heads * (model.query_key_dim + value_dim) / (gpu.bf16_flops * o.attention_share)
        self._context_s = model.full_layers * layer_s
        self._window_context_s = model.sliding_layers * layer_s
        self._pair_s = model.full_layers * pair_s
        self._window_pair_s = model.sliding_layers * pair_s
        self._decode_s = model.layers * o.decode_layer_s
        self._uneven_factor, self._mixed_factor = o.uneven_context_factor, o.mixed_context_factor

    def _set_head(self) -> None:
        model, gpu, tp, o = self.model, self.gpu, self.tensor_parallel, self.calibration.overheads
        has_head = model.task == "generate"
        params = model.vocab * model.hidden / tp if has_head else 0.0
        bandwidth = gpu.bandwidth_bytes_per_s * o.bandwidth_share
        self._head_read_s = params * model.plain_bytes_per_param / bandwidth
        self._head_token_s = 2 * params / (gpu.bf16_flops * o.matmul_share)
        passes = o.expert_sampling_passes if model.experts else o.sampling_passes
        self._sampling_token_s = model.vocab * 4 * passes / bandwidth if has_head else 0.0
        self._sampling_s = o.sampling_s

    def _set_host(self) -> None:
        model, h = self.model, self.calibration.host
        self._graph_s = h.graph_s + (h.old_runner_s if model.experts else 0.0)
        self._graph_s += h.parallel_s if self.tensor_parallel > 1 else 0.0
        self._eager_s = self._graph_s + model.layers * h.eager_layer_s
        dense = model.layers - model.moe_layers
        self._piecewise_s = self._graph_s + model.layers * h.piecewise_layer_s
        self._ungraphed_s = self._graph_s + dense * h.ungraphed_layer_s + model.moe_layers * h.ungraphed_expert_layer_s
        self.lead_s = h.lead_s + (h.old_runner_s if model.experts else 0.0)

    def gpu_s(
        self,
        *,
        prefill_tokens: int = 0,
        decode_requests: int = 0,
        decode_context: int = 0,
        prefill_pairs: float = 0.0,
        prefill_requests: int = 1,
        is_uneven: bool = False,
    ) -> float:
        """Seconds that the GPU is busy with one step.

        `decode_context` is the sum of the decodes' context lengths; `prefill_pairs` the sum over prefill chunks of
        n * (start + n / 2). Sliding windows are applied to the mean, which is exact where contexts are alike;
        `is_uneven` says that they are not.
        """
        tokens = prefill_tokens + decode_requests
        if not tokens:
            return 0.0
        rows = _captured(tokens) if tokens <= GRAPH_TOKENS_MAX else tokens
        read, multiply = self._dense_read_s, self._tiled(rows) * self._dense_token_s
        if self.model.experts:
            touched = self.model.experts * (1.0 - math.pow(self._untouched, tokens))
            read += self._expert_read_s * touched
            multiply += self._expert_row_s * self._expert_rows(rows, touched)
        matrices = self._sustained_s(_smooth_max(read, multiply))
        slower = self._mixed_factor if prefill_tokens else self._uneven_factor if is_uneven else 1.0
        attention = decode_requests * self._decode_s + prefill_pairs * self._pair_s
        attention += decode_context * self._context_s * slower
        if self._window_context_s:
            window = self.model.window
            attention += min(decode_context, decode_requests * window) * self._window_context_s * slower
            attention += min(prefill_pairs, prefill_tokens * window) * self._window_pair_s
        sampled = decode_requests + (prefill_requests if prefill_tokens else 0)
        head = _smooth_max(self._head_read_s, sampled * self._head_token_s) if self._head_read_s else 0.0
        head += self._sampling_s + sampled * self._sampling_token_s
        return self._fixed_s + matrices + tokens * self._element_token_s + attention + head

    def _sustained_s(self, matrices_s: float) -> float:
        """Of matrices that keep the GPU busy for so long: its clock sinks in the end."""
        o = self.calibration.overheads
        return matrices_s + max(0.0, matrices_s - o.boost_s) * (o.sustained_factor - 1.0)

    def _tiled(self, rows: int) -> int:
        """Rows that the matrices are computed for."""
        if self._tile == 1 or rows <= self._tile // 4:
            return rows
        return -(-rows // self._tile) * self._tile if rows > self._tile // 2 else self._tile // 2

    def _expert_rows(self, rows: int, touched: float) -> float:
        """Rows that the experts are computed for: each one's are filled up to whole tiles."""
        chosen = rows * self.model.experts_per_token
        each = chosen / self.model.experts
        padding = _EXPERT_TILE[1] if self._is_mxfp4 else min(max(each, _EXPERT_TILE[0]), _EXPERT_TILE[1])
        return chosen + touched * padding

    def decode_line(self, requests: int) -> tuple[float, float, int, float]:
        """`gpu_s` of uneven decodes as a line: base, and seconds per token of context, plain and windowed.

        `base + context * per_token + min(context, window) * per_windowed`, in the order base, per_token, window,
        per_windowed; for loops over many steps of the same requests.
        """
        base, slower = self.gpu_s(decode_requests=requests), self._uneven_factor
        return base, self._context_s * slower, requests * self.model.window, self._window_context_s * slower

    def launch_s(self, prefill_tokens: int, decode_requests: int) -> float:
        """Seconds of the host to prepare and launch one step."""
        tokens = prefill_tokens + decode_requests
        more = prefill_tokens * self.calibration.host.token_s
        more += decode_requests * self.calibration.host.graph_request_s
        if self._is_eager:
            return self._eager_s + more
        if tokens > GRAPH_TOKENS_MAX:
            return self._ungraphed_s + more
        return (self._piecewise_s if prefill_tokens else self._graph_s) + more

    def lead_of(self, launch_s: float) -> float:
        """Seconds from the start of a launch that takes so long until the GPU runs its first kernel."""
        return min(self.lead_s, launch_s)

    def schedule_s(self, requests: int) -> float:
        """Seconds of the host to decide a step of so many requests."""
        return self.calibration.host.schedule_s + requests * self.calibration.host.schedule_request_s

    def deliver_s(self, requests: int) -> float:
        """Seconds of the host to take a step's result and hand it out."""
        return self.calibration.host.deliver_s + requests * self.calibration.host.deliver_request_s

    def step_s(
        self,
        *,
        prefill_tokens: int = 0,
        decode_requests: int = 0,
        decode_context: int = 0,
        prefill_pairs: float = 0.0,
        prefill_requests: int = 1,
    ) -> float:
        """Seconds from one step's result to the next one's, where steps like it follow each other."""
        if not prefill_tokens and not decode_requests:
            return 0.0
        gpu = self.gpu_s(
            prefill_tokens=prefill_tokens,
            decode_requests=decode_requests,
            decode_context=decode_context,
            prefill_pairs=prefill_pairs,
            prefill_requests=prefill_requests,
        )
        requests = decode_requests + (prefill_requests if prefill_tokens else 0)
        host = self.launch_s(prefill_tokens, decode_requests) + self.schedule_s(requests) + self.deliver_s(requests)
        return max(gpu, host)

    def decode_s(self, requests: int, context: int) -> float:
        """Seconds of a decode step of `requests`, each of `context` tokens: the inter-token latency."""
        return self.step_s(decode_requests=requests, decode_context=requests * context)

    def prefill_s(self, prompt_tokens: int, *, cached_tokens: int = 0, max_num_batched_tokens: int = 8192) -> float:
        """Seconds from decision to first token of one prompt that has the engine to itself.

        The step after it is decided and launched before its result is read, as async scheduling does.
        """
        start, gpu_free, host = cached_tokens, 0.0, self.schedule_s(1)
        while start < prompt_tokens:
            count = min(max_num_batched_tokens, prompt_tokens - start)
            busy = self.gpu_s(prefill_tokens=count, prefill_pairs=count * (start + count / 2))
            launch = self.launch_s(count, 0)
            gpu_free = max(gpu_free, host + self.lead_of(launch)) + busy
            host += launch
            gpu_free = max(gpu_free, host)
            start += count
        return max(gpu_free, host + self.schedule_s(1) + self.launch_s(0, 1))

    def weight_bytes(self) -> int:
        """Bytes of the weights on each GPU."""
        return weight_bytes(self.model, self.tensor_parallel)

    @property
    def widening(self) -> float:
        """How many times as wide this model's intervals are as those of the kinds that were measured.

        Measured were dense models and mixtures of experts in bf16, with full attention, on one GPU.
        """
        model = self.model
        strange = (
            model.dtype not in ("bfloat16", "float16"),
            model.expert_bits is not None,
            bool(model.sliding_layers),
            model.latent is not None,
            str(self.kv_dtype).startswith("fp8"),
            self.tensor_parallel > 1,
            model.hidden < _SMALL_HIDDEN,
            model.is_guess,
        )
        return 1.0 + _WIDER_EACH * sum(strange)

    @property
    def waits_for_host(self) -> bool:
        """Decode steps are the host's, not the GPU's: small models, and all without CUDA graphs."""
        host = self.launch_s(0, 1) + self.schedule_s(1) + self.deliver_s(1)
        return host > self.gpu_s(decode_requests=1, decode_context=_SHORT_CONTEXT)

    def interval(self, value: float, regime: Regime) -> Interval:
        """90 % interval of a figure of this model; longer upwards where the host decides, which has slow spells."""
        low, high = self.calibration.interval(value, regime, widening=self.widening)
        if regime in ("decode", "itl") and self.waits_for_host:
            high *= slowed(self.calibration.host.slowest, _SLOW_DRAW)
        return Interval(low, high)
