"""A bundle as a kustomization: a base, and an overlay for each cluster. Pure.

    base/                  what is the same in every cluster
    overlays/CLUSTER/      what is that cluster's own, and every image once; one's own folders begin from it

Objects keep their order, so that a volume is there before what is mounted from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.plan.manifests.emit import emit
from penstock.plan.manifests.formats.plain import HEADER, plain_files
from penstock.plan.manifests.manifest import Because, Bundle, Manifest, Wave

__all__ = ["DEFAULT_OVERLAY", "images_of", "kustomize_files"]

DEFAULT_OVERLAY = "default"
"""Name of the overlay of a fleet that runs in one cluster."""
_PATCHES = """\
# Changes of your own go into a folder of your own, whose kustomization.yaml begins from this one:
#   resources: [../overlays/NAME]
#   patches:
#     - target: {kind: Deployment, name: NAME}
#       patch: |
#         - {op: replace, path: /spec/revisionHistoryLimit, value: 1}
"""


def kustomize_files(bundles: Mapping[str, Bundle]) -> dict[str, str]:
    """Text of each file by its path, from the bundle of each cluster by its name."""
    shared = _shared(list(bundles.values()))
    base = Bundle(manifests=tuple(shared.values()))
    files = _folder("base", base, resources=[], more={})
    for cluster, bundle in bundles.items():
        own = Bundle(manifests=tuple(m for m in bundle.manifests if repr(m) not in shared))
        reason = "Every image once, as it is."
        images = {"images": Because(images_of(bundle.manifests), reason)}
        files |= _folder(f"overlays/{cluster}", own, resources=["../../base"], more=images)
    return dict(sorted(files.items()))


def images_of(manifests: Iterable[Manifest]) -> list[dict[str, str]]:
    """The images of all pods, as kustomize's `images` has them, sorted; they say what holds already."""
    found = {image for manifest in manifests for image in _images(manifest.object)}
    entries: dict[str, dict[str, str]] = {}
    for image in sorted(found):
        entry = _image(image)
        entries.setdefault(entry["name"], entry)
    several = {_image(image)["name"] for image in found if _image(image) != entries[_image(image)["name"]]}
    return [entry for name, entry in entries.items() if name not in several and len(entry) > 1]


def _shared(bundles: Sequence[Bundle]) -> dict[str, Manifest]:
    """Manifests that every bundle has, as they are, in the first one's order."""
    kept = {repr(manifest): manifest for manifest in bundles[0].manifests}
    for bundle in bundles[1:]:
        others = {repr(manifest) for manifest in bundle.manifests}
        kept = {shown: manifest for shown, manifest in kept.items() if shown in others}
    return kept


def _folder(folder: str, bundle: Bundle, *, resources: list[str], more: dict[str, Any]) -> dict[str, str]:
    plain = plain_files(bundle)
    waves: dict[str, Wave] = {}
    for manifest in bundle.manifests:
        waves.setdefault(f"{manifest.file}.yaml", manifest.wave)
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [*resources, *sorted(plain, key=lambda path: (waves[path], path))],
        **more,
    }
    head = f"# {HEADER}\n" if not more else f"# {HEADER}\n{_PATCHES}"
    text = emit(Manifest(body=body, wave=Wave.CLUSTER, file=""))
    return {f"{folder}/kustomization.yaml": head + text, **{f"{folder}/{path}": plain[path] for path in plain}}


def _images(value: Any) -> Iterable[str]:
    match value:
        case {"image": str(image), "name": str()}:
            yield image
        case dict():
            for item in value.values():
                yield from _images(item)
        case list():
            for item in value:
                yield from _images(item)


def _image(image: str) -> dict[str, str]:
    name, at, digest = image.partition("@")
    if at:
        return {"name": name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name, "digest": digest}
    base, _, tag = name.rpartition(":")
    return {"name": base, "newTag": tag} if base and "/" not in tag else {"name": name}
