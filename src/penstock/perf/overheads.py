"""What a data sheet does not say about a GPU, its host and the API server: the numbers a calibration holds.

Defaults are those measured on one H200 with 16 slow virtual CPUs (vLLM 0.26, torch 2.11; 9 us for one operator launch,
where a fast host needs 3 to 5): fitted on Llama 3.1 8B, Qwen2.5 7B and Qwen3 30B-A3B, mixture-of-experts fields on the
last alone. "AIC" marks what was taken from or chosen by looking at AIConfigurator 0.12's table of kernels (Apache 2.0,
measured with vLLM 0.24 on H200), since our measurements cannot show it. Where another source is meant, or none, the
field says so. All times are seconds, all shares are of the data sheet's peak.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

__all__ = ["SPELLS", "FrontEndTime", "HostTime", "Overheads", "slowed"]

SPELLS = ((0.4, 0.2), (0.4, 0.6), (0.2, 0.9))
"""(probability, draw) of three host's paces that stand for all."""


def slowed(slowest: float, draw: float) -> float:
    """How many times as long a process takes whose core's other half is more or less busy; `draw` from 0 to 1.

    A virtual CPU is half of a core. Most of the time its neighbour is nearly idle: quadratic, after the quantiles of
    1,850 launches and as many schedulings.
    """
    return 1.0 + slowest * draw * draw


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
    mixed_context_factor: float = 2.15
    """Longer that decodes take to read it in a step that also has prefill: one attention call serves both. 62 ns for
    each token of context of the 8B, against 29 of decodes alone."""
    matmul_share: float = 0.78
    """Of dense FLOP/s in the matrices of a prefill: 0.0199 ms a token for an 8B in bf16, up to some 2,000 tokens."""
    boost_s: float = 50e-3
    """How long a step's matrices run so: after that the power limit lets the clock sink."""
    sustained_factor: float = 1.10
    """Longer that matrices take from then on: 0.0218 ms a token of the 8B from 4,096 tokens."""
    fp8_matmul_share: float = 0.76
    """The same in fp8: 1,341 of 1,979 TFLOP/s measured for one product of 8192; wider ones reach more. Chosen with
    AIC: its prefills of an 8B and a 70B are within 6 % of ours."""
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
    link_latency_s: float = 7e-6
    """One all-reduce of tensor parallelism, without its bytes. AIC."""
    link_share: float = 0.55
    """Of the link's bandwidth in an all-reduce of some ten MB, as prefills have them. AIC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTime:
    """Of the engine's process: what each step costs one CPU core. With async scheduling it overlaps the GPU's work."""

    schedule_s: float = 0.05e-3
    schedule_request_s: float = 7e-6
    deliver_s: float = 0.09e-3
    """From a step's result until the next one can be scheduled."""
    deliver_request_s: float = 5.5e-6
    graph_s: float = 1.6e-3
    """To prepare and launch a step that is one CUDA graph: decodes only."""
    graph_request_s: float = 4.5e-6
    old_runner_s: float = 0.9e-3
    """More of the same in the older model runner, which mixtures of experts use. Not measured."""
    piecewise_layer_s: float = 0.25e-3
    """More for each layer of a step with prefill that runs as graphs with attention in between: 512 tokens or less."""
    ungraphed_layer_s: float = 0.39e-3
    """The same beyond 512 tokens: compiled kernels launched one by one. 14.6 ms for 32 layers at the quickest."""
    ungraphed_expert_layer_s: float = 1.10e-3
    """The same for a mixture-of-experts layer."""
    slowest: float = 1.2
    """Share by which all of this takes longer where the core's other half is busy all the time; half of the time it is
    less than a quarter of it (`slowed`). Scheduling, launches and delivery slow down together, for a second or so:
    14.6 ms for a launch of the 8B without a graph at the 5th percentile, 19 at the median, 30 at the 95th. Each five of
    the six recorded loads give 1.1 to 1.25."""
    eager_layer_s: float = 0.32e-3
    """The same for each step with `--enforce-eager`."""
    token_s: float = 1.0e-6
    """More for each token of a step with prefill."""
    lead_s: float = 2.5e-3
    """From the decision until the first kernel runs, and from the last one until its result is read: a prompt alone
    takes 46.3 ms where the same among decodes keeps the GPU for 43.9."""
    parallel_s: float = 0.4e-3
    """To hand a step to the processes of tensor parallelism. Not measured."""

    def scaled(self, factor: float) -> HostTime:
        """The same on a host whose core takes `factor` times as long."""
        return replace(self, **{f.name: getattr(self, f.name) * factor for f in fields(self) if f.name.endswith("_s")})


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndTime:
    """Of the API server around the engine: tokenizing, HTTP, streaming. Depends on the host's CPU, not on its GPU."""

    before_s: float = 2.0e-3
    before_per_prompt_token_s: float = 0.4e-6
    after_s: float = 1.0e-3
    after_per_prompt_token_s: float = 2.0e-6
    per_token_s: float = 50e-6
    """One streamed token: one process tops out near 13,000 to 15,000 a second."""
    transit_token_s: float = 15e-6
    """Each token of a step that is encoded, handed over and decoded before any of them is sent: takes time, but not the
    API process's. Together they are the 65 to 80 us that a first token comes later for each request beside it."""
    slowest: float = 0.7
    """As in `HostTime`: 5.4 ms after a prompt of 2,048 at the 5th percentile, 7.0 at the median, 9.0 at the 95th."""

    def before(self, prompt_tokens: int) -> float:
        """From the request's arrival until the scheduler sees it."""
        return self.before_s + self.before_per_prompt_token_s * prompt_tokens

    def after(self, prompt_tokens: int) -> float:
        """From the engine's first token until the client sees it."""
        return self.after_s + self.after_per_prompt_token_s * prompt_tokens

    @property
    def mean_slower(self) -> float:
        """Mean factor over all draws of its pace."""
        return 1.0 + self.slowest / 3.0

    def scaled(self, factor: float) -> FrontEndTime:
        """The same on a host whose core takes `factor` times as long."""
        return replace(self, **{f.name: getattr(self, f.name) * factor for f in fields(self) if f.name.endswith("_s")})
