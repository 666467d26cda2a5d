"""Every metric that a vLLM 0.32 engine or the production-stack router exposes, with the bounds of its buckets.

Source: `/metrics` of vLLM 0.32 (CPU) and 0.26 (H200) under load; router: production-stack, `services/metrics_service`.
`metrics.py` has the ones that Penstock itself relies on, and what replaced those that are gone.
"""

from __future__ import annotations

from penstock.facts.metrics import ENGINE_METRICS, GONE_METRICS, MetricKind

__all__ = ["ALL_ENGINE_METRICS", "GPU_GAUGES", "buckets_of", "metric_kind"]

_MORE_COUNTERS = (
    "estimated_flops_per_gpu_total", "estimated_read_bytes_per_gpu_total", "estimated_write_bytes_per_gpu_total",
    "mm_cache_hits_total", "mm_cache_queries_total", "prompt_tokens_cached_by_source_total",
    "tool_call_parser_invocations_total", "num_incoming_requests_total", "spec_decode_num_accepted_tokens_total",
    "spec_decode_num_draft_tokens_total", "spec_decode_num_drafts_total",
    "spec_decode_num_accepted_tokens_per_pos_total",
)  # fmt: skip
_MORE_GAUGES = (
    "current_qps", "avg_decoding_length", "avg_latency", "avg_itl", "num_prefill_requests", "num_decoding_requests",
    "healthy_pods_total",
)  # fmt: skip
_MORE_HISTOGRAMS = (
    "request_max_num_generation_tokens", "request_num_preemptions", "request_params_max_tokens", "request_params_n",
    "request_prefill_kv_computed_tokens",
)  # fmt: skip
ALL_ENGINE_METRICS: dict[str, MetricKind] = {
    **ENGINE_METRICS,
    **{f"vllm:{name}": "counter" for name in _MORE_COUNTERS},
    **{f"vllm:{name}": "gauge" for name in _MORE_GAUGES},
    **{f"vllm:{name}": "histogram" for name in _MORE_HISTOGRAMS},
}
"""Names with the suffix `_total` where they have one; histograms without theirs."""

GPU_GAUGES = frozenset({
    "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_MEM_COPY_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_SM_ACTIVE",
    "DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_DEV_MEMORY_TEMP",
})  # fmt: skip
"""Gauges of NVIDIA's exporter (dcgm-exporter, `default-counters.csv`)."""

_PER_TOKEN = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
)  # fmt: skip
_REQUEST = (
    0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
)  # fmt: skip
_BUCKETS: dict[str, tuple[float, ...]] = {
    "vllm:time_to_first_token_seconds": (
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
        2560,
    ),
    "vllm:inter_token_latency_seconds": _PER_TOKEN,
    "vllm:request_time_per_output_token_seconds": _PER_TOKEN,
    "vllm:e2e_request_latency_seconds": _REQUEST,
    **{f"vllm:request_{phase}_time_seconds": _REQUEST for phase in ("queue", "prefill", "decode", "inference")},
}  # fmt: skip


def buckets_of(name: str) -> tuple[float, ...]:
    """Upper bounds of a histogram's buckets; empty where they depend on the model, or none are known."""
    return _BUCKETS.get(name.removesuffix("_bucket"), ())


def metric_kind(name: str) -> MetricKind | None:
    """What a metric of the engine or of NVIDIA's exporter is; a histogram's series by their own kind. None: unknown."""
    if name in GPU_GAUGES:
        return "gauge"
    known = ALL_ENGINE_METRICS.get(name)
    if known is not None:
        return known
    if name in GONE_METRICS:  # a rate of it is a second mistake
        return "gauge" if "usage" in name or "requests" in name else None
    for suffix in ("_bucket", "_sum", "_count"):
        if ALL_ENGINE_METRICS.get(name.removesuffix(suffix)) == "histogram":
            return "counter"
    return "gauge" if name.endswith("_created") and name.startswith("vllm:") else None
