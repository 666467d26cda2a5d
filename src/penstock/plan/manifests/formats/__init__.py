"""A bundle as files: plain YAML, a kustomization, a Helm chart. Pure: paths and texts, nothing written."""

from penstock.plan.manifests.formats.plain import HEADER, plain_files, stream

__all__ = ["HEADER", "plain_files", "stream"]
