"""The API keys of a fleet file in a cluster: which Secrets hold them, and what cannot be rendered. Pure.

valueFrom: {secretKeyRef: …}   a file of the gateway's pod, which sees a rotated Secret without a restart
valueFrom: {env: NAME}         key NAME of the Secret `FLEET-env`, given as an environment variable at the start
value: KEY                     refused: the file is kept in git and in a ConfigMap
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.plan.manifests.names import dns_name
from penstock.spec import Fleet
from penstock.spec.base import FieldPath, Finding
from penstock.spec.gateway import KeySpec
from penstock.spec.secrets import SecretKeyRef

__all__ = ["env_secret", "key_findings", "keys_by_secret", "keys_from_env", "ref_findings"]

_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SECRET_KEY = re.compile(r"(?!\.\.)[-._A-Za-z0-9]{1,253}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,252}")


def env_secret(fleet: Fleet) -> str:
    """Name of the Secret whose keys become environment variables of the gateway."""
    return dns_name(fleet.metadata.name, "env")


def keys_by_secret(fleet: Fleet) -> dict[str, list[str]]:
    """The keys that are read as files, by Secret, both sorted."""
    found: dict[str, set[str]] = {}
    for _, key in _keys(fleet):
        ref = key.value_from.secret_key_ref if key.value_from is not None else None
        if ref is not None:
            found.setdefault(ref.name, set()).add(ref.key)
    return {name: sorted(found[name]) for name in sorted(found)}


def keys_from_env(fleet: Fleet) -> list[str]:
    """The environment variables that hold keys, sorted."""
    names = {key.value_from.env for _, key in _keys(fleet) if key.value_from is not None}
    return sorted(name for name in names if name is not None)


def key_findings(fleet: Fleet) -> Iterator[Finding]:
    """Keys that a cluster cannot be given, each with its place in the file."""
    for at, key in _keys(fleet):
        if key.value is not None:
            message = "is a key in clear text: rendered, it would lie in a ConfigMap that many may read, and in git"
            hint = f"put it into a Secret and say `valueFrom: {{secretKeyRef: {{name: SECRET, key: {_shown(key)}}}}}`"
            yield Finding(at=(*at, "value"), message=message, hint=hint)
            continue
        source = key.value_from
        if source is not None and source.secret_key_ref is not None:
            yield from ref_findings((*at, "valueFrom", "secretKeyRef"), source.secret_key_ref)
        if source is not None and source.env is not None and not _ENV_NAME.fullmatch(source.env):
            message = "is no name that a container's environment variable and a Secret's key may both have"
            yield Finding(at=(*at, "valueFrom", "env"), message=message, hint="letters, digits and `_`, as in ACME_KEY")


def ref_findings(at: FieldPath, ref: SecretKeyRef) -> Iterator[Finding]:
    """What the API server would not take of a Secret's name and key."""
    if not _SECRET_NAME.fullmatch(ref.name):
        hint = "lower-case letters, digits, `-` and `.`, as in `penstock-keys`"
        yield Finding(at=(*at, "name"), message="is no name that a Secret may have", hint=hint)
    if not _SECRET_KEY.fullmatch(ref.key) or ref.key == ".":
        hint = "letters, digits, `-`, `_` and `.`, as in `acme-key`"
        yield Finding(at=(*at, "key"), message="is no key that a Secret may have", hint=hint)


def _keys(fleet: Fleet) -> Iterator[tuple[FieldPath, KeySpec]]:
    for place, tenant in enumerate(fleet.spec.gateway.tenants):
        for index, key in enumerate(tenant.keys):
            yield ("spec", "gateway", "tenants", place, "keys", index), key


def _shown(key: KeySpec) -> str:
    name = key.name or ""
    return name if _SECRET_KEY.fullmatch(name) else "KEY"
