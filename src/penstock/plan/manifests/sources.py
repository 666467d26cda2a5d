"""Where a pull puts a model below its store's folder, known before it runs. Pure.

The rule is `penstock models pull`'s: `<name>/<revision>`. A revision that only the source can tell (a branch, or none
at all) is found through the link `current` beside it, which the pull sets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Folder", "folder_of", "is_path", "store_name"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME_CHARS_MAX = 180
_SCHEMES_OF_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What is pulled, and where it then lies."""

    source: str
    """Without a revision."""
    revision: str | None
    name: str
    """Its folder in the store."""
    is_pinned: bool
    """Whether the content can only be one: the folder is then named for it."""

    @property
    def path(self) -> str:
        """Below the store's folder."""
        if self.is_pinned:
            assert self.revision is not None
            return f"{self.name}/{self.revision.replace(':', '-')}"
        return f"{self.name}/current"


def is_path(source: str) -> bool:
    """Whether it names a folder, not a place to pull from."""
    return source.startswith(("/", "./", "../", "~", "file://")) or source in (".", "..")


def folder_of(source: str, revision: str | None) -> Folder:
    """Where a source at a revision is found. A branch or tag that is named gets a folder of its own, so that two of
    them on one volume do not share a link."""
    bare, own = _split(source)
    revision = revision or own
    name = store_name(bare)
    scheme = bare.partition("://")[0] if "://" in bare else "hf"
    is_pinned = revision is not None and (
        scheme in _SCHEMES_OF_BUCKETS
        or (scheme == "hf" and _COMMIT.fullmatch(revision) is not None)
        or revision.startswith("sha256:")
    )
    if revision is not None and not is_pinned:
        name = f"{name[: _NAME_CHARS_MAX - 40]}--{_safe(revision)[:38]}"
    return Folder(source=bare, revision=revision, name=name, is_pinned=is_pinned)


def store_name(source: str) -> str:
    """The folder of a source in a store: `org/name` becomes `org--name`."""
    scheme, colon, rest = source.partition("://")
    if not colon:
        scheme, rest = "hf", source
    if is_path(source):
        return _safe(rest.rstrip("/").rpartition("/")[2])
    if scheme == "oci":
        rest = re.sub(r"(:[^/:@]+)?(@.*)?$", "", rest).partition("/")[2]
    if scheme == "hf":
        rest = rest.strip("/").partition("@")[0]
    return _safe("/".join(part for part in rest.split("/") if part))


def _split(source: str) -> tuple[str, str | None]:
    """A source without the revision that stands in it, and that."""
    if is_path(source):
        return source, None
    if source.startswith("oci://"):
        bare, at, digest = source.partition("@")
        return (bare, digest) if at else (source, None)
    if "://" in source and not source.startswith("hf://"):
        return source, None
    bare, at, revision = source.partition("@")
    return (bare, revision) if at else (source, None)


def _safe(name: str) -> str:
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip(".-") for part in name.split("/")]
    joined = "--".join(part for part in parts if part)[:_NAME_CHARS_MAX].strip(".-")
    return joined or "model"
