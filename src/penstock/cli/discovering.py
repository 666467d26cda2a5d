"""What `penstock gateway` does in a cluster: EndpointSlices become its pools, as the supervisor's replicas do in `up`.

Guarantees: models with `endpoints` in the file keep them; a model that a changed file brings gets what is known of it
at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from penstock.cli.front_door import FrontDoor
from penstock.errors import UsageError
from penstock.serve.io.discovery import ClusterAccess, Discovery, in_cluster
from penstock.serve.platform import DiscoveryState, PlatformModel
from penstock.spec import Fleet

__all__ = ["ClusterWatch", "choose_access"]


def choose_access(choice: str, env: Mapping[str, str], fleet: Fleet) -> ClusterAccess | None:
    """What `--discover` means here; None: nobody tells the endpoints but the file.

    Raises:
        UsageError: it means nothing, or a cluster that we are not in.
    """
    if choice == "off":
        return None
    if choice.startswith(("http://", "https://")):
        parts = urlsplit(choice)
        if not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"--discover {choice}: not an address", hint="as in http://127.0.0.1:8001")
        return ClusterAccess(url=choice.rstrip("/"), namespace=fleet.metadata.namespace or "default")
    if choice not in ("auto", "kubernetes"):
        raise UsageError(f"--discover {choice}: not a source", hint="kubernetes, off, auto, or an API server's address")
    access = in_cluster(env)
    if access is None and choice == "kubernetes":
        raise UsageError(
            "--discover kubernetes: this is no pod of a cluster that has a service account's token",
            hint="set `automountServiceAccountToken: true` on the pod; elsewhere, name the address of `kubectl proxy`",
        )
    return access


class ClusterWatch:
    """Tells one gateway which endpoints its cluster has. `follow` before `run`, and again with each changed file."""

    def __init__(self, access: ClusterAccess, fleet: Fleet) -> None:
        """
        Raises:
            UsageError: the API server's certificate authority cannot be used.
        """
        self._where = f"EndpointSlices of namespace {access.namespace}"
        self._discovery = Discovery(access, fleet.metadata.name, self._changed)
        self._models: dict[str, str] = {}
        self._platform: dict[str, PlatformModel] = {}
        self._door: FrontDoor

    @property
    def state(self) -> DiscoveryState:
        """How well the endpoints are known."""
        return self._discovery.state

    async def run(self) -> None:
        """Follows the cluster until cancelled."""
        await self._discovery.run()

    def follow(self, fleet: Fleet, door: FrontDoor) -> None:
        """Takes the models of a file: those without `endpoints` are looked for in the cluster."""
        from penstock.plan.manifests.names import model_names  # noqa: PLC0415 — start-up time

        self._door = door
        names = model_names(fleet.metadata.name, [model.name for model in fleet.spec.models])
        self._models = {names[model.name]: model.name for model in fleet.spec.models if model.endpoints is None}
        reason = "the file names endpoints that run elsewhere"
        self._platform = {
            model.name: PlatformModel(engine_reason=reason, replicas_desired=len(model.endpoints))
            for model in fleet.spec.models
            if model.endpoints is not None
        }
        self._changed(set(self._models))

    def _changed(self, names: set[str]) -> None:
        """Some models' endpoints may have changed; `names` are those of their objects."""
        for name in sorted(names & self._models.keys()):
            model = self._models[name]
            self._door.gateway.endpoints.set_pool(model, self._discovery.slices.addresses(name))
            replicas = self._discovery.slices.replicas(name)
            self._platform[model] = PlatformModel(
                engine_reason=f"{self._where} tell its endpoints", replicas_desired=len(replicas), endpoints=replicas
            )
        self._door.tell_platform(dict(self._platform))
