"""What the dashboard shows: its groups and their queries. Pure.

Queries are over what is scraped, not over recorded series, so that the dashboard works without rules. `$namespace`,
`$fleet` and `$model` are the dashboard's own variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GROUPS", "Group", "Panel", "Query"]

Unit = Literal["short", "reqps", "percentunit", "s", "tps", "celsius", "watt", "bytes"]
_ALL = 'namespace="$namespace",fleet="$fleet",model=~"$model"'
_GATEWAY = f'{_ALL},component="gateway"'
_ITSELF = 'namespace="$namespace",fleet="$fleet",component="gateway"'
"""Series of a gateway that are no model's."""
_ENGINE = f'{_ALL},component="engine"'
_PODS = 'namespace="$namespace",pod=~"$fleet-.+"'
_W = "$__rate_interval"


@dataclass(frozen=True, slots=True)
class Query:
    """One query and what its lines are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: Unit = "short"
    is_stacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Charts that answer one question."""

    title: str
    panels: tuple[Panel, ...]
    needs_gpu_metrics: bool = False


def _quantiles(title: str, series: str, where: str, description: str) -> Panel:
    rate = f"sum by (model, le) (rate({series}_bucket{{{where}}}[{_W}]))"
    shares = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    return Panel(
        title=title,
        description=description,
        queries=tuple(Query(f"histogram_quantile({q:g}, {rate})", f"{{{{model}}}} {name}") for name, q in shares),
        unit="s",
    )


def _by_model(function: str, series: str, where: str, *, rate: bool = False) -> Query:
    inner = f"rate({series}{{{where}}}[{_W}])" if rate else f"{series}{{{where}}}"
    return Query(f"{function} by (model) ({inner})", "{{model}}")


