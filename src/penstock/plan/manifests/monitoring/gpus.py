"""Alerts on GPUs, by the GPU exporter's metrics. Pure. With `monitoring.gpuMetrics` only.

A GPU that is busy is no fault. The exporter's series name the pod that uses the GPU in one of two ways, by how it is
scraped: as `pod` (the GPU operator's) or as `exported_pod`; both are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.monitoring.engines import pod_pattern
from penstock.plan.manifests.monitoring.recording import window_name
from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page
from penstock.plan.manifests.signals import quoted
from penstock.plan.manifests.site import Site

__all__ = ["GPU_METRICS", "PAGES", "gpu", "gpu_alerts"]

GPU_METRICS = (
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_XID_ERRORS",
    "DCGM_FI_DEV_ROW_REMAP_FAILURE",
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
)
"""Those that are asked for: all in the exporter's default set, the last in the one that the GPU operator turns on."""
_TEMPERATURE_C = 85
_IDLE_SHARE = 0.01
_XIDS = (48, 63, 64, 74, 79, 94, 95, 119, 120)
"""Memory errors (48, 63, 64, 94, 95), NVLink (74), off the bus (79), its processor hangs (119, 120). Others, as 13 and
31, come from the program."""

_HOT = Page(
    name="PenstockGpuHot",
    summary="GPU {{ $labels.gpu }} on {{ $labels.Hostname }} is at {{ $value }} °C",
    description="Near its limit a GPU slows itself down: every token of {{ $labels.pod }}{{ $labels.exported_pod }} "
    "takes longer.",
    meaning="More than 85 °C for five minutes.",
    first="kubectl -n NAMESPACE exec POD -- nvidia-smi -q -d TEMPERATURE,PERFORMANCE",
    causes=(
        Cause("Fans, dust, or the room: other GPUs of the node are as hot.", "Tell who runs the machines."),
        Cause("One GPU alone: its cooler.", "Drain the node and have it looked at."),
    ),
    wake="No; tell the people of the data centre.",
)
_FAULT = Page(
    name="PenstockGpuFault",
    summary="GPU {{ $labels.gpu }} on {{ $labels.Hostname }} reports XID {{ $value }}",
    description="The driver reports a fault of the hardware. Engines on this GPU crash, hang or compute wrongly.",
    meaning="The last XID is one of 48, 63, 64, 74, 79, 94, 95, 119, 120: memory, NVLink, bus. Those that programs "
    "cause are left out.",
    first="kubectl get pods -A -o wide --field-selector spec.nodeName=NODE",
    causes=(
        Cause("79, 119, 120: the GPU is gone until the node is reset.", "Drain the node, restart it."),
        Cause("48, 94, 95: memory errors.", "Restart the pod; drain the node if it comes again."),
        Cause("74: NVLink.", "Drain the node; have it looked at."),
    ),
    wake="No, where other replicas carry the load: drain the node and let them.",
)
_ROWS = Page(
    name="PenstockGpuMemoryWorn",
    summary="GPU {{ $labels.gpu }} on {{ $labels.Hostname }} cannot replace broken memory rows",
    description="It had an uncorrectable memory error and has no spare row left for it: more will follow.",
    meaning="`DCGM_FI_DEV_ROW_REMAP_FAILURE` is set, or rows were remapped for uncorrectable errors within the last "
    "hour.",
    first="kubectl -n NAMESPACE exec POD -- nvidia-smi -q -d ROW_REMAPPER,ECC",
    causes=(
        Cause("A remap waits for a reset.", "Drain the node and restart it."),
        Cause("No rows are left.", "Have the GPU replaced."),
    ),
    wake="No.",
)
_IDLE = Page(
    name="PenstockGpuIdle",
    summary="GPU {{ $labels.gpu }} of {{ $labels.pod }}{{ $labels.exported_pod }} has done nothing for 6 hours",
    description="It is paid for and does not compute.",
    meaning="Its engines were active less than 1 % of the time, for six hours. A matter of cost, not of health.",
    first="kubectl -n NAMESPACE get hpa,pods -l penstock.dev/fleet=FLEET",
    causes=(
        Cause("Nobody uses the model.", "`autoscaling: {minReplicas: 0}` lets it sleep."),
        Cause("The model has more GPUs than it needs.", "`penstock plan` says how many it needs."),
        Cause("The gateway sends nothing there.", "See PenstockEndpointFailing."),
    ),
    wake="No.",
)
PAGES = (_HOT, _FAULT, _ROWS, _IDLE)


def gpu(site: Site, metric: str, window: str = "", function: str = "") -> str:
    """A metric of the fleet's GPUs, however the exporter is scraped."""
    namespace, pods = quoted(site.namespace), quoted(pod_pattern(site))
    direct = f"{metric}{{namespace={namespace},pod=~{pods}}}"
    exported = f"{metric}{{exported_namespace={namespace},exported_pod=~{pods}}}"
    if window:
        return f"({function}({direct}[{window}]) or {function}({exported}[{window}]))"
    return f"({direct} or {exported})"


def gpu_alerts(site: Site) -> Iterator[Alert]:
    """Alerts on GPUs."""
    labels = {"fleet": site.name}
    hot = gpu(site, "DCGM_FI_DEV_GPU_TEMP")
    yield Alert(page=_HOT, expr=f"{hot} > {_TEMPERATURE_C}", severity="warning", for_s=300, labels=labels)
    last = gpu(site, "DCGM_FI_DEV_XID_ERRORS")
    is_hardware = "\nor ".join(f"{last} == {xid}" for xid in _XIDS)
    yield Alert(page=_FAULT, expr=is_hardware, severity="warning", labels=labels)
    worn = gpu(site, "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", window_name(site, 3600), "increase")
    failed = gpu(site, "DCGM_FI_DEV_ROW_REMAP_FAILURE")
    yield Alert(page=_ROWS, expr=f"{failed} > 0\nor {worn} > 0", severity="warning", labels=labels)
    active = gpu(site, "DCGM_FI_PROF_GR_ENGINE_ACTIVE", window_name(site, 1800), "avg_over_time")
    yield Alert(page=_IDLE, expr=f"{active} < {_IDLE_SHARE:g}", severity="info", for_s=6 * 3600, labels=labels)
