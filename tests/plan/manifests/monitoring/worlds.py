"""A small fleet and everything that its Prometheus would hear of it, well or not: series for promtool.

A world is `{selector: values}`; `|` puts one over another. Values are given by the minute unless a test says
otherwise. `steady` holds a gauge, `rising` a counter.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.plan.manifests import Site
from plan.manifests.sites import OPEN, site_from

__all__ = ["FLEET", "World", "engine", "gateway", "healthy", "kubernetes", "requests", "rising", "site", "steady"]

World = dict[str, str]

FLEET = """\
  monitoring: {}
  models:
    - name: chat
      source: Qwen/Qwen3-8B
      hardware: {gpu: H100}
      objectives: {ttftMs: 500, itlMs: 50}
      autoscaling: {maxReplicas: 4}
    - name: nap
      source: Qwen/Qwen3-8B
      hardware: {gpu: H100}
      autoscaling: {minReplicas: 0, maxReplicas: 2}
"""
_HERE = 'namespace="llm",fleet="demo"'


def site(fleet: str = FLEET) -> Site:
    """`chat` with an objective, always there; `nap`, which sleeps when nobody asks."""
    return site_from(fleet + OPEN, namespace="llm")


def steady(value: float, steps: int = 120) -> str:
    return f"{value:g}x{steps}"


def rising(step: float, steps: int = 120, *, start: float = 0) -> str:
    """A counter that grows by `step` each time."""
    return f"{start:g}+{step:g}x{steps}"


def engine(pod: str = "demo-chat-7c9-abcde", model: str = "chat", steps: int = 120, **values: str) -> World:
    """What an engine says; `values` stand over its healthy ones by the metric's name without `vllm:`."""
    labels = f'{{{_HERE},component="engine",pod="{pod}",model="{model}",model_name="m",engine="0"'
    gauges = {"num_requests_running": steady(8, steps), "num_requests_waiting": steady(0, steps)}
    gauges["kv_cache_usage_perc"] = steady(0.4, steps)
    counters = {"prompt_tokens_total": rising(5000, steps), "generation_tokens_total": rising(1500, steps)}
    counters["num_preemptions_total"] = steady(0, steps)
    world = {f"vllm:{name}{labels}}}": values.get(name, text) for name, text in (gauges | counters).items()}
    for reason in ("stop", "error"):
        growth = values.get(f"finished_{reason}", rising(40, steps) if reason == "stop" else steady(0, steps))
        world[f'vllm:request_success_total{labels},finished_reason="{reason}"}}'] = growth
    target = f'{{{_HERE},component="engine",pod="{pod}",model="{model}"}}'
    world[f"up{target}"] = values.get("up", steady(1, steps))
    world[f"process_start_time_seconds{target}"] = values.get("process_start_time_seconds", steady(1000, steps))
    return world


def gateway(pod: str = "demo-gateway-1", steps: int = 120, **values: str) -> World:
    """What a gateway says of itself and of both models."""
    target = f'{_HERE},component="gateway",pod="{pod}"'
    own = {
        "up": steady(1, steps),
        "process_start_time_seconds": steady(1000, steps),
        "penstock_event_loop_lag_seconds": steady(0.001, steps),
        "penstock_log_lines_dropped_total": steady(0, steps),
        "penstock_retries_refused_total": steady(0, steps),
        "penstock_limits_connected": steady(1, steps),
        "penstock_ledger_silence_seconds": steady(0, steps),
        "penstock_ledger_journal_failed": steady(0, steps),
        "penstock_ledger_dropped_total": steady(0, steps),
    }
    world = {f"{name}{{{target}}}": values.get(name, text) for name, text in own.items()}
    ready = {"chat": values.get("chat_ready", steady(1, steps)), "nap": values.get("nap_ready", steady(0, steps))}
    for model, text in ready.items():
        world[f'penstock_replicas_ready{{{target},model="{model}"}}'] = text
        flying = values.get(f"{model}_in_flight", steady(8 if model == "chat" else 0, steps))
        world[f'penstock_in_flight_requests{{{target},model="{model}"}}'] = flying
        for traffic_class in ("interactive", "batch", "experimental"):
            queue = f'{target},model="{model}",class="{traffic_class}"'
            world[f"penstock_queue_requests{{{queue}}}"] = steady(0, steps)
            for reason in ("deadline", "evicted", "no_endpoint", "queue_full", "queue_timeout"):
                world[f'penstock_shed_total{{{queue},reason="{reason}"}}'] = steady(0, steps)
            for le in ("0.4", "0.5", "20", "40", "+Inf"):
                world[f'penstock_queue_wait_seconds_bucket{{{queue},le="{le}"}}'] = steady(0, steps)
            world[f"penstock_queue_wait_seconds_count{{{queue}}}"] = steady(0, steps)
    for endpoint in ("10.0.0.7:8000", "10.0.0.8:8000", "10.0.0.9:8000"):
        for condition in ("well", "unproven", "slow", "recovering", "out", "trial", "draining"):
            series = f'{target},model="chat",endpoint="{endpoint}",condition="{condition}"'
            world[f"penstock_endpoint_condition{{{series}}}"] = steady(float(condition == "well"), steps)
    return world


def requests(
    outcomes: Mapping[str, str],
    model: str = "chat",
    *,
    reasons: Mapping[str, str] | None = None,
    ttft: Mapping[str, str] | None = None,
) -> World:
    """Counters of finished requests by outcome, of failures by reason, and the TTFT histogram by its bounds."""
    target = f'{_HERE},component="gateway",pod="demo-gateway-1",model="{model}"'
    world = {
        f'penstock_requests_total{{{target},tenant="acme",class="interactive",outcome="{outcome}"}}': text
        for outcome, text in outcomes.items()
    }
    for reason, text in (reasons or {}).items():
        world[f'penstock_request_failures_total{{{target},outcome="x",reason="{reason}"}}'] = text
    for bound, text in (ttft or {}).items():
        name = f'penstock_ttft_seconds_bucket{{{target},le="{bound}"}}'
        world[name if bound != "count" else f"penstock_ttft_seconds_count{{{target}}}"] = text
    return world


def kubernetes(steps: int = 120, **values: str) -> World:
    """What kube-state-metrics says of both models."""
    world: World = {}
    for model, count in (("chat", 1), ("nap", 0)):
        where = f'namespace="llm",deployment="demo-{model}"'
        world[f"kube_deployment_spec_replicas{{{where}}}"] = values.get(f"{model}_wanted", steady(count, steps))
        world[f"kube_deployment_status_replicas_ready{{{where}}}"] = values.get(f"{model}_ready", steady(count, steps))
        hpa = f'namespace="llm",horizontalpodautoscaler="keda-hpa-demo-{model}"'
        world[f"kube_horizontalpodautoscaler_status_desired_replicas{{{hpa}}}"] = values.get(
            f"{model}_desired", steady(count, steps)
        )
        world[f"kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}}"] = steady(4, steps)
        active = f'{hpa},condition="ScalingActive",status="false"'
        world[f"kube_horizontalpodautoscaler_status_condition{{{active}}}"] = values.get(
            f"{model}_inactive", steady(0 if model == "chat" else 1, steps)
        )
    return world


def healthy(steps: int = 120) -> World:
    """Nothing to tell anybody of: `chat` serves, `nap` sleeps."""
    fine = {"0.4": rising(36, steps), "0.5": rising(40, steps), "count": rising(40, steps)}
    served = requests({"ok": rising(40, steps), "upstream_error": steady(0, steps)}, ttft=fine)
    return engine(steps=steps) | gateway(steps=steps) | served | kubernetes(steps)