_REQUESTS = Group(
    title="Requests",
    panels=(
        Panel(
            title="Requests per second",
            description="Finished requests by model, as the gateway counted them, failed ones included.",
            queries=(_by_model("sum", "penstock_requests_total", _GATEWAY, rate=True),),
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            title="Outcomes",
            description="Finished requests by how they ended. `client_error` and `limited` are the caller's, the "
            "others but `ok` and `cancelled` are ours.",
            queries=(Query(f"sum by (outcome) (rate(penstock_requests_total{{{_GATEWAY}}}[{_W}]))", "{{outcome}}"),),
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            title="In flight",
            description="Requests begun and unfinished, those that wait included.",
            queries=(_by_model("sum", "penstock_in_flight_requests", _GATEWAY),),
        ),
    ),
)
_ERRORS = Group(
    title="Errors",
    panels=(
        Panel(
            title="Share of failed requests",
            description="Shed, timed out or failed in the engine, of all that were not the caller's fault.",
            queries=(
                Query(
                    f'sum by (model) (rate(penstock_requests_total{{{_GATEWAY},outcome=~"shed|timeout|upstream_error"}}'
                    f"[{_W}])) / (sum by (model) (rate(penstock_requests_total{{{_GATEWAY},"
                    f'outcome!~"client_error|limited"}}[{_W}])) > 0)',
                    "{{model}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            title="Failures by reason",
            description="Why requests did not end well, as the gateway's log has it.",
            queries=(
                Query(
                    f"sum by (model, reason) (rate(penstock_request_failures_total{{{_GATEWAY}}}[{_W}])) > 0",
                    "{{model}} {{reason}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            title="Retries and resumed streams",
            description="Requests that went to another endpoint before their first byte, and streams that went on "
            "there.",
            queries=(
                Query(f"sum by (model) (rate(penstock_retries_total{{{_GATEWAY}}}[{_W}]))", "{{model}} retried"),
                Query(f"sum by (model) (rate(penstock_resumes_total{{{_GATEWAY}}}[{_W}]))", "{{model}} resumed"),
            ),
            unit="reqps",
        ),
    ),
)
_LATENCY = Group(
    title="Latency, p50 and p95",
    panels=(
        _quantiles(
            "Time to first token",
            "penstock_ttft_seconds",
            _GATEWAY,
            "Of streams, from the end of the request's head to the first token sent: what clients see.",
        ),
        _quantiles(
            "Time per output token",
            "penstock_time_per_output_token_seconds",
            _GATEWAY,
            "Mean after the first token, one value for each stream: how fast people can read along.",
        ),
        _quantiles(
            "Whole request",
            "penstock_request_duration_seconds",
            _GATEWAY,
            "From the end of the request's head to the last byte; outcomes ok and timeout.",
        ),
        _quantiles(
            "Time to first token, engine",
            "vllm:time_to_first_token_seconds",
            _ENGINE,
            "As the engine measured it. What lies between this and the one above is the gateway and the network.",
        ),
        _quantiles(
            "Time between tokens, engine",
            "vllm:inter_token_latency_seconds",
            _ENGINE,
            "Of all tokens, as the engine made them; a long prompt of somebody else shows in p99.",
        ),
        _quantiles(
            "Waiting in the engine",
            "vllm:request_queue_time_seconds",
            _ENGINE,
            "From arrival in the engine until it took the request on.",
        ),
    ),
)
_TOKENS = Group(
    title="Tokens in and out",
    panels=(
        Panel(
            title="Prompt tokens per second",
            description="Prompt tokens that engines took in, those in the prefix cache included.",
            queries=(_by_model("sum", "vllm:prompt_tokens_total", _ENGINE, rate=True),),
            unit="tps",
        ),
        Panel(
            title="Generated tokens per second",
            description="Tokens that engines made.",
            queries=(_by_model("sum", "vllm:generation_tokens_total", _ENGINE, rate=True),),
            unit="tps",
        ),
        Panel(
            title="Prefix cache hits",
            description="Share of prompt tokens that were not computed because they were in the cache.",
            queries=(
                Query(
                    f"sum by (model) (rate(vllm:prefix_cache_hits_total{{{_ENGINE}}}[{_W}])) / "
                    f"(sum by (model) (rate(vllm:prefix_cache_queries_total{{{_ENGINE}}}[{_W}])) > 0)",
                    "{{model}}",
                ),
            ),
            unit="percentunit",
        ),
    ),
)
_QUEUE = Group(
    title="Queue and cache",
    panels=(
        Panel(
            title="Waiting in the gateway",
            description="Requests that no engine has yet, by class. Waiting here is fair and can still be routed.",
            queries=(Query(f"sum by (model, class) (penstock_queue_requests{{{_GATEWAY}}})", "{{model}} {{class}}"),),
            is_stacked=True,
        ),
        Panel(
            title="Time in the gateway's queue, p95",
            description="Of requests that waited and then went to an engine. It is part of their time to first token.",
            queries=(
                Query(
                    "histogram_quantile(0.95, sum by (model, class, le) "
                    f"(rate(penstock_queue_wait_seconds_bucket{{{_GATEWAY}}}[{_W}]))) >= 0",
                    "{{model}} {{class}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            title="Turned away by the queue",
            description="Requests refused with 503, by class and reason: full, waited as long as they may, made room "
            "for a higher class, no engine.",
            queries=(
                Query(
                    f"sum by (class, reason) (rate(penstock_shed_total{{{_GATEWAY}}}[{_W}])) > 0",
                    "{{class}} {{reason}}",
                ),
            ),
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            title="Running and waiting",
            description="Requests inside the engines. Waiting ones are late by the time that they wait.",
            queries=(
                Query(f"sum by (model) (vllm:num_requests_running{{{_ENGINE}}})", "{{model}} running"),
                Query(f"sum by (model) (vllm:num_requests_waiting{{{_ENGINE}}})", "{{model}} waiting"),
            ),
        ),
        Panel(
            title="KV cache in use",
            description="Of each engine. Full is good as long as nothing waits.",
            queries=(Query(f"max by (model, pod) (vllm:kv_cache_usage_perc{{{_ENGINE}}})", "{{model}} {{pod}}"),),
            unit="percentunit",
        ),
        Panel(
            title="Preemptions per second",
            description="Running requests that lost their place and begin again: computed twice.",
            queries=(_by_model("sum", "vllm:num_preemptions_total", _ENGINE, rate=True),),
        ),
    ),
)
_ROUTING = Group(
    title="Routing, limits and use",
    panels=(
        Panel(
            title="Requests by endpoint",
            description="Where the gateways sent them. Uneven is right where prompts share beginnings, or engines "
            "differ.",
            queries=(
                Query(
                    f"sum by (model, endpoint) (rate(penstock_endpoint_dispatched_total{{{_GATEWAY}}}[{_W}]))",
                    "{{model}} {{endpoint}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            title="Endpoints that are not well",
            description="By condition, as the gateway sees it that sees most of them so: out and trial get no requests "
            "but one that tries them; slow and recovering get fewer.",
            queries=(
                Query(
                    "max by (model, condition) (sum by (model, condition, pod) "
                    f'(penstock_endpoint_condition{{{_GATEWAY},condition!="well"}})) > 0',
                    "{{model}} {{condition}}",
                ),
            ),
        ),
        Panel(
            title="Taken out of use, retries refused",
            description="In five minutes: how often endpoints were taken out, and requests of any model that were not "
            "tried again because too many failed.",
            queries=(
                Query(
                    f"sum by (model, endpoint) (increase(penstock_endpoint_ejections_total{{{_GATEWAY}}}[5m])) > 0",
                    "{{model}} {{endpoint}} out",
                ),
                Query(f"sum(increase(penstock_retries_refused_total{{{_ITSELF}}}[5m]))", "retries refused"),
            ),
        ),
        Panel(
            title="Limited by tenant",
            description="Requests answered with 429: over a limit of the tenant or of its key.",
            queries=(
                Query(
                    f'sum by (tenant) (rate(penstock_requests_total{{{_GATEWAY},outcome="limited"}}[{_W}])) > 0',
                    "{{tenant}}",
                ),
            ),
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            title="Shared limits, ledger and keys",
            description="1 while every gateway reaches them. Without Redis each allows its share of a limit; without "
            "the store use waits in journals and keys stay as last read. What the file does not name is not drawn.",
            queries=(
                Query(f"min(penstock_limits_connected{{{_ITSELF}}})", "limits"),
                Query(f"min(penstock_ledger_connected{{{_ITSELF}}})", "ledger"),
                Query(f"min(penstock_store_connected{{{_ITSELF}}})", "store of keys"),
            ),
        ),
        Panel(
            title="Use not in the store yet",
            description="Finished requests in each gateway's journal: a batch, unless the store is away.",
            queries=(Query(f"sum by (pod) (penstock_ledger_waiting_requests{{{_ITSELF}}})", "{{pod}}"),),
        ),
    ),
)
_GPU = Group(
    title="GPUs",
    needs_gpu_metrics=True,
    panels=(
        Panel(
            title="GPU in use",
            description="Share of time in which the GPU's engines worked. Near 1 is the healthy state under load: "
            "neither a reason to scale nor to worry.",
            queries=(Query(f"avg by (pod, gpu) (DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{_PODS}}})", "{{pod}} {{gpu}}"),),
            unit="percentunit",
        ),
        Panel(
            title="Temperature",
            description="Above 85 °C a GPU slows itself down.",
            queries=(Query(f"max by (pod, gpu) (DCGM_FI_DEV_GPU_TEMP{{{_PODS}}})", "{{pod}} {{gpu}}"),),
            unit="celsius",
        ),
        Panel(
            title="Power",
            description="Low power at full use means that the GPU waits for its memory or for others.",
            queries=(Query(f"sum by (pod, gpu) (DCGM_FI_DEV_POWER_USAGE{{{_PODS}}})", "{{pod}} {{gpu}}"),),
            unit="watt",
        ),
    ),
)
_MEMORY = Group(
    title="Out of memory and restarts",
    panels=(
        Panel(
            title="Killed for memory",
            description="Containers whose last end was OOMKilled: the node's memory, not the GPU's.",
            queries=(
                Query(
                    f'sum by (pod) (kube_pod_container_status_last_terminated_reason{{{_PODS},reason="OOMKilled"}})',
                    "{{pod}}",
                ),
            ),
        ),
        Panel(
            title="Engine restarts in an hour",
            description="How often an engine's process began anew in the same pod.",
            queries=(Query(f"sum by (model, pod) (changes(process_start_time_seconds{{{_ENGINE}}}[1h]))", "{{pod}}"),),
        ),
        Panel(
            title="Host memory",
            description="Working set of each pod: what the limit is compared with.",
            queries=(
                Query(
                    f'sum by (pod) (container_memory_working_set_bytes{{{_PODS},container!=""}})',
                    "{{pod}}",
                ),
            ),
            unit="bytes",
        ),
    ),
)
_SCALING = Group(
    title="Replicas, scaling and load duration",
    panels=(
        Panel(
            title="Replicas",
            description="What the autoscaler wants, its bounds, and what is ready.",
            queries=(
                Query(f"max by (model) (penstock_replicas_ready{{{_GATEWAY}}})", "{{model}} ready"),
                Query(
                    "max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_desired_replicas"
                    '{namespace="$namespace",horizontalpodautoscaler=~"(keda-hpa-)?$fleet-.+"})',
                    "{{horizontalpodautoscaler}} wanted",
                ),
                Query(
                    "max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_spec_max_replicas"
                    '{namespace="$namespace",horizontalpodautoscaler=~"(keda-hpa-)?$fleet-.+"})',
                    "{{horizontalpodautoscaler}} at most",
                ),
            ),
        ),
        Panel(
            title="Requests for each replica",
            description="What autoscaling goes by: running and waiting, over the engines that answer.",
            queries=(
                Query(
                    f"(sum by (model) (vllm:num_requests_running{{{_ENGINE}}}) + "
                    f"sum by (model) (vllm:num_requests_waiting{{{_ENGINE}}})) / "
                    f"(sum by (model) (up{{{_ENGINE}}}) > 0)",
                    "{{model}}",
                ),
            ),
        ),
        Panel(
            title="Load duration",
            description="Seconds from a pod's start to ready, of the pods that there are: image, weights, compilation. "
            "With what the autoscaler needs to notice it is the time to scale.",
            queries=(
                Query(
                    f"max by (pod) (kube_pod_status_ready_time{{{_PODS}}} - on (namespace, pod) "
                    f"kube_pod_start_time{{{_PODS}}})",
                    "{{pod}}",
                ),
            ),
            unit="s",
        ),
    ),
)
_TENANTS = Group(
    title="Tenants",
    panels=(
        Panel(
            title="Requests by tenant",
            description="Who calls: the tenant follows from the key.",
            queries=(Query(f"sum by (tenant) (rate(penstock_requests_total{{{_GATEWAY}}}[{_W}]))", "{{tenant}}"),),
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            title="Prompt tokens by tenant",
            description="As engines reported them.",
            queries=(Query(f"sum by (tenant) (rate(penstock_prompt_tokens_total{{{_GATEWAY}}}[{_W}]))", "{{tenant}}"),),
            unit="tps",
            is_stacked=True,
        ),
        Panel(
            title="Output tokens by tenant",
            description="Generated for each tenant: the dearer half of what they use.",
            queries=(Query(f"sum by (tenant) (rate(penstock_output_tokens_total{{{_GATEWAY}}}[{_W}]))", "{{tenant}}"),),
            unit="tps",
            is_stacked=True,
        ),
    ),
)
GROUPS = (_REQUESTS, _ERRORS, _LATENCY, _TOKENS, _QUEUE, _ROUTING, _GPU, _MEMORY, _SCALING, _TENANTS)
"""In the order in which a person asks."""
