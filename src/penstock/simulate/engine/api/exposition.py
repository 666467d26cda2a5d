"""The text of `/metrics`, in the order, words and labels of vLLM 0.32.

Guarantees: the same families, HELP and TYPE lines, labels and bucket bounds as vLLM sends, `_created` ones included.
Leaves to others: counting (`metrics.py`) and what is known of the process (`python_*`, `process_*`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock.simulate.engine.api.metrics import EngineMetrics, Histogram, HttpMetrics
from penstock.simulate.engine.core import EngineStats

__all__ = ["CacheLabels", "Gauges", "render"]

_SOURCES = ("local_compute", "local_cache_hit", "external_kv_transfer")
_TIERS = ("device", "host", "p2p", "disk", "external_unspecified")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLabels:
    """What `vllm:cache_config_info` tells of the KV cache."""

    block_size: int
    num_gpu_blocks: int
    num_gpu_blocks_override: int | None
    gpu_memory_utilization: float
    max_model_len: int
    size_tokens: int
    """As vLLM prints it: of hybrids not blocks times their size."""
    is_pooling: bool

    def labels(self) -> dict[str, str]:
        size = self.size_tokens
        pooling = self.is_pooling
        return {
            "_block_size_resolved": "True",
            "block_size": str(self.block_size),
            "cache_dtype": "auto",
            "cache_hit_alignment_tokens": "None",
            "effective_attention_block_size": "None" if pooling else str(self.block_size),
            "enable_mamba_shared_prefix_checkpoint": "False",
            "enable_prefix_caching": str(not pooling),
            "engine": "0",
            "gpu_memory_utilization": str(self.gpu_memory_utilization),
            "hash_block_size": "None",
            "is_attention_free": "False",
            "kv_cache_dtype_skip_layers": "[]",
            "kv_cache_layout": "None",
            "kv_cache_max_concurrency": "None" if pooling else str(size / self.max_model_len),
            "kv_cache_memory_bytes": "None",
            "kv_cache_size_tokens": "None" if pooling else str(size),
            "kv_offloading_backend": "native",
            "kv_offloading_size": "None",
            "kv_sharing_fast_prefill": "False",
            "mamba_block_size": "None",
            "mamba_cache_dtype": "auto",
            "mamba_cache_mode": "none",
            "mamba_page_size_padded": "None",
            "mamba_ssm_cache_dtype": "float32",
            "num_cpu_blocks": "None",
            "num_gpu_blocks": "1" if pooling else str(self.num_gpu_blocks),
            "num_gpu_blocks_override": str(self.num_gpu_blocks_override),
            "prefix_cache_retention_interval": "0",
            "prefix_caching_hash_algo": "sha256",
            "prefix_match_unit": "None",
            "replayssm_buffer_len": "16",
            "skip_page_size_padded": "None",
            "sliding_window": "None",
            "swa_bounded_replay": "True",
            "use_kda_recoverssm": "False",
            "use_replayssm": "False",
            "user_specified_block_size": "False",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What is true now, and what is fixed."""

    model_name: str
    stats: EngineStats
    sleep_level: int
    """0: awake."""
    created: float
    """Unix time of the start."""
    cache: CacheLabels


class _Text:
    """Lines of the exposition. `labels` stand on every series of a family."""

    def __init__(self, labels: Mapping[str, str], created: float) -> None:
        self._labels = dict(labels)
        self._created = created
        self.lines: list[str] = []

    def head(self, name: str, kind: str, help_text: str) -> None:
        self.lines += (f"# HELP {name} {help_text}", f"# TYPE {name} {kind}")

    def series(self, name: str, value: float, **labels: str) -> None:
        text = _braces(self._labels | labels)
        self.lines.append(f"{name}{text} {_number(value)}")

    def gauge(self, name: str, help_text: str, value: float) -> None:
        self.head(name, "gauge", help_text)
        self.series(name, value)

    def counter(self, name: str, help_text: str, values: Mapping[tuple[str, str] | None, float]) -> None:
        """A counter without `_total`; `values` by its extra label, None for none. Then its `_created` family."""
        self.head(f"{name}_total", "counter", help_text)
        for extra, value in values.items():
            self.series(f"{name}_total", value, **_pair(extra))
        self.head(f"{name}_created", "gauge", help_text)
        for extra in values:
            self.series(f"{name}_created", self._created, **_pair(extra))

    def histogram(self, name: str, help_text: str, histogram: Histogram) -> None:
        self.head(name, "histogram", help_text)
        self.buckets(name, histogram)
        self.head(f"{name}_created", "gauge", help_text)
        self.series(f"{name}_created", self._created)

    def buckets(self, name: str, histogram: Histogram, **labels: str) -> None:
        running = 0
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            running += count
            self.series(f"{name}_bucket", running, le=_number(bound), **labels)
        self.series(f"{name}_count", running, **labels)
        self.series(f"{name}_sum", histogram.total, **labels)


