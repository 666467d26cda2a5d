"""What a data sheet does not say about a GPU, its host and the API server: the numbers a calibration holds.

Defaults are those measured on one H200 with 16 slow virtual CPUs (vLLM 0.26, torch 2.11; 9 us for one operator launch,
where a fast host needs 3 to 5): fitted on Llama 3.1 8B, Qwen2.5 7B and Qwen3 30B-A3B, mixture-of-experts fields on the
last alone. "AIC" marks what was taken from or chosen by looking at AIConfigurator 0.12's table of kernels (Apache 2.0,
measured with vLLM 0.24 on H200), since our measurements cannot show it. Where another source is meant, or none, the
field says so. All times are seconds, all shares are of the data sheet's peak.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

__all__ = ["FrontEndTime", "HostTime", "Overheads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """Of the GPU: efficiencies and gaps between kernels."""

    bandwidth_share: float = 0.86
    """Of memory bandwidth when reading weights, all matrix shapes together; 0.89 for one long read."""
    kv_bandwidth_share: float = 0.94
    """The same when attention reads the cache in bf16: 4.3 to 4.6 TB/s measured."""
    kv_fp8_bandwidth_share: float = 0.65
    """The same for a cache in fp8: 3.1 TB/s measured."""
    uneven_context_factor: float = 1.09
    """Longer that the cache takes to read when contexts differ, as they do under load, than when they are alike."""
    mixed_context_factor: float = 2.3
    """Longer that decodes take to read it in a step that also has prefill: one attention call serves both."""
    matmul_share: float = 0.74
    """Of dense FLOP/s in the matrices of a long prefill: 0.0212 ms a token for an 8B in bf16."""
    fp8_matmul_share: float = 0.70
    """The same in fp8: 1,341 of 1,979 TFLOP/s measured for one product of 8192; wider ones reach more. Chosen
    between with AIC."""
    expert_matmul_share: float = 0.66
    """The same for expert matrices, which are multiplied in many small groups, padding counted as work: AIC chose
    how much is padding (`timing._EXPERT_TILE`), our measurements the share beside it. In fp8 the same kernels are no
    faster than in bf16: AIC."""
    mxfp4_read_factor: float = 1.15
    """Longer that experts in MXFP4 take to read, for they are unpacked on the way. AIC."""
    attention_share: float = 0.58
    """The same in prefill attention: 0.9e-9 s per query-key pair of an 8B."""
    latent_attention_share: float = 0.55
    """The same in decode attention over a latent cache (MLA), whose queries are as wide as the cache. Not measured."""
    layer_s: float = 42e-6
    """Gaps and small kernels of one layer inside a CUDA graph."""
    expert_layer_s: float = 11e-6
    """More of the same in a mixture-of-experts layer: router, sort, combine."""
    fp8_layer_s: float = 20e-6
    """More of the same where each matrix's input is quantized first, and its kernels start slower. AIC."""
    norm_s: float = 3e-6
    """One more norm in a layer (Gemma). Not measured."""
    decode_layer_s: float = 0.16e-6
    """Attention of one more decoding request in one layer, beyond reading its cache."""
    elementwise_hiddens: float = 28.0
    """Vectors of `hidden` elements read or written per token and layer outside the matrices."""
    sampling_s: float = 0.05e-3
    """Sampling and hand-over of a step."""
    sampling_passes: float = 4.5
    """Times that sampling reads or writes the logits of a request in 32 bits."""
    expert_sampling_passes: float = 14.0
    """The same in the older model runner, which mixtures of experts use."""
    link_latency_s: float = 12e-6
    """One all-reduce of tensor parallelism, without its bytes. Not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTime:
    """Of the engine's process: what each step costs one CPU core. With async scheduling it overlaps the GPU's work."""

    schedule_s: float = 0.07e-3
    schedule_request_s: float = 9e-6
    deliver_s: float = 0.12e-3
    """From a step's result until the next one can be scheduled."""
    deliver_request_s: float = 7.5e-6
    graph_s: float = 1.6e-3
    """To prepare and launch a step that is one CUDA graph: decodes only."""
    graph_request_s: float = 6e-6
    old_runner_s: float = 0.9e-3
    """More of the same in the older model runner, which mixtures of experts use. Not measured."""
    piecewise_layer_s: float = 0.25e-3
    """More for each layer of a step with prefill that runs as graphs with attention in between: 512 tokens or less."""
    ungraphed_layer_s: float = 0.50e-3
    """The same beyond 512 tokens: compiled kernels launched one by one. 14 to 30 ms seen for 32 layers."""
    ungraphed_expert_layer_s: float = 1.15e-3
    """The same for a mixture-of-experts layer."""
    ungraphed_faster: float = 0.20
    """Share by which the quickest such launch is under the typical one. The host's jitter: 18.1 ms is typical of the
    8B under load, 14.5 and 29 are the 5th and 95th percentile."""
    ungraphed_slower: float = 0.65
    """Share by which the slowest one is over it."""
    eager_layer_s: float = 0.32e-3
    """The same for each step with `--enforce-eager`."""
    token_s: float = 1.0e-6
    """More for each token of a step with prefill."""
    lead_s: float = 1.0e-3
    """From the decision until the first kernel runs."""
    parallel_s: float = 0.4e-3
    """To hand a step to the processes of tensor parallelism. Not measured."""

    def scaled(self, factor: float) -> HostTime:
        """The same on a host whose core takes `factor` times as long."""
        return replace(self, **{f.name: getattr(self, f.name) * factor for f in fields(self) if f.name.endswith("_s")})


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndTime:
    """Of the API server around the engine: tokenizing, HTTP, streaming. Depends on the host's CPU, not on its GPU."""

    before_s: float = 2.3e-3
    before_per_prompt_token_s: float = 0.4e-6
    after_s: float = 1.15e-3
    after_per_prompt_token_s: float = 2.4e-6
    per_token_s: float = 70e-6
    """One streamed token: one process tops out near 13,000 to 15,000 a second."""

    def before(self, prompt_tokens: int) -> float:
        """From the request's arrival until the scheduler sees it."""
        return self.before_s + self.before_per_prompt_token_s * prompt_tokens

    def after(self, prompt_tokens: int) -> float:
        """From the engine's first token until the client sees it."""
        return self.after_s + self.after_per_prompt_token_s * prompt_tokens

    def scaled(self, factor: float) -> FrontEndTime:
        """The same on a host whose core takes `factor` times as long."""
        return replace(self, **{f.name: getattr(self, f.name) * factor for f in fields(self)})
