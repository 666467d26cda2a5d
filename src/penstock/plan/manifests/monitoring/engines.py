"""Alerts on engines: gone, restarting, stuck, out of room. Pure.

What guides alert on and these do not: a GPU that is busy (the healthy state of continuous batching), a cache that is
full while nothing waits, a queue of twenty whatever the number of replicas.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.monitoring.recording import window_name
from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page
from penstock.plan.manifests.signals import scope
from penstock.plan.manifests.site import Site

__all__ = ["PAGES", "engine_alerts", "pod_pattern"]

_BY = "by (namespace, fleet, model)"
_BY_POD = "by (namespace, fleet, model, pod)"
_WAITING_PER_REPLICA = 5
_KV_FULL = 0.9
_PREEMPTED_SHARE = 0.05

_DOWN = Page(
    name="PenstockEngineDown",
    summary="Engine {{ $labels.pod }} of {{ $labels.model }} stopped answering",
    description="The engine answered within the last half hour and does not any more. The other replicas of "
    "{{ $labels.model }} carry its load.",
    meaning="Prometheus cannot scrape an engine that it could scrape before and whose pod is still there. A pod that "
    "is gone, as after a rollout, is not counted.",
    first="kubectl -n NAMESPACE describe pod POD | tail -30",
    causes=(
        Cause(
            "The process crashed and loads again.", "Read why: `kubectl -n NAMESPACE logs POD --previous | tail -50`."
        ),
        Cause("It was killed for memory: `OOMKilled` in the pod's last state.", "See PenstockOutOfMemory."),
        Cause("The GPU failed: XID in the node's log.", "See PenstockGpuFault: drain the node."),
        Cause("The node is gone or cut off.", "`kubectl get node`; delete the pod so that it starts elsewhere."),
    ),
    wake="Not for one replica of several. PenstockModelDown wakes somebody when it was the last one.",
)
_RESTARTS = Page(
    name="PenstockEngineRestarts",
    summary="Engine {{ $labels.pod }} of {{ $labels.model }} restarted {{ $value }} times in an hour",
    description="Each restart ends the requests that the engine had and takes minutes of loading.",
    meaning="How often the engine's process began anew in the same pod within an hour, by its own start time.",
    first="kubectl -n NAMESPACE logs POD --previous | tail -50",
    causes=(
        Cause("It runs out of GPU memory under load: `CUDA out of memory`.", "Lower `contextLength` or `concurrency`."),
        Cause("It is killed for host memory: exit code 137.", "See PenstockOutOfMemory."),
        Cause(
            "The liveness probe ends it: `Liveness probe failed` in the events.",
            "The engine is stuck, not slow: keep the log and report it to the engine's makers.",
        ),
        Cause(
            "One request makes it crash: the same prompt is in the log before each end.",
            "Refuse it at the gateway; take the engine's next version.",
        ),
    ),
    wake="No, as long as other replicas carry the load.",
)
_STALLED = Page(
    name="PenstockEngineStalled",
    summary="Engine {{ $labels.pod }} of {{ $labels.model }} has requests and makes no tokens",
    description="Requests run in this engine and for five minutes it has neither read nor written a token. They wait "
    "for ever, and the gateway may send it more.",
    meaning="`vllm:num_requests_running` stays above 0 while prompt and generated tokens stand still. One engine of a "
    "data-parallel replica is enough.",
    first="kubectl -n NAMESPACE exec POD -- curl -s -m 5 -o /dev/null -w '%{http_code}' localhost:8000/health",
    causes=(
        Cause("A collective operation hangs between GPUs: one GPU at 100 %, the others idle.", "Delete the pod."),
        Cause("A GPU fell off the bus: XID 79 or 119 in the node's log.", "Drain the node, then delete the pod."),
        Cause("A bug of the engine.", "Keep `kubectl logs`, then delete the pod: a new one takes its place."),
    ),
    wake="At once where the model has one replica or several stall; deleting the pod is always right.",
)
_ERRORS = Page(
    name="PenstockEngineErrors",
    summary="{{ $labels.model }}: engines ended {{ $value | humanize }} requests with an error in 10 minutes",
    description="The engines of {{ $labels.model }} finished requests with `finish_reason: error`.",
    meaning='`vllm:request_success_total` with `finished_reason="error"`, despite its name.',
    first="kubectl -n NAMESPACE logs -l penstock.dev/fleet=FLEET,app.kubernetes.io/component=engine --since=15m | "
    "grep -i error",
    causes=(
        Cause("The model's weights are damaged or of another revision.", "`penstock models verify`, then pull again."),
        Cause("A structured-output grammar that the engine cannot compile.", "Find the caller in the gateway's log."),
        Cause("A GPU computes wrongly.", "See PenstockGpuFault."),
    ),
    wake="No; PenstockErrorBudgetBurn does where it matters.",
)
_KV = Page(
    name="PenstockKvCacheFull",
    summary="{{ $labels.pod }}: KV cache {{ $value | humanizePercentage }} full and requests wait",
    description="The engine has no room for the requests that wait; some that run may lose theirs and begin again.",
    meaning="More than 90 % of the engine's KV blocks are in use for three minutes and requests wait. A full cache "
    "alone is no fault: it means that the GPU is used well.",
    first="kubectl -n NAMESPACE logs POD | grep -E 'KV cache|GPU blocks' | head",
    causes=(
        Cause("More load than the replicas hold.", "Raise `maxReplicas` or lower `targetConcurrency`."),
        Cause("Longer prompts and answers than planned.", "Correct `demand`, and ask `penstock plan` again."),
        Cause("Too little memory left for the cache.", "`kvCacheDtype: fp8` holds twice the tokens; or a larger GPU."),
    ),
    wake="No: requests are slow, not lost.",
)
_PREEMPTIONS = Page(
    name="PenstockPreemptions",
    summary="{{ $labels.model }}: {{ $value | humanizePercentage }} of requests lost their place and begin again",
    description="The engines of {{ $labels.model }} take the KV blocks of running requests away for others; what was "
    "computed for them is computed twice.",
    meaning="Preemptions per finished request over fifteen minutes. A few in a burst are harmless.",
    first="kubectl -n NAMESPACE get hpa -l penstock.dev/fleet=FLEET",
    causes=(
        Cause("The engines run more at once than their cache holds.", "Lower `concurrency`, or give more replicas."),
        Cause("Answers are much longer than planned.", "Correct `demand.outputTokens`; bound `max_tokens`."),
    ),
    wake="No.",
)
_QUEUE = Page(
    name="PenstockQueueing",
    summary="{{ $labels.model }}: {{ $value | humanize }} requests wait for each replica",
    description="More requests come for {{ $labels.model }} than its replicas take on; first tokens are late by the "
    "time that they wait.",
    meaning="Requests that wait inside the engines, mean of two minutes, over the replicas that answer.",
    first="kubectl -n NAMESPACE get hpa,pods -l penstock.dev/fleet=FLEET",
    causes=(
        Cause("Replicas are being added and load still.", "Nothing: it ends when they are ready."),
        Cause("The model is at its most replicas.", "See PenstockScalerAtMax."),
        Cause("The autoscaler does not see it.", "See PenstockScalerBlind and PenstockScalerStuck."),
        Cause("One caller sends far more than usual.", "The dashboard's tenants tell who; limit it at the gateway."),
    ),
    wake="No; the budget alerts do where promises break.",
)
_UNSEEN = Page(
    name="PenstockEnginesNotScraped",
    summary="{{ $labels.model }} answers, but Prometheus does not see its engines",
    description="The gateway has ready endpoints of {{ $labels.model }} and Prometheus has no series of them: queue, "
    "cache and engine alerts are blind, and scaling goes by the gateway alone.",
    meaning="`penstock_replicas_ready` is above 0 and there is no `up` of an engine of the model.",
    first="kubectl -n NAMESPACE get podmonitor -l penstock.dev/fleet=FLEET -o yaml | grep -A6 'labels:'",
    causes=(
        Cause(
            "The Prometheus selects monitors by a label that ours lack.",
            "Compare `kubectl get prometheus -A -o jsonpath='{..podMonitorSelector}'` with it; set "
            "`monitoring.labels`.",
        ),
        Cause("It does not look into this namespace.", "See its `podMonitorNamespaceSelector`."),
        Cause("A network policy keeps it out.", "`monitoring.namespace` must be the namespace that it runs in."),
    ),
    wake="No.",
)
_OOM = Page(
    name="PenstockOutOfMemory",
    summary="{{ $labels.pod }} was killed for memory",
    description="The kernel ended a container of the fleet because it used more host memory than its limit. This is "
    "the node's memory, not the GPU's.",
    meaning="A container's last end was `OOMKilled` and it restarted within a quarter of an hour. Needs "
    "kube-state-metrics.",
    first="kubectl -n NAMESPACE describe pod POD | grep -B2 -A8 'Last State'",
    causes=(
        Cause("Shared memory (/dev/shm) and the page cache of the weights count too.", "Raise `resources.memory`."),
        Cause("KV blocks are offloaded to host memory.", "Count them: `resources.memory` must hold them too."),
        Cause("A leak: memory grew for days.", "Take the engine's next version; restart it at a quiet hour."),
    ),
    wake="No, unless it comes again and again: then as for PenstockModelDown.",
)
PAGES = (_DOWN, _RESTARTS, _STALLED, _ERRORS, _KV, _PREEMPTIONS, _QUEUE, _UNSEEN, _OOM)


def engine_alerts(site: Site) -> Iterator[Alert]:
    """Alerts on engines; they cover every model of the fleet."""
    engines, here = scope(site, component="engine"), scope(site)
    yield Alert(
        page=_DOWN,
        expr=f"up{{{engines}}} == 0 and max_over_time(up{{{engines}}}[30m]) == 1",
        severity="warning",
        for_s=120,
    )
    restarts = f"changes(process_start_time_seconds{{{engines}}}[1h])"
    yield Alert(page=_RESTARTS, expr=f"max {_BY_POD} ({restarts}) >= 2", severity="warning")
    yield _stalled(site)
    failed = f'vllm:request_success_total{{{engines},finished_reason="error"}}'
    yield Alert(page=_ERRORS, expr=f"sum {_BY} (increase({failed}[{window_name(site, 600)}])) >= 5", severity="warning")
    yield from _crowded(site)
    yield Alert(
        page=_UNSEEN,
        expr=f'max {_BY} (penstock_replicas_ready{{{here},model!=""}}) > 0 unless on (namespace, fleet, model) '
        f"up{{{engines}}}",
        severity="warning",
        for_s=600,
    )
    yield _oom(site)


def _stalled(site: Site) -> Alert:
    engines, w = scope(site, component="engine"), window_name(site, 300)
    by = "by (namespace, fleet, model, pod, engine)"
    tokens = f"vllm:prompt_tokens_total{{{engines}}}", f"vllm:generation_tokens_total{{{engines}}}"
    moved = " + ".join(f"sum {by} (rate({series}[{w}]))" for series in tokens)
    running = f"min {by} (min_over_time(vllm:num_requests_running{{{engines}}}[{w}])) > 0"
    return Alert(page=_STALLED, expr=f"{running}\nand {moved} == 0", severity="critical", for_s=120)


def _crowded(site: Site) -> Iterator[Alert]:
    engines, here = scope(site, component="engine"), scope(site)
    waits = f"sum {_BY_POD} (vllm:num_requests_waiting{{{engines}}}) > 0"
    usage = f"max {_BY_POD} (avg_over_time(vllm:kv_cache_usage_perc{{{engines}}}[{window_name(site, 180)}]))"
    yield Alert(page=_KV, expr=f"{usage} > {_KV_FULL:g}\nand {waits}", severity="warning", for_s=180)
    w = window_name(site, 900)
    lost = f"sum {_BY} (increase(vllm:num_preemptions_total{{{engines}}}[{w}]))"
    done = f"sum {_BY} (increase(vllm:request_success_total{{{engines}}}[{w}]))"
    yield Alert(
        page=_PREEMPTIONS,
        expr=f"{lost} / ({done} > 0) > {_PREEMPTED_SHARE:g}\nand {lost} >= 10",
        severity="warning",
        for_s=300,
    )
    waiting = f"sum {_BY} (avg_over_time(vllm:num_requests_waiting{{{engines}}}[{window_name(site, 120)}]))"
    yield Alert(
        page=_QUEUE,
        expr=f"{waiting} / (penstock:engines_up:count{{{here}}} > 0) > {_WAITING_PER_REPLICA}",
        severity="warning",
        for_s=300,
    )


def _oom(site: Site) -> Alert:
    where = f'namespace="{site.namespace}",pod=~"{pod_pattern(site)}"'
    on = "by (namespace, pod, container)"
    killed = f'kube_pod_container_status_last_terminated_reason{{{where},reason="OOMKilled"}}'
    restarts = f"kube_pod_container_status_restarts_total{{{where}}}"
    return Alert(
        page=_OOM,
        expr=f"max {on} ({killed}) == 1\nand max {on} (increase({restarts}[{window_name(site, 900)}])) > 0",
        severity="warning",
        labels={"fleet": site.name},
    )


def pod_pattern(site: Site) -> str:
    """Regular expression of the fleet's pods, for series that know no labels of ours."""
    return f"{site.name[:33].rstrip('-')}-.+"