def render(gauges: Gauges, metrics: EngineMetrics, http: HttpMetrics) -> str:
    """The exposition without the process's own metrics, which stand before it."""
    text = _Text({"engine": "0", "model_name": gauges.model_name}, gauges.created)
    _estimates(text)
    _now(text, gauges)
    _prefix_cache(text, gauges.stats)
    _tokens(text, metrics)
    _request_totals(text, gauges, metrics)
    _histograms(text, metrics)
    text.lines += _cache_lines(gauges.cache)
    text.lines += _http_lines(http, gauges.created)
    if not gauges.cache.is_pooling:
        text.lines += _tool_lines(gauges, metrics)
    return "\n".join(text.lines) + "\n"


def _braces(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape(labels[name])}"' for name in sorted(labels))
    return "{" + ",".join(pairs) + "}"


def _number(value: float) -> str:
    """A number as Go's and Python's Prometheus clients write it: 1.0, 1.5e+06, +Inf."""
    if value == math.inf:
        return "+Inf"
    text = repr(float(value))
    dot = text.find(".")
    if value > 0 and dot > 6:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+0{dot - 1}"
    return text


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _pair(extra: tuple[str, str] | None) -> dict[str, str]:
    return {} if extra is None else {extra[0]: extra[1]}


def _estimates(text: _Text) -> None:
    why = "(for Model Flops Utilization calculations)."
    for name, what in (
        ("flops", "floating point operations per GPU"),
        ("read_bytes", "bytes read from memory per GPU"),
        ("write_bytes", "bytes written to memory per GPU"),
    ):
        text.counter(f"vllm:estimated_{name}_per_gpu", f"Estimated number of {what} {why}", {None: 0})


def _now(text: _Text, gauges: Gauges) -> None:
    stats = gauges.stats
    text.gauge("vllm:num_requests_running", "Number of requests in model execution batches.", stats.running)
    text.gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", stats.waiting)
    name = "vllm:num_requests_waiting_by_reason"
    text.head(
        name,
        "gauge",
        "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' "
        "= deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals "
        "vllm:num_requests_waiting.",
    )
    text.series(name, stats.waiting, reason="capacity")
    text.series(name, 0, reason="deferred")
    name = "vllm:engine_sleep_state"
    text.head(
        name,
        "gauge",
        "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
        "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
    )
    for level, state in enumerate(("awake", "weights_offloaded", "discard_all")):
        text.series(name, int(gauges.sleep_level == level), sleep_state=state)
    text.gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", stats.kv_usage)


def _prefix_cache(text: _Text, stats: EngineStats) -> None:
    for name, what, count in (
        ("queries", "queries, in terms of number of queried tokens.", stats.prefix_queries),
        ("hits", "hits, in terms of number of cached tokens.", stats.prefix_hits),
    ):
        text.counter(f"vllm:prefix_cache_{name}", f"Prefix cache {what}", {None: count})
    shared = "from KV connector cross-instance cache sharing, in terms of number of"
    for name, what in (("queries", "queried"), ("hits", "cached")):
        help_text = f"External prefix cache {name} {shared} {what} tokens."
        text.counter(f"vllm:external_prefix_cache_{name}", help_text, {None: 0})
    for name, what in (("queries", "queried"), ("hits", "cached")):
        text.counter(
            f"vllm:mm_cache_{name}", f"Multi-modal cache {name}, in terms of number of {what} items.", {None: 0}
        )
    text.counter("vllm:num_preemptions", "Cumulative number of preemption from the engine.", {None: stats.preemptions})


def _tokens(text: _Text, metrics: EngineMetrics) -> None:
    computed = metrics.prompt_tokens - metrics.cached_tokens
    by_source = zip(_SOURCES, (computed, metrics.cached_tokens, 0), strict=True)
    by_tier = zip(_TIERS, (metrics.cached_tokens, 0, 0, 0, 0), strict=True)
    text.counter("vllm:prompt_tokens", "Number of prefill tokens processed.", {None: metrics.prompt_tokens})
    text.counter(
        "vllm:prompt_tokens_by_source",
        "Number of prompt tokens by source.",
        {("source", name): count for name, count in by_source},
    )
    text.counter(
        "vllm:prompt_tokens_cached",
        "Number of cached prompt tokens (local + external).",
        {None: metrics.cached_tokens},
    )
    text.counter(
        "vllm:prompt_tokens_cached_by_source",
        "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to DRAM), "
        "disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at admission; sums to "
        "vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.",
        {("source", name): count for name, count in by_tier},
    )
    text.counter("vllm:generation_tokens", "Number of generation tokens processed.", {None: metrics.generation_tokens})


def _request_totals(text: _Text, gauges: Gauges, metrics: EngineMetrics) -> None:
    text.counter(
        "vllm:request_success",
        "Count of successfully processed requests.",
        {("finished_reason", reason): count for reason, count in metrics.finished.items()},
    )
    refused = _Text({"model_name": gauges.model_name}, gauges.created)
    refused.counter(
        "vllm:admission_rejections",
        "Number of admission attempts rejected by a queue limit, by reason.",
        {("reason", "max_num_queued_reqs"): 0, ("reason", "max_num_queued_tokens"): 0},
    )
    text.lines += refused.lines


