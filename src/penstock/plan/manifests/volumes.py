"""Where an engine's pods find the model's files, by storage mode; and the volumes that hold them. Pure.

    shared, readOnlyMany, a claim that exists   filled by a Job (`fetch`), read-only in the engine's pods
    node                                        filled by an init container, a volume of the pod's own
    image                                       mounted by the node from an OCI artifact
    none                                        the engine downloads by itself

Guarantees: only what downloads may write; volumes that cannot be changed get a new name when their content changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.quantities import canonical
from penstock.plan.manifests.site import Site
from penstock.plan.manifests.sources import Folder, folder_of, is_path, store_name

__all__ = [
    "ADAPTERS",
    "MODELS",
    "Claims",
    "Files",
    "claims",
    "content_digest",
    "fetched",
    "files_of",
    "image_reference",
    "render_volumes",
]

MODELS = "/models"
ADAPTERS = "/adapters"
"""Where adapters are beside a model that is an image."""
_MARKER = ".penstock-model.json"
"""What a pull writes last: with it a folder is complete and verified."""
_GIB = 1 << 30
_ADAPTER_BYTES = _GIB
"""More than a LoRA of rank 64 of a 70B takes."""
_ROOM = 2.15
"""Of a shared volume: the next revision is pulled beside the one that serves, with some room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The model's files as an engine's pod sees them."""

    model: str
    """What the engine is told: a folder, or a hub name."""
    adapters: tuple[tuple[str, str], ...]
    """Name of each adapter, and its folder or hub name."""
    volumes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    """In the engine's container."""
    markers: tuple[str, ...] = ()
    """Files that must be there before the engine starts: a Job writes them."""
    pulled: tuple[Folder, ...] = ()
    """What the pod pulls itself, before the engine starts."""
    pull_mount: dict[str, Any] | None = None
    """Where to."""
    downloads: bool = False
    """Whether the engine itself reaches the hub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """PersistentVolumeClaims of a model: the one that is filled, and the one that is read."""

    filled: str
    read: str
    is_ours: bool = True


def fetched(site: Site, needs: ModelNeeds) -> tuple[Folder, ...]:
    """What has to be pulled into a volume for this model: adapters first. Nothing for what is there already."""
    if needs.is_simulated:
        return ()
    sources = [(adapter.source, adapter.revision) for adapter in needs.spec.adapters]
    sources.append((needs.spec.source_or_name, needs.spec.revision))
    if site.storage(needs).mode == "image":
        sources.pop()
    return tuple(folder_of(source, revision) for source, revision in dict.fromkeys(sources) if not is_path(source))


def content_digest(site: Site, needs: ModelNeeds, *more: str) -> str:
    """Eight hexadecimal digits that change with what is pulled, or with `more`."""
    content = [[folder.source, folder.revision or ""] for folder in fetched(site, needs)]
    return hashlib.sha256(json.dumps([content, more]).encode()).hexdigest()[:8]


def claims(site: Site, needs: ModelNeeds) -> Claims | None:
    """The model's claims; None where there are none."""
    storage = site.storage(needs)
    if needs.is_simulated:
        return None
    if storage.claim is not None:
        return Claims(filled=storage.claim, read=storage.claim, is_ours=False)
    if not fetched(site, needs):
        return None
    name = site.names[needs.spec.name]
    match storage.mode:
        case "shared":
            return Claims(filled=f"{name}-models", read=f"{name}-models")
        case "readOnlyMany":
            digest = content_digest(site, needs)
            return Claims(filled=f"{name}-load-{digest}", read=f"{name}-models-{digest}")
        case _:
            return None


def files_of(site: Site, needs: ModelNeeds) -> Files:
    """Where this model's files are in its pods."""
    spec, storage = needs.spec, site.storage(needs)
    if needs.is_simulated:
        return Files(model=spec.source_or_name, adapters=())
    adapters = tuple((a.name, _place(MODELS, a.source, a.revision)) for a in spec.adapters)
    model = _place(MODELS, spec.source_or_name, spec.revision)
    found = claims(site, needs)
    if found is not None:
        return Files(
            model=model,
            adapters=adapters,
            volumes=({"name": "models", "persistentVolumeClaim": {"claimName": found.read, "readOnly": True}},),
            mounts=(_read_only("models", MODELS),),
            markers=tuple(f"{MODELS}/{folder.path}/{_MARKER}" for folder in fetched(site, needs)),
        )
    pulled = fetched(site, needs)
    match storage.mode:
        case "node" if pulled:
            return Files(
                model=model,
                adapters=adapters,
                volumes=(_own_volume(site, needs),),
                mounts=(_read_only("models", MODELS),),
                pulled=pulled,
                pull_mount={"name": "models", "mountPath": MODELS},
            )
        case "image":
            return _as_image(site, needs, pulled)
        case "none" if pulled:
            return Files(
                model=spec.source_or_name, adapters=tuple((a.name, a.source) for a in spec.adapters), downloads=True
            )
        case _:
            return Files(model=model, adapters=adapters)


