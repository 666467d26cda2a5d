"""Where a model comes from, read from what a person wrote: hub, object store, OCI registry, or a path.

Pure. Guarantees one reading for each text, and a folder name for each source that is one safe path component.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from penstock.errors import UsageError

__all__ = ["SOURCE_FORMS", "ModelSource", "Scheme", "parse_source", "safe_name"]

SOURCE_FORMS = (
    "org/name, hf://org/name@rev, s3://bucket/prefix, gs://…, az://…, oci://registry/repo:tag@digest, or a path"
)
_NAME_CHARS_MAX = 180
"""File systems take 255 bytes for a name; what we add around it (`.partial-`, a lock's ending) needs some of them."""
_HUB_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_OCI = re.compile(
    r"^(?P<registry>[^/@]+)/(?P<repo>[a-z0-9._/-]+?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>.+))?$"
)


class Scheme(StrEnum):
    """What speaks for the source."""

    HUB = "hf"
    S3 = "s3"
    GCS = "gs"
    AZURE = "az"
    OCI = "oci"
    PATH = "file"


_OBJECT_SCHEMES = {
    "s3": Scheme.S3,
    "s3a": Scheme.S3,
    "gs": Scheme.GCS,
    "gcs": Scheme.GCS,
    "az": Scheme.AZURE,
    "azure": Scheme.AZURE,
    "abfs": Scheme.AZURE,
    "abfss": Scheme.AZURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A place that holds one model."""

    scheme: Scheme
    location: str
    """`org/name` on the hub, `bucket/prefix` in an object store, `registry/repo` of an artifact, else a path."""
    revision: str | None = None
    """Commit, tag or branch on the hub; tag of an artifact. None: the default of the place."""
    digest: str | None = None
    """`sha256:…` of an OCI manifest where it is given: it pins what the tag may move away from."""

    @property
    def name(self) -> str:
        """What the model is called in a model store: its folder."""
        if self.scheme is Scheme.PATH:
            return safe_name(self.location.rstrip("/").rpartition("/")[2])
        if self.scheme is Scheme.OCI:
            return safe_name(self.location.partition("/")[2])
        return safe_name(self.location)

    @property
    def is_hub(self) -> bool:
        """Whether the hub's client fetches it."""
        return self.scheme is Scheme.HUB

    @property
    def is_object_store(self) -> bool:
        """Whether it lies in a bucket."""
        return self.scheme in (Scheme.S3, Scheme.GCS, Scheme.AZURE)

    @property
    def url(self) -> str:
        """The place as a URL, without the revision."""
        return f"{self.scheme}://{self.location}"

    @property
    def origin(self) -> str:
        """The source as records have it: without a revision, which they have apart."""
        return self.location if self.is_hub else self.url

    def at(self, revision: str | None) -> ModelSource:
        """The same place at another revision; itself where none is given. A digest pins an artifact beside its tag."""
        if self.scheme is Scheme.OCI and revision is not None and _DIGEST.match(revision):
            return replace(self, digest=revision)
        return replace(self, revision=revision) if revision else self

    def __str__(self) -> str:
        shown = self.location if self.scheme in (Scheme.HUB, Scheme.PATH) else self.url
        if self.scheme is Scheme.OCI:
            tag = f":{self.revision}" if self.revision else ""
            return f"{shown}{tag}{'@' + self.digest if self.digest else ''}"
        return f"{shown}@{self.revision}" if self.revision and self.scheme is Scheme.HUB else shown


def safe_name(name: str) -> str:
    """`name` as one component of a path: `org/name` becomes `org--name`; never empty, hidden, `.` or `..`."""
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip(".-") for part in name.split("/")]
    joined = "--".join(part for part in parts if part)[:_NAME_CHARS_MAX].strip(".-")
    return joined or "model"


def parse_source(text: str) -> ModelSource:
    """Reads a source as `penstock models pull` and the fleet file take it.

    Raises:
        UsageError: it is none; the message says what is wrong with it.
    """
    text = text.strip()
    if not text or any(ord(c) < 32 for c in text):
        raise UsageError("a model's source is empty or holds control characters", hint=f"a source is {SOURCE_FORMS}")
    scheme, colon, rest = text.partition("://")
    if colon and scheme in _OBJECT_SCHEMES:
        return _object_store(_OBJECT_SCHEMES[scheme], text)
    match scheme if colon else "":
        case "hf":
            return _hub(rest, text)
        case "oci":
            return _oci(rest, text)
        case "file":
            return _file(text)
        case "":
            return _bare(text)
        case _:
            raise UsageError(f"{text!r}: no model is read from {scheme}://", hint=f"a source is {SOURCE_FORMS}")


def _bare(text: str) -> ModelSource:
    if text.startswith(("/", "./", "../", "~/")) or text in (".", "..", "~"):
        return ModelSource(scheme=Scheme.PATH, location=text)
    return _hub(text, text)


def _hub(rest: str, text: str) -> ModelSource:
    location, at, revision = rest.strip("/").partition("@")
    if not _HUB_NAME.match(location) or "--" in location or ".." in location or len(location) > 96:
        raise UsageError(
            f"{text!r} is not a hub name: it must read org/name, with letters, digits, `.`, `_` and `-`",
            hint=f"a source is {SOURCE_FORMS}; a folder is written ./{text}" if "/" not in text[:2] else None,
        )
    if at and not revision:
        raise UsageError(f"{text!r}: nothing follows the @", hint="write a commit, tag or branch after it")
    return ModelSource(scheme=Scheme.HUB, location=location, revision=revision or None)


def _object_store(scheme: Scheme, text: str) -> ModelSource:
    parts = urlsplit(text)
    if "@" in parts.netloc and scheme is not Scheme.AZURE:
        raise UsageError(
            "an object store's URL must not hold a key or password: it would be logged",
            hint="give keys by environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the pod's own identity",
        )
    if not parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"{text!r} must read {scheme}://BUCKET/PREFIX", hint="without ? and #")
    prefix = "/".join(part for part in unquote(parts.path).split("/") if part)
    if any(part in (".", "..") for part in prefix.split("/")):
        raise UsageError(f"{text!r}: a prefix has no `.` and `..`")
    return ModelSource(scheme=scheme, location=f"{parts.netloc}/{prefix}" if prefix else parts.netloc)


def _oci(rest: str, text: str) -> ModelSource:
    found = _OCI.match(rest)
    hint = "as in oci://ghcr.io/org/model:v1 or oci://ghcr.io/org/model@sha256:…"
    if not found:
        raise UsageError(f"{text!r} must read oci://REGISTRY/REPOSITORY[:TAG][@DIGEST]", hint=hint)
    digest = found["digest"]
    if digest is not None and not _DIGEST.match(digest):
        raise UsageError(f"{text!r}: the digest must be sha256: and 64 hexadecimal digits", hint=hint)
    repo = found["repo"].strip("/")
    location = f"{found['registry']}/{repo}"
    return ModelSource(scheme=Scheme.OCI, location=location, revision=found["tag"], digest=digest)


def _file(text: str) -> ModelSource:
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        hint = f"file:// has three slashes: file:///{parts.netloc}{parts.path}"
        raise UsageError(f"{text!r} names the machine {parts.netloc!r}, and files are read on this one", hint=hint)
    return ModelSource(scheme=Scheme.PATH, location=unquote(parts.path) or "/")
