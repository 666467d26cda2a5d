"""Opens a source or a backup by its scheme. The libraries behind are heavy, so each is imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import assert_never

from penstock.errors import UsageError
from penstock.operate.io.storage.folders import FolderRemote, FolderVault
from penstock.operate.io.storage.remote import Remote, Vault
from penstock.operate.storage import ModelSource, Scheme

__all__ = ["open_source", "open_vault"]

_HERE = "penstock.operate.io.storage"


def open_source(source: ModelSource) -> Remote:
    """What a model is pulled from.

    Raises:
        UsageError: the source's settings are wrong.
    """
    match source.scheme:
        case Scheme.HUB:
            remote: Remote = import_module(f"{_HERE}.hub").HubRemote(source)
        case Scheme.S3 | Scheme.GCS | Scheme.AZURE:
            remote = import_module(f"{_HERE}.objects").ObjectRemote(source)
        case Scheme.OCI:
            remote = import_module(f"{_HERE}.registry").RegistryRemote(source)
        case Scheme.PATH:
            remote = FolderRemote(source)
        case _:
            assert_never(source.scheme)
    return remote


def open_vault(place: ModelSource) -> Vault:
    """Where backups are kept.

    Raises:
        UsageError: no backup is kept in such a place, or its settings are wrong.
    """
    if place.is_object_store:
        vault: Vault = import_module(f"{_HERE}.objects").ObjectVault(place)
        return vault
    if place.scheme is Scheme.PATH:
        return FolderVault(Path(place.location))
    hint = "name a folder (./backup, /mnt/backup) or an object store (s3://bucket/prefix)"
    raise UsageError(f"{place} cannot hold a backup", hint=hint)
