"""Whether the cluster has the GPUs: counted by a device plugin, driven well enough, and free. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.facts.cuda import IMAGE_CUDA_MAJOR, driver_min, image_cuda_major
from penstock.operate.apply.objects import Object, at, labels
from penstock.operate.preflight.case import Case, failed, ok, warning, workloads_of
from penstock.operate.preflight.nodes import (
    Demand,
    Room,
    driver_major,
    gpu_nodes,
    misfit,
    number,
    place,
    pod_requests,
    rooms_of,
)
from penstock.operate.preflight.survey import Check, Status, Survey
from penstock.plan.manifests import Bundle

__all__ = ["capacity", "device_plugin", "driver", "quota"]


def device_plugin(case: Case) -> Iterator[Check]:
    """Whether nodes count the GPUs, whole or sliced, that pods ask for."""
    if case.survey.nodes is None:
        yield case.unknown("device-plugin", "nodes")
        return
    rooms = rooms_of(case.survey.nodes, (), case.site.name)
    for resource in sorted(_gpu_resources(case.bundle)):
        found = gpu_nodes(rooms, resource)
        if found:
            total = sum(room.allocatable[resource] for room in found)
            message = f"{len(found)} nodes have {total:g} {resource}"
            yield ok("device-plugin", resource, message)
            continue
        yield _no_gpus(resource, case.survey)


def _no_gpus(resource: str, survey: Survey) -> Check:
    """Why no node counts a GPU: no such node, no plugin, a plugin that does not run."""
    nodes = survey.nodes or ()
    promised = [n for n in nodes if labels(n).get("nvidia.com/gpu.present") == "true" or _has_gpu_label(n)]
    plugins = [d for d in survey.daemon_sets or () if "device-plugin" in d["metadata"]["name"]]
    message = f"no node has {resource}"
    if "/mig-" in resource:
        states = {labels(n).get("nvidia.com/mig.config.state") for n in promised} - {None}
        hint = f"label GPU nodes nvidia.com/mig.config=all-{resource.partition('mig-')[2]}"
        hint += f"; the MIG state of nodes is {', '.join(sorted(str(s) for s in states))}" if states else ""
    elif not promised:
        hint = "add nodes with GPUs; feature discovery labels them nvidia.com/gpu.present=true"
    elif not plugins and survey.daemon_sets is not None:
        hint = "nodes have GPUs and no device plugin runs: install the GPU Operator, or the device plugin alone"
    else:
        ready = sum(int(at(d, "status", "numberReady", default=0)) for d in plugins)
        hint = f"nodes have GPUs; {ready} pods of the device plugin are ready: look at their logs, and at the driver"
    return failed("device-plugin", resource, message, hint=hint)


def _has_gpu_label(node: Object) -> bool:
    return any(name.startswith(("nvidia.com/gpu.", "cloud.google.com/gke-accelerator")) for name in labels(node))


def _gpu_resources(bundle: Bundle) -> set[str]:
    found: set[str] = set()
    for _, template, _ in workloads_of(bundle):
        found |= {name for name in pod_requests(template["spec"]) if "/" in name}
    return found


def driver(case: Case) -> Iterator[Check]:
    """Whether drivers are new enough for the engines' images."""
    if case.survey.nodes is None:
        return
    wanted: dict[int, str] = {}
    for needs in case.site.needs.values():
        image = case.site.engine_image(needs)
        is_known = image.startswith("vllm/vllm-openai:")
        cuda = image_cuda_major(image.rpartition(":")[2]) or (IMAGE_CUDA_MAJOR if is_known else None)
        if cuda is not None and needs.spec.engine.type != "simulated":
            wanted.setdefault(driver_min(cuda), f"{image} is built for CUDA {cuda}")
    for least, why in sorted(wanted.items(), reverse=True)[:1]:
        known = {n["metadata"]["name"]: found for n in case.survey.nodes if (found := driver_major(n)) is not None}
        old = sorted(name for name, found in known.items() if found < least)
        if old:
            message = f"{len(old)} nodes have a driver older than {least} ({', '.join(old[:5])}), and {why}"
            hint = f"upgrade the driver to {least} or newer, or name an engine image of an older CUDA"
            yield failed("driver", "", message, hint=hint)
        elif known:
            message = f"drivers are {least} or newer on {len(known)} nodes"
            yield ok("driver", "", message)
        else:
            message = f"no node says its driver; {least} or newer is needed, since {why}"
            yield Check(id="driver", about="", status=Status.UNKNOWN, message=message, hint="run with --gpu-test")


