"""What GitOps tools want to know of a bundle: in which order it is applied. Pure.

Argo CD waits until all of one sync wave is healthy before it begins the next: with our waves, a model is downloaded
before its engines start. Jobs are plain objects and no hooks: a hook runs again with each sync, and ours is named for
what it downloads, so that it runs once for each content.
"""

from __future__ import annotations

from dataclasses import replace

from penstock.plan.manifests.manifest import Because, Bundle, Manifest

__all__ = ["SYNC_WAVE", "with_sync_waves"]

SYNC_WAVE = "argocd.argoproj.io/sync-wave"


def with_sync_waves(bundle: Bundle) -> Bundle:
    """The bundle, each object annotated with its wave."""
    return replace(bundle, manifests=tuple(_annotated(manifest) for manifest in bundle.manifests))


def _annotated(manifest: Manifest) -> Manifest:
    metadata = manifest.body["metadata"]
    known = metadata.get("annotations", {})
    annotations = {**(known.value if isinstance(known, Because) else known), SYNC_WAVE: str(int(manifest.wave))}
    return replace(manifest, body={**manifest.body, "metadata": {**metadata, "annotations": annotations}})
