"""Everything a renderer reads: the fleet, what each model needs, and the settled names of one cluster. Pure.

Each module of this package has one function `Site -> Iterator[Manifest]`; `render` joins them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock import __version__
from penstock.plan.manifests.names import component_labels, fleet_labels, model_names, selector
from penstock.plan.manifests.needs import ModelNeeds
from penstock.spec import ClusterSpec, Fleet, GpuClassSpec, KubernetesSpec, StorageSpec

__all__ = ["ADMIN_PORT", "ENGINE_PORT", "GATEWAY_PORT", "Site", "site_of"]

ENGINE_PORT = 8000
GATEWAY_PORT = 8080
ADMIN_PORT = 8081


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A fleet in one cluster."""

    fleet: Fleet
    text: str
    """The fleet file as it was read: what the gateway runs on."""
    needs: Mapping[str, ModelNeeds]
    """By model name, in the order of the file: the models that run in this cluster."""
    names: Mapping[str, str]
    """Name of each model's objects, by the model's name."""
    namespace: str
    cluster: ClusterSpec | None = None
    """None: the fleet runs in one cluster only."""
    has_controller: bool = False
    calibrations: Mapping[str, str] = field(default_factory=dict)
    """Text of each file of `hardware.calibrations`, by its path beside the fleet file."""

    @property
    def name(self) -> str:
        return self.fleet.metadata.name

    @property
    def kubernetes(self) -> KubernetesSpec:
        return self.fleet.spec.kubernetes

    @property
    def image(self) -> str:
        """Image of gateway, controller and download Jobs."""
        return self.kubernetes.image or f"ghcr.io/penstock-dev/penstock:{__version__}"

    def engine_image(self, needs: ModelNeeds) -> str:
        """The engine's image: the model's, the fleet's, else vLLM's own of the version that the file means."""
        engine = needs.spec.engine
        return engine.image or self.kubernetes.engine_image or f"vllm/vllm-openai:v{engine.version}"

    def metadata(self, component: str, name: str, model: str | None = None) -> dict[str, object]:
        """`metadata` of a namespaced object. `model` is the name of the model's objects."""
        labels = component_labels(self.name, component, model, self._labels)
        return {"name": name, "namespace": self.namespace, "labels": labels}

    def fleet_metadata(self, name: str, *, is_namespaced: bool = True) -> dict[str, object]:
        """`metadata` of an object that belongs to no component."""
        place = {"namespace": self.namespace} if is_namespaced else {}
        return {"name": name, **place, "labels": fleet_labels(self.name, self._labels)}

    def selector(self, component: str, model: str | None = None) -> dict[str, str]:
        """Labels by which a component's pods are found."""
        return selector(self.name, component, model)

    def gpu_class(self, needs: ModelNeeds) -> GpuClassSpec:
        """The nodes that a model's GPUs are on; defaults where the file describes none."""
        wanted = {needs.gpu.name.lower(), *(alias.lower() for alias in needs.gpu.aliases)}
        if needs.spec.hardware is not None:
            wanted.add(needs.spec.hardware.gpu.lower())
        found = (entry for entry in self.fleet.spec.hardware.classes if entry.gpu.lower() in wanted)
        return next(found, GpuClassSpec(gpu=needs.gpu.name))

    def storage(self, needs: ModelNeeds) -> StorageSpec:
        """The model's storage over the fleet's; `mode` is always set."""
        own, shared = needs.spec.storage, self.fleet.spec.storage
        values = {
            field: getattr(own, field) if getattr(own, field) is not None else getattr(shared, field)
            for field in StorageSpec.model_fields
        }
        return StorageSpec(**{**values, "mode": values["mode"] or "shared"})

    @property
    def _labels(self) -> Mapping[str, str]:
        return {**self.fleet.metadata.labels, **self.kubernetes.labels}


def site_of(
    fleet: Fleet,
    text: str,
    needs: Mapping[str, ModelNeeds],
    *,
    namespace: str | None = None,
    cluster: ClusterSpec | None = None,
    calibrations: Mapping[str, str] | None = None,
) -> Site:
    """Settles a fleet for one cluster. `namespace` stands over the file's; without either it is `default`."""
    here = {
        name: need
        for name, need in needs.items()
        if cluster is None or cluster.models is None or name in cluster.models
    }
    return Site(
        fleet=fleet,
        text=text,
        needs=here,
        names=model_names(fleet.metadata.name, [model.name for model in fleet.spec.models]),
        namespace=namespace or fleet.metadata.namespace or "default",
        cluster=cluster,
        has_controller=fleet.spec.kubernetes.controller,
        calibrations=calibrations or {},
    )
