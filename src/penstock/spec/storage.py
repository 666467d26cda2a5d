"""Where a model's files are kept in a cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from penstock.spec.base import SpecObject, Words
from penstock.spec.quantity import ByteSize

__all__ = ["ImageReference", "ObjectName", "StorageMode", "StorageSpec"]

ObjectName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253),
    Words("a Kubernetes name: lower-case letters, digits, `-` and `.`, a letter or digit at both ends"),
]
"""Name of a Kubernetes object."""
ImageReference = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?$"),
    Words("an image or artifact, as in `ghcr.io/acme/qwen3-8b:v1`"),
]
StorageMode = Literal["shared", "readOnlyMany", "node", "image", "none"]


class StorageSpec(SpecObject):
    """Where a model's files are kept in a cluster. What a model leaves out is taken from the fleet's `storage`."""

    mode: StorageMode | None = None
    """`shared`: one volume that many nodes read and a Job fills (ReadWriteMany); `readOnlyMany`: a Job fills a
    ReadWriteOnce volume and the engines read its clone; `node`: each replica pulls into a volume of its own node;
    `image`: the files are an OCI artifact that the node mounts; `none`: the engine downloads at each start. Default:
    `shared`."""
    storage_class: ObjectName | None = None
    """StorageClass of the volumes. Default: the cluster's default class."""
    size: ByteSize | None = None
    """Size of a model's volume. Default: from the plan, with head-room."""
    claim: ObjectName | None = None
    """PersistentVolumeClaim that exists already; several models may name the same. With it none is made."""
    reader_class: ObjectName | None = None
    """`readOnlyMany` only: StorageClass of the clone. Default: `storageClass`."""
    image: ImageReference | None = None
    """`image` only: OCI artifact whose top folder holds the model's files. Default: `source`, where that is `oci://…`."""
