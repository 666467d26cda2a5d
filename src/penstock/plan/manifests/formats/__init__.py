"""A bundle as files: plain YAML, a kustomization, a Helm chart. Pure: paths and texts, nothing written."""

from penstock.plan.manifests.formats.gitops import SYNC_WAVE, with_sync_waves
from penstock.plan.manifests.formats.helm import helm_files
from penstock.plan.manifests.formats.kustomize import DEFAULT_OVERLAY, kustomize_files
from penstock.plan.manifests.formats.plain import HEADER, plain_files, stream

__all__ = [
    "DEFAULT_OVERLAY",
    "HEADER",
    "SYNC_WAVE",
    "helm_files",
    "kustomize_files",
    "plain_files",
    "stream",
    "with_sync_waves",
]
