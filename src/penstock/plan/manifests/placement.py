"""On which nodes an engine's pods run: the nodes of their GPU, spot or not, apart from each other. Pure.

Guarantees: a node without labels takes the pods as long as its device plugin has the GPUs, unless the file itself asks
for labels; a pod that must not be reclaimed never runs on a node that a cloud marks as spot.
"""

from __future__ import annotations

from typing import Any, Literal

from penstock.facts.node_labels import SPOT_LABELS
from penstock.plan.manifests.manifest import Because
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.site import Site
from penstock.spec.placement import TolerationSpec

__all__ = ["PRODUCTS", "Spot", "placement", "spot_of"]

Spot = Literal["never", "allowed", "only"]

_SPOT_TAINTS = ("cloud.google.com/gke-spot", "karpenter.sh/capacity-type", "kubernetes.azure.com/scalesetpriority")
"""Taints that the clouds set on such nodes, or that Karpenter's users do: GKE and AKS by themselves."""
PRODUCTS: dict[str, tuple[str, ...]] = {
    "A100-40GB": ("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"),
    "A100-80GB": ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"),
    "A10G": ("NVIDIA-A10G",),
    "B200": ("NVIDIA-B200",),
    "H100": ("NVIDIA-H100-80GB-HBM3",),
    "H100-PCIe": ("NVIDIA-H100-PCIe",),
    "H200": ("NVIDIA-H200",),
    "L4": ("NVIDIA-L4",),
    "L40S": ("NVIDIA-L40S",),
    "RTX-4090": ("NVIDIA-GeForce-RTX-4090",),
    "T4": ("Tesla-T4",),
}
"""`nvidia.com/gpu.product` as GPU feature discovery writes it (the driver's product name), by our name of the GPU."""
_ZONE, _HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
_PRODUCT = "nvidia.com/gpu.product"
_REVISION = "pod-template-hash"


def spot_of(needs: ModelNeeds, *, is_floor: bool = False) -> Spot:
    """Where these replicas may run; those of the on-demand floor never on spot nodes."""
    return "never" if is_floor else needs.spec.scheduling.spot


def placement(
    site: Site, needs: ModelNeeds, labels: dict[str, str], *, spot: Spot, revision: str = _REVISION
) -> dict[str, Any]:
    """The fields of a pod's spec that say where it runs. `labels` find the replicas that are kept apart; `revision` is
    the label that tells a rollout's new pods from its old ones."""
    scheduling, gpus = needs.spec.scheduling, site.gpu_class(needs)
    fields: dict[str, Any] = {}
    selector = {**({} if needs.is_simulated else gpus.node_selector), **scheduling.node_selector}
    if selector:
        fields["nodeSelector"] = dict(sorted(selector.items()))
    if affinity := _node_affinity(needs, spot, names_nodes=bool(gpus.node_selector)):
        fields["affinity"] = {"nodeAffinity": affinity}
    if tolerations := _tolerations(needs, gpus.tolerations, spot):
        fields["tolerations"] = tolerations
    if spread := _spread(scheduling.spread, labels, revision):
        fields["topologySpreadConstraints"] = spread
    fields["priorityClassName"] = _priority(scheduling.priority)
    if gpus.runtime_class is not None and not needs.is_simulated:
        fields["runtimeClassName"] = gpus.runtime_class
    return fields


def _priority(priority: str) -> Because | str:
    if priority == "serving":
        return Because("penstock-serving", "Above batch work: where GPUs are short, that gives way and not this.")
    return Because("penstock-batch", "Gives way to what serves people.")


def _node_affinity(needs: ModelNeeds, spot: Spot, *, names_nodes: bool) -> dict[str, Any]:
    affinity: dict[str, Any] = {}
    match spot:
        case "never":
            reason = "Not on nodes that a cloud takes back at short notice. Nodes without these labels are fine."
            match_none = [{"key": k, "operator": "NotIn", "values": [v]} for k, v in SPOT_LABELS.items()]
            terms = Because([{"matchExpressions": match_none}], reason)
            affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
        case "only":
            reason = "Spot nodes only, whichever cloud it is: one of these labels."
            each = [{"matchExpressions": [_in(k, v)]} for k, v in SPOT_LABELS.items()]
            affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": Because(each, reason)}
        case "allowed":
            pass
    wishes: list[Any] = []
    products = PRODUCTS.get(needs.gpu.name, ())
    if products and not names_nodes and not needs.is_simulated:
        wish = {"weight": 100, "preference": {"matchExpressions": [_in(_PRODUCT, *products)]}}
        reason = (
            f"The numbers here are {needs.gpu.name}'s. A wish, as nodes have this label only where GPU feature "
            "discovery runs; `hardware.classes[].nodeSelector` makes it a must."
        )
        wishes.append(Because(wish, reason))
    if spot == "allowed":
        reason = "Cheaper nodes first; any other will do."
        mild: list[Any] = [
            {"weight": 50, "preference": {"matchExpressions": [_in(k, v)]}} for k, v in SPOT_LABELS.items()
        ]
        wishes += [Because(mild[0], reason), *mild[1:]]
    if wishes:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = wishes
    return affinity


def _in(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def _tolerations(needs: ModelNeeds, of_class: list[TolerationSpec], spot: Spot) -> list[Any]:
    found: list[Any] = []
    if not needs.is_simulated:
        key = "amd.com/gpu" if needs.gpu.vendor == "amd" else "nvidia.com/gpu"
        gpu = {"key": key, "operator": "Exists", "effect": "NoSchedule"}
        found.append(Because(gpu, "Nodes with GPUs are often kept for who asks for GPUs."))
        found += [_written(toleration) for toleration in of_class]
    if spot != "never":
        reason = "What the clouds put on nodes that they take back."
        taints = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in _SPOT_TAINTS]
        found += [Because(taints[0], reason), *taints[1:]]
    found += [_written(toleration) for toleration in needs.spec.scheduling.tolerations]
    return _once(found)


def _once(tolerations: list[Any]) -> list[Any]:
    seen: list[Any] = []
    kept: list[Any] = []
    for toleration in tolerations:
        bare = toleration.value if isinstance(toleration, Because) else toleration
        if bare not in seen:
            seen.append(bare)
            kept.append(toleration)
    return kept


def _written(toleration: TolerationSpec) -> dict[str, Any]:
    parts = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    return {name: part for name, part in parts.items() if part is not None}


def _spread(over: str, labels: dict[str, str], revision: str) -> list[Any]:
    keys = {"none": (), "host": (_HOST,), "zone": (_ZONE, _HOST)}[over]
    reason = "Apart from each other where that is possible; a replica that shares a node is better than none."
    return [
        {
            "maxSkew": Because(1, reason) if place == 0 else 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
            "matchLabelKeys": [revision]
            if place
            else Because(
                [revision], "Replicas of one revision only: in a rollout, old ones don't push new ones together."
            ),
        }
        for place, key in enumerate(keys)
    ]
