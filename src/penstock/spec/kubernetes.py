"""How the fleet runs in a cluster: images, secrets, who is let in. All of it has a default; `up` reads none of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from penstock.spec.base import SpecObject, Words
from penstock.spec.placement import LabelKey, LabelValue
from penstock.spec.secrets import SecretKeyRef
from penstock.spec.storage import ObjectName

__all__ = ["ClusterSpec", "ExternalSecretsSpec", "KubernetesSpec"]

Image = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?$"),
    Words("a container image, as in `ghcr.io/penstock-dev/penstock:0.1.0`"),
]


class ExternalSecretsSpec(SpecObject):
    """Secrets are fetched by the External Secrets operator; else they must be there."""

    store: ObjectName
    """Name of the SecretStore."""
    store_kind: Literal["SecretStore", "ClusterSecretStore"] = "ClusterSecretStore"
    """Kind of the store."""
    prefix: str = ""
    """What stands before a Secret's name in the store, as in `team-a/`."""
    refresh_s: Annotated[int, Field(ge=60)] = 3600
    """Time between two looks at the store."""


class ClusterSpec(SpecObject):
    """One of several clusters that the fleet runs in."""

    name: ObjectName
    """What it is called in reports and folders."""
    context: str | None = None
    """Its context in the kubeconfig. Default: `name`."""
    models: list[str] | None = None
    """Models that run there, by name. Default: all."""
    gateway_url: Annotated[str, Field(pattern=r"^https?://[^\s/]+$")] | None = None
    """Address of its gateway for the other clusters, as in `https://llm.eu.example.com`."""


class KubernetesSpec(SpecObject):
    """How the fleet runs in a cluster."""

    image: Image | None = None
    """Image of gateway and controller. Default: the one of this Penstock's version."""
    engine_image: Image | None = None
    """Image of every engine that names none. Default: vLLM's own of `engine.version`."""
    image_pull_secrets: list[ObjectName] = Field(default_factory=list)
    """Secrets for private registries."""
    hugging_face_token: SecretKeyRef | None = None
    """Secret with the token for gated models; only what downloads is given it."""
    external_secrets: ExternalSecretsSpec | None = None
    """Where Secrets come from. Default: they are there already."""
    network_policies: bool = True
    """Whether pods are closed off from each other but for what they need."""
    priority_classes: bool = True
    """Whether the priority classes `penstock-serving` and `penstock-batch` are made; they belong to the cluster. If
    not, they must be there."""
    controller: bool = False
    """Whether the controller runs in the cluster and keeps the fleet as the file says."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels on every object."""
