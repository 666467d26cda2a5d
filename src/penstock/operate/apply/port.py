"""What we need of a Kubernetes API: the port. `operate/io/kubernetes` speaks it to a cluster.

Every method raises `ApiFailure` where the cluster refuses or cannot be asked, after the tries that make sense.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from penstock.operate.apply.objects import Object, Ref

__all__ = ["Applied", "Event", "KubeApi", "Listing", "Propagation", "Resource"]

Propagation = Literal["Foreground", "Background", "Orphan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """How a kind is addressed."""

    api_version: str
    kind: str
    plural: str
    is_namespaced: bool

    @property
    def qualified(self) -> str:
        """As RBAC and kubectl call it: `deployments.apps`."""
        group, slash, _ = self.api_version.partition("/")
        return f"{self.plural}.{group}" if slash else self.plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The objects of a kind, and the place in the history that they are of."""

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """An object after it was applied, or would be."""

    object: Object
    is_new: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of a watched kind. `type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Object


class KubeApi(Protocol):
    """One cluster."""

    @property
    def context(self) -> str:
        """The context of the kubeconfig; empty inside a cluster."""

    @property
    def url(self) -> str:
        """Address of the API server."""

    @property
    def namespace(self) -> str:
        """The namespace that is meant where none is named."""

    async def resource(self, api_version: str, kind: str) -> Resource:
        """How a kind is addressed; asks the cluster again where it was unknown.

        Raises:
            KindAbsent: the cluster does not know it.
        """

    async def get(self, ref: Ref) -> Object | None:
        """An object, or None."""

    async def list(
        self, api_version: str, kind: str, *, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> Listing:
        """All objects of a kind that have the labels, page by page; `namespace` None: of the whole cluster."""

    async def apply(self, obj: Object, *, is_dry_run: bool = False, is_forced: bool = False) -> Applied:
        """Server-side apply with our field manager and strict validation.

        Raises:
            FieldConflict: others own fields that differ.
            Invalid: it cannot be so.
        """

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status alone, forced: nobody else writes it."""

    async def delete(self, ref: Ref, *, uid: str, propagation: Propagation = "Foreground") -> bool:
        """Deletes an object if it is still the one with this uid; whether it was there."""

    def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None,
        since: str,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Event]:
        """Changes after `since`, until cancelled; connections that end or break are taken up where they were.

        Raises:
            Stale: `since` is too old; list again.
        """

    async def log_tail(self, namespace: str, pod: str, container: str, *, lines: int = 20) -> str:
        """The last lines that a container wrote; empty where there are none."""
