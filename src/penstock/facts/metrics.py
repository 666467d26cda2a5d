"""Metric names of vLLM 0.32, and what replaced the ones that older dashboards and alerts ask for.

Source: `/metrics` of vLLM 0.32 (CPU) and 0.26 (H200) under load. All carry the labels `model_name` and `engine`.
vLLM deprecates a name in one minor version, hides it in the next and removes it in the one after.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["ENGINE_METRICS", "GONE_METRICS", "MetricKind", "metric_advice"]

MetricKind = Literal["gauge", "counter", "histogram"]

_GAUGES = (
    "num_requests_running", "num_requests_waiting", "num_requests_waiting_by_reason", "kv_cache_usage_perc",
    "engine_sleep_state", "lora_requests_info", "cache_config_info",
)  # fmt: skip
_COUNTERS = (
    "prompt_tokens_total", "generation_tokens_total", "prompt_tokens_cached_total", "prompt_tokens_by_source_total",
    "request_success_total", "num_preemptions_total", "prefix_cache_queries_total", "prefix_cache_hits_total",
    "external_prefix_cache_queries_total", "external_prefix_cache_hits_total", "admission_rejections_total",
    "corrupted_requests_total",
)  # fmt: skip
_HISTOGRAMS = (
    "time_to_first_token_seconds", "inter_token_latency_seconds", "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds", "request_queue_time_seconds", "request_prefill_time_seconds",
    "request_decode_time_seconds", "request_inference_time_seconds", "request_prompt_tokens",
    "request_generation_tokens", "iteration_tokens_total",
)  # fmt: skip
ENGINE_METRICS: dict[str, MetricKind] = {
    **{f"vllm:{name}": "gauge" for name in _GAUGES},
    **{f"vllm:{name}": "counter" for name in _COUNTERS},
    **{f"vllm:{name}": "histogram" for name in _HISTOGRAMS},
}
"""Every name that the gateway, scaling and monitoring rely on."""

GONE_METRICS: dict[str, str] = {
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:cpu_cache_usage_perc": "",
    "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_hit_rate": "vllm:prefix_cache_hits_total",
    "vllm:time_per_output_token_seconds": "vllm:inter_token_latency_seconds",
    "vllm:num_requests_swapped": "",
    # never existed; guides use them
    "vllm_pending_requests_total": "vllm:num_requests_waiting",
    "vllm_active_requests": "vllm:num_requests_running",
    "vllm_num_requests_waiting": "vllm:num_requests_waiting",
}
"""Names that no engine of today has, each with the one to ask for ("" where there is none)."""


def metric_advice(name: str) -> str | None:
    """What is wrong with a metric's name, in words; None where nothing is known against it."""
    base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
    if base not in GONE_METRICS:
        return None
    instead = GONE_METRICS[base]
    return f"vLLM has no {base} today" + (f"; ask for {instead}" if instead else ", and nothing in its place")