def _histograms(text: _Text, metrics: EngineMetrics) -> None:
    for name, help_text, histogram in (
        ("request_prompt_tokens", "Number of prefill tokens processed.", metrics.request_prompt_tokens),
        ("request_generation_tokens", "Number of generation tokens processed.", metrics.request_generation_tokens),
        ("iteration_tokens_total", "Histogram of number of tokens per engine_step.", metrics.iteration_tokens),
        (
            "request_max_num_generation_tokens",
            "Histogram of maximum number of requested generation tokens.",
            metrics.max_generation_tokens,
        ),
        ("request_params_n", "Histogram of the n request parameter.", metrics.params_n),
        ("request_params_max_tokens", "Histogram of the max_tokens request parameter.", metrics.params_max_tokens),
        ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", metrics.first_token),
        ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", metrics.between_tokens),
        (
            "request_time_per_output_token_seconds",
            "Histogram of time_per_output_token_seconds per request.",
            metrics.per_output_token,
        ),
        ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", metrics.end_to_end),
        ("request_queue_time_seconds", _phase("WAITING"), metrics.queued),
        ("request_inference_time_seconds", _phase("RUNNING"), metrics.inference),
        ("request_prefill_time_seconds", _phase("PREFILL"), metrics.prefill),
        ("request_decode_time_seconds", _phase("DECODE"), metrics.decode),
        (
            "request_num_preemptions",
            "Histogram of the number of times a request was preempted.",
            metrics.request_preemptions,
        ),
        (
            "request_prefill_kv_computed_tokens",
            "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
            metrics.prefill_computed,
        ),
    ):
        text.histogram(f"vllm:{name}", help_text, histogram)


def _phase(name: str) -> str:
    return f"Histogram of time spent in {name} phase for request."


def _cache_lines(cache: CacheLabels) -> list[str]:
    text = _Text(cache.labels(), 0.0)
    text.gauge("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", 1)
    return text.lines


def _http_lines(http: HttpMetrics, created: float) -> list[str]:
    text = _Text({}, created)
    names = ("handler", "method", "status")
    help_text = "Total number of requests by method, status and handler."
    text.head("http_requests_total", "counter", help_text)
    for key, count in http.requests.items():
        text.series("http_requests_total", count, **dict(zip(names, key, strict=True)))
    text.head("http_requests_created", "gauge", help_text)
    for key in http.requests:
        text.series("http_requests_created", http.created[key], **dict(zip(names, key, strict=True)))
    _http_sizes(text, http)
    fine = "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations. "
    text.histogram("http_request_duration_highr_seconds", fine, http.fine)
    coarse = "Latency with only few buckets by handler. Made to be only used if aggregation by handler is important. "
    text.head("http_request_duration_seconds", "histogram", coarse)
    for (handler, method), histogram in http.coarse.items():
        text.buckets("http_request_duration_seconds", histogram, handler=handler, method=method)
    text.head("http_request_duration_seconds_created", "gauge", coarse)
    for handler, method in http.coarse:
        at = http.created[handler, method]
        text.series("http_request_duration_seconds_created", at, handler=handler, method=method)
    return text.lines


def _http_sizes(text: _Text, http: HttpMetrics) -> None:
    note = "Only value of header is respected. Otherwise ignored. No percentile calculated. "
    for direction, name, sizes in (
        ("incoming requests", "http_request_size_bytes", http.request_bytes),
        ("outgoing responses", "http_response_size_bytes", http.response_bytes),
    ):
        help_text = f"Content length of {direction} by handler. {note}"
        text.head(name, "summary", help_text)
        for handler, size in sizes.items():
            text.series(f"{name}_count", size.count, handler=handler)
            text.series(f"{name}_sum", size.total, handler=handler)
        text.head(f"{name}_created", "gauge", help_text)
        for handler in sizes:
            text.series(f"{name}_created", http.created[(handler,)], handler=handler)


def _tool_lines(gauges: Gauges, metrics: EngineMetrics) -> list[str]:
    text = _Text({"model_name": gauges.model_name}, gauges.created)
    name = "vllm:tool_call_parser_invocations"
    help_text = (
        "Total number of ToolParser invocations. Non-streaming increments once per choice; "
        "streaming increments once per delta."
    )
    for suffix, kind in (("total", "counter"), ("created", "gauge")):
        text.head(f"{name}_{suffix}", kind, help_text)
        for mode, outcome, route in _tool_series():
            count = metrics.tool_calls.get((mode, outcome), 0) if route == "chat_completions" else 0
            value = count if suffix == "total" else gauges.created
            text.series(f"{name}_{suffix}", value, mode=mode, outcome=outcome, request_type=route)
    return text.lines


def _tool_series() -> Iterable[tuple[str, str, str]]:
    for mode in ("streaming", "non_streaming"):
        for outcome in ("tool_call", "no_tool_call"):
            for route in ("chat_completions", "responses", "other"):
                yield mode, outcome, route
