"""Which resources the API serves: names, scope, verbs and subresources of the built-in ones.

Guarantees: names as `kubectl api-resources` of a Kubernetes 1.36 cluster prints them. Leaves to others: resources that
a CustomResourceDefinition adds (`crds.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["BUILT_IN", "REVIEWS", "Resource", "singular_of"]

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind in one version, as a path of the API."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    is_namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = _VERBS
    list_kind: str = ""
    crd: str = ""
    """The CustomResourceDefinition that serves it; empty for built-in kinds."""
    scale_paths: tuple[str, str, str] = (".spec.replicas", ".status.replicas", "")
    """Where a custom resource keeps its replicas, its observed replicas and its selector."""
    columns: tuple[dict[str, Any], ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_plural(self) -> tuple[str, str]:
        return self.group, self.plural

    @property
    def kind_of_list(self) -> str:
        return self.list_kind or f"{self.kind}List"

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


def singular_of(kind: str) -> str:
    return kind.lower()


def _row(row: str) -> Resource:
    """`group version kind plural scope shortnames subresources categories`, `-` for none."""
    group, version, kind, plural, scope, short, subresources, categories = row.split()

    def many(text: str) -> tuple[str, ...]:
        return () if text == "-" else tuple(text.split(","))

    return Resource(
        group="" if group == "-" else group,
        version=version,
        kind=kind,
        plural=plural,
        singular=singular_of(kind),
        is_namespaced=scope == "ns",
        short_names=many(short),
        subresources=frozenset(many(subresources)),
        categories=("api-extensions",) if categories == "ext" else many(categories),
    )


_ROWS = """
- v1 ConfigMap configmaps ns cm - -
- v1 Endpoints endpoints ns ep - -
- v1 Event events ns ev - -
- v1 LimitRange limitranges ns limits - -
- v1 Namespace namespaces cluster ns status,finalize -
- v1 Node nodes cluster no status -
- v1 PersistentVolume persistentvolumes cluster pv status -
- v1 PersistentVolumeClaim persistentvolumeclaims ns pvc status -
- v1 Pod pods ns po status,eviction,binding,log all
- v1 PodTemplate podtemplates ns - - -
- v1 ReplicationController replicationcontrollers ns rc status,scale all
- v1 ResourceQuota resourcequotas ns quota status -
- v1 Secret secrets ns - - -
- v1 Service services ns svc status all
- v1 ServiceAccount serviceaccounts ns sa - -
admissionregistration.k8s.io v1 MutatingWebhookConfiguration mutatingwebhookconfigurations cluster - - ext
admissionregistration.k8s.io v1 ValidatingWebhookConfiguration validatingwebhookconfigurations cluster - - ext
admissionregistration.k8s.io v1 ValidatingAdmissionPolicy validatingadmissionpolicies cluster - status ext
admissionregistration.k8s.io v1 ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings cluster - - ext
apiextensions.k8s.io v1 CustomResourceDefinition customresourcedefinitions cluster crd,crds status ext
apiregistration.k8s.io v1 APIService apiservices cluster - status ext
apps v1 ControllerRevision controllerrevisions ns - - -
apps v1 DaemonSet daemonsets ns ds status all
apps v1 Deployment deployments ns deploy status,scale all
apps v1 ReplicaSet replicasets ns rs status,scale all
apps v1 StatefulSet statefulsets ns sts status,scale all
autoscaling v2 HorizontalPodAutoscaler horizontalpodautoscalers ns hpa status all
batch v1 CronJob cronjobs ns cj status all
batch v1 Job jobs ns - status all
coordination.k8s.io v1 Lease leases ns - - -
discovery.k8s.io v1 EndpointSlice endpointslices ns - - -
networking.k8s.io v1 Ingress ingresses ns ing status -
networking.k8s.io v1 IngressClass ingressclasses cluster - - -
networking.k8s.io v1 NetworkPolicy networkpolicies ns netpol - -
node.k8s.io v1 RuntimeClass runtimeclasses cluster - - -
policy v1 PodDisruptionBudget poddisruptionbudgets ns pdb status -
rbac.authorization.k8s.io v1 ClusterRole clusterroles cluster - - -
rbac.authorization.k8s.io v1 ClusterRoleBinding clusterrolebindings cluster - - -
rbac.authorization.k8s.io v1 Role roles ns - - -
rbac.authorization.k8s.io v1 RoleBinding rolebindings ns - - -
resource.k8s.io v1 DeviceClass deviceclasses cluster - - -
resource.k8s.io v1 ResourceClaim resourceclaims ns - status -
resource.k8s.io v1 ResourceClaimTemplate resourceclaimtemplates ns - - -
resource.k8s.io v1 ResourceSlice resourceslices cluster - - -
scheduling.k8s.io v1 PriorityClass priorityclasses cluster pc - -
storage.k8s.io v1 CSIDriver csidrivers cluster - - -
storage.k8s.io v1 CSINode csinodes cluster - - -
storage.k8s.io v1 StorageClass storageclasses cluster sc - -
"""

BUILT_IN = tuple(_row(row) for row in _ROWS.strip().splitlines())
"""Every stored resource, in the order of discovery within its group."""


def _review(group: str, kind: str, plural: str, *, is_namespaced: bool = False) -> Resource:
    return Resource(
        group=group,
        version="v1",
        kind=kind,
        plural=plural,
        singular=singular_of(kind),
        is_namespaced=is_namespaced,
        verbs=("create",),
    )


_AUTHORIZATION = "authorization.k8s.io"
REVIEWS = (
    _review("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews"),
    _review("authentication.k8s.io", "TokenReview", "tokenreviews"),
    _review(_AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", is_namespaced=True),
    _review(_AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    _review(_AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    _review(_AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews"),
)
"""Questions: answered, not stored."""