def _as_image(site: Site, needs: ModelNeeds, pulled: tuple[Folder, ...]) -> Files:
    reference = image_reference(site, needs)
    folder = f"{MODELS}/{store_name(needs.spec.source_or_name)}"
    image = Because(
        {"reference": reference or "", "pullPolicy": "IfNotPresent"},
        "An OCI artifact, pulled by the node as images are, and kept with them (Kubernetes 1.35 or newer).",
    )
    adapters = tuple((a.name, _place(ADAPTERS, a.source, a.revision)) for a in needs.spec.adapters)
    if not pulled:
        return Files(
            model=folder,
            adapters=adapters,
            volumes=({"name": "models", "image": image},),
            mounts=(_read_only("models", folder),),
        )
    size = canonical(f"{len(pulled) * _ADAPTER_BYTES // _GIB}Gi")
    return Files(
        model=folder,
        adapters=adapters,
        volumes=({"name": "models", "image": image}, {"name": "adapters", "emptyDir": {"sizeLimit": size}}),
        mounts=(_read_only("models", folder), _read_only("adapters", ADAPTERS)),
        pulled=pulled,
        pull_mount={"name": "adapters", "mountPath": ADAPTERS},
    )


def image_reference(site: Site, needs: ModelNeeds) -> str | None:
    """The artifact of `mode: image`: `storage.image`, else an `oci://` source."""
    stated = site.storage(needs).image
    source = needs.spec.source_or_name
    return stated or (source.removeprefix("oci://") if source.startswith("oci://") else None)


def _place(root: str, source: str, revision: str | None) -> str:
    return source if is_path(source) else f"{root}/{folder_of(source, revision).path}"


def _read_only(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}


def _own_volume(site: Site, needs: ModelNeeds) -> dict[str, Any]:
    labels = site.metadata("models", "unused", site.names[needs.spec.name])["labels"]
    spec = _claim_spec(site, needs, "ReadWriteOnce", _size(site, needs, times=1.15))
    template = {"metadata": {"labels": labels}, "spec": spec}
    reason = "A volume of this pod's own, on its node where the StorageClass is a local one; it goes with the pod."
    return {"name": "models", "ephemeral": Because({"volumeClaimTemplate": template}, reason)}


def render_volumes(site: Site, needs: ModelNeeds) -> Iterator[Manifest]:
    """The claims that are ours."""
    found = claims(site, needs)
    if found is None or not found.is_ours:
        return
    what = needs.spec.name
    if found.filled == found.read:
        reason = "Many nodes read it, and a Job writes the next revision beside the one that serves."
        spec = _claim_spec(site, needs, Because("ReadWriteMany", reason), _size(site, needs, times=_ROOM))
        yield _claim(site, needs, {"name": found.filled, "spec": spec}, Wave.STORE, f"The files of {what}.")
        return
    size = _size(site, needs, times=1.15)
    why = "One node writes it, once. Its name changes with what is in it, as a clone is of one moment."
    spec = _claim_spec(site, needs, Because("ReadWriteOnce", why), size)
    heading = f"Where the files of {what} are loaded to."
    yield _claim(site, needs, {"name": found.filled, "spec": spec}, Wave.STORE, heading)
    spec = _claim_spec(site, needs, Because("ReadOnlyMany", "Many nodes read it, nobody writes."), size)
    reader = site.storage(needs).reader_class
    if reader is not None:
        spec["storageClassName"] = reader
    spec["dataSource"] = {"kind": "PersistentVolumeClaim", "name": found.filled}
    heading = (
        "What the engines read: a clone of the volume above. Apply it when the Job is done, not before: a clone is "
    )
    heading += "what was there at that moment."
    yield _claim(site, needs, {"name": found.read, "spec": spec}, Wave.CLONE, heading)


def _claim(site: Site, needs: ModelNeeds, claim: dict[str, Any], wave: Wave, heading: str) -> Manifest:
    own = site.names[needs.spec.name]
    metadata = site.metadata("models", claim["name"], own)
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim["spec"]}
    return Manifest(body=body, wave=wave, file=f"{own}/storage", heading=heading)


def _claim_spec(site: Site, needs: ModelNeeds, mode: Any, size: Any) -> dict[str, Any]:
    storage_class = site.storage(needs).storage_class
    return {
        "accessModes": [mode],
        **({"storageClassName": storage_class} if storage_class is not None else {}),
        "resources": {"requests": {"storage": size}},
    }


def _size(site: Site, needs: ModelNeeds, *, times: float) -> Because:
    stated = site.storage(needs).size
    if stated is not None:
        return Because(canonical(stated), "As the file says.")
    adapters = len(needs.spec.adapters) * _ADAPTER_BYTES
    gib = -(-round(needs.source_bytes * times + adapters) // _GIB) + 1
    what = "room for the next revision beside it" if times > 2 else "a little room"
    return Because(canonical(f"{gib}Gi"), f"The files are {needs.source_bytes / _GIB:.1f} GiB; with {what}.")
