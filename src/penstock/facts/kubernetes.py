"""What Kubernetes and the clouds took away, or never had: API versions, taints, storage that one node can write.

Sources: Kubernetes' deprecated API migration guide; well-known labels, annotations and taints; the clouds' pages of
storage classes and drivers; ingress-nginx retirement notice (March 2026).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BLOCK_CLASSES", "BLOCK_DRIVERS", "GONE_APIS", "NODE_KEYS", "GoneApi", "is_known_node_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneApi:
    """An API version that a Kubernetes of `gone_in` and later refuses."""

    gone_in: str
    instead: str
    """The version to write."""
    is_same_shape: bool = False
    """Whether changing the version is all there is to do."""


GONE_APIS: dict[tuple[str, str], GoneApi] = {
    ("policy/v1beta1", "PodDisruptionBudget"): GoneApi(gone_in="1.25", instead="policy/v1", is_same_shape=True),
    ("policy/v1beta1", "PodSecurityPolicy"): GoneApi(gone_in="1.25", instead="Pod Security admission labels"),
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler"): GoneApi(gone_in="1.25", instead="autoscaling/v2"),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): GoneApi(
        gone_in="1.26", instead="autoscaling/v2", is_same_shape=True
    ),
    ("batch/v1beta1", "CronJob"): GoneApi(gone_in="1.25", instead="batch/v1", is_same_shape=True),
    ("batch/v2alpha1", "CronJob"): GoneApi(gone_in="1.21", instead="batch/v1"),
    ("extensions/v1beta1", "Deployment"): GoneApi(gone_in="1.16", instead="apps/v1"),
    ("extensions/v1beta1", "DaemonSet"): GoneApi(gone_in="1.16", instead="apps/v1"),
    ("extensions/v1beta1", "Ingress"): GoneApi(gone_in="1.22", instead="networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "Ingress"): GoneApi(gone_in="1.22", instead="networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "IngressClass"): GoneApi(gone_in="1.22", instead="networking.k8s.io/v1"),
    ("apps/v1beta1", "Deployment"): GoneApi(gone_in="1.16", instead="apps/v1"),
    ("apps/v1beta2", "Deployment"): GoneApi(gone_in="1.16", instead="apps/v1"),
    ("apps/v1beta1", "StatefulSet"): GoneApi(gone_in="1.16", instead="apps/v1"),
    ("apps/v1beta2", "StatefulSet"): GoneApi(gone_in="1.16", instead="apps/v1"),
    ("apps/v1beta2", "DaemonSet"): GoneApi(gone_in="1.16", instead="apps/v1"),
    ("storage.k8s.io/v1beta1", "StorageClass"): GoneApi(gone_in="1.22", instead="storage.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "CSIDriver"): GoneApi(gone_in="1.22", instead="storage.k8s.io/v1"),
    ("scheduling.k8s.io/v1beta1", "PriorityClass"): GoneApi(
        gone_in="1.22", instead="scheduling.k8s.io/v1", is_same_shape=True
    ),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRole"): GoneApi(
        gone_in="1.22", instead="rbac.authorization.k8s.io/v1", is_same_shape=True
    ),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding"): GoneApi(
        gone_in="1.22", instead="rbac.authorization.k8s.io/v1", is_same_shape=True
    ),
    ("rbac.authorization.k8s.io/v1beta1", "Role"): GoneApi(
        gone_in="1.22", instead="rbac.authorization.k8s.io/v1", is_same_shape=True
    ),
    ("rbac.authorization.k8s.io/v1beta1", "RoleBinding"): GoneApi(
        gone_in="1.22", instead="rbac.authorization.k8s.io/v1", is_same_shape=True
    ),
    ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition"): GoneApi(
        gone_in="1.22", instead="apiextensions.k8s.io/v1"
    ),
    ("node.k8s.io/v1beta1", "RuntimeClass"): GoneApi(gone_in="1.25", instead="node.k8s.io/v1", is_same_shape=True),
    ("discovery.k8s.io/v1beta1", "EndpointSlice"): GoneApi(gone_in="1.25", instead="discovery.k8s.io/v1"),
}
"""By version and kind."""

NODE_KEYS = frozenset(
    f"node.kubernetes.io/{name}"
    for name in (
        "not-ready", "unreachable", "memory-pressure", "disk-pressure", "pid-pressure", "network-unavailable",
        "unschedulable", "out-of-service", "instance-type", "windows-build", "exclude-from-external-load-balancers",
        "exclude-disruption", "lifecycle",
    )
)  # fmt: skip
"""Labels and taints under Kubernetes' own prefix that something sets (`lifecycle` is kOps' and eksctl's custom)."""

BLOCK_CLASSES: dict[str, str] = {
    "gp2": "EBS", "gp3": "EBS", "io1": "EBS", "io2": "EBS", "ebs-sc": "EBS", "ebs-gp3": "EBS", "auto-ebs-sc": "EBS",
    "st1": "EBS", "standard": "a persistent disk", "standard-rwo": "a GCE persistent disk",
    "premium-rwo": "a GCE persistent disk", "pd-ssd": "a GCE persistent disk", "pd-standard": "a GCE persistent disk",
    "pd-balanced": "a GCE persistent disk", "ssd": "a block disk", "managed": "an Azure disk",
    "managed-premium": "an Azure disk", "managed-csi": "an Azure disk", "managed-csi-premium": "an Azure disk",
    "default": "an Azure disk", "local-path": "a folder of one node", "local-storage": "a disk of one node",
    "hostpath": "a folder of one node", "microk8s-hostpath": "a folder of one node", "do-block-storage": "a block disk",
    "linode-block-storage": "a block disk", "oci-bv": "a block volume", "hcloud-volumes": "a block volume",
    "topolvm-provisioner": "a disk of one node",
}  # fmt: skip
"""Names of storage classes, as the clouds ship them, whose volumes one node can write, and what they are."""

BLOCK_DRIVERS: dict[str, str] = {
    "ebs.csi.aws.com": "EBS", "kubernetes.io/aws-ebs": "EBS", "ebs.csi.eks.amazonaws.com": "EBS",
    "pd.csi.storage.gke.io": "a GCE persistent disk", "kubernetes.io/gce-pd": "a GCE persistent disk",
    "disk.csi.azure.com": "an Azure disk", "kubernetes.io/azure-disk": "an Azure disk",
    "rancher.io/local-path": "a folder of one node", "dobs.csi.digitalocean.com": "a block disk",
    "csi.hetzner.cloud": "a block volume", "topolvm.io": "a disk of one node",
}  # fmt: skip
"""The same by a class's provisioner."""


def is_known_node_key(key: str) -> bool:
    """Whether a label or taint under `node.kubernetes.io/` is one that exists; others are not judged."""
    return not key.startswith("node.kubernetes.io/") or key in NODE_KEYS