def capacity(case: Case) -> Iterator[Check]:
    """Whether every pod with GPUs finds a node, beside what runs already."""
    if case.survey.nodes is None or case.survey.pods is None:
        yield case.unknown("gpu-capacity", "nodes" if case.survey.nodes is None else "pods")
        return
    rooms = rooms_of(case.survey.nodes, case.survey.pods, case.site.name)
    pods = [
        (obj["metadata"]["name"], demand)
        for obj, template, count in workloads_of(case.bundle)
        for demand in [_demand(template)] * count
        if any("/" in name for name in demand.requests)
    ]
    homeless, _ = place(rooms, [demand for _, demand in pods])
    missing = {pods[number][0] for number in homeless}
    for name in dict.fromkeys(name for name, _ in pods):
        count = sum(1 for other, _ in pods if other == name)
        if name not in missing:
            message = f"all {count} pods find a node" if count > 1 else "its pod finds a node"
            yield ok("gpu-capacity", name, message)
            continue
        lost = sum(1 for number in homeless if pods[number][0] == name)
        demand = next(demand for other, demand in pods if other == name)
        yield _no_room(name, demand, f"{lost} of {count} pods", rooms)


def _demand(template: Object) -> Demand:
    spec = template["spec"]
    return Demand(
        requests=pod_requests(spec),
        node_selector=at(spec, "nodeSelector", default={}),
        tolerations=at(spec, "tolerations", default=()),
    )


def _no_room(name: str, demand: Demand, which: str, rooms: list[Room]) -> Check:
    reasons: dict[str, int] = {}
    for room in rooms:
        reason = misfit(room, demand) or _full(room, demand)
        reasons[reason] = reasons.get(reason, 0) + 1
    told = "; ".join(f"{count} nodes: {reason}" for reason, count in sorted(reasons.items(), key=lambda r: -r[1])[:4])
    is_full = any(not misfit(room, demand) for room in rooms)
    hint = "add nodes, or lower `replicas`" if is_full else "add nodes that fit, or change `hardware`"
    return Check(
        id="gpu-capacity",
        about=name,
        status=Status.WARNING if is_full else Status.FAILED,
        message=f"{which} find no node: {told or 'there is none'}",
        hint=f"{hint}; a node autoscaler may bring them",
    )


def _full(room: Room, demand: Demand) -> str:
    for resource, amount in demand.requests.items():
        if room.free.get(resource, 0.0) < amount:
            return f"its {resource} is taken"
    return "others of the fleet take its place"


def quota(case: Case) -> Iterator[Check]:
    """Whether the namespace's quotas have room for all pods of the fleet."""
    total: dict[str, float] = {}
    for _, template, count in workloads_of(case.bundle):
        for name, amount in pod_requests(template["spec"]).items():
            total[f"requests.{name}"] = total.get(f"requests.{name}", 0.0) + amount * count
    for entry in case.survey.quotas or ():
        yield from _of_quota(entry, total)


def _of_quota(entry: Object, total: Mapping[str, float]) -> Iterator[Check]:
    hard, used = at(entry, "status", "hard", default={}), at(entry, "status", "used", default={})
    owner = entry["metadata"]["name"]
    for name, amount in sorted(total.items()):
        if name not in hard:
            continue
        allowed = f"the ResourceQuota {owner} allows {hard[name]} {name}"
        if amount > number(hard[name]):
            message = f"{allowed}; the fleet asks for {amount:g}"
            yield failed("quota", name, message, hint="raise it, or ask for less")
        elif amount > number(hard[name]) - number(used.get(name, "0")):
            message = f"{allowed}, of which {used[name]} are used; the fleet asks for {amount:g}"
            yield warning("quota", name, message, hint="fine where those that are used are its own")
