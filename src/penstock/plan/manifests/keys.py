"""The secret values of a fleet file in a cluster: keys of tenants and of providers, the admin token, passwords of the
store and of Redis, certificates; which Secrets hold them, and what cannot be rendered. Pure.

valueFrom: {secretKeyRef: …}   a file of the gateway's pod, which sees a rotated Secret without a restart
valueFrom: {env: NAME}         key NAME of the Secret `FLEET-env`, given as an environment variable at the start
value: KEY                     refused: the file is kept in git and in a ConfigMap
sslrootcert=FOLDER/NAME/KEY    in the store's URL, with the folder of the files above: key KEY of Secret NAME
caFile: secrets/NAME/KEY       of a provider: the same, beside the fleet file as the files above; another is refused
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from penstock.plan.manifests.names import dns_name
from penstock.spec import Fleet, ValueSource
from penstock.spec.base import FieldPath, Finding
from penstock.spec.gateway import KeySpec
from penstock.spec.secrets import SecretKeyRef

__all__ = [
    "CONFIG_FOLDER",
    "SECRETS_FOLDER",
    "SECRETS_VARIABLE",
    "STATE_VARIABLE",
    "ca_files",
    "env_secret",
    "key_findings",
    "keys_by_secret",
    "keys_from_env",
    "ref_findings",
    "tls_files",
]

CONFIG_FOLDER = "/etc/penstock"
SECRETS_FOLDER = f"{CONFIG_FOLDER}/secrets"
"""Holds a file SECRET/KEY for each value that a Secret gives."""
SECRETS_VARIABLE = "PENSTOCK_SECRETS_DIR"
STATE_VARIABLE = "PENSTOCK_STATE_DIR"
_OURS = frozenset({"HOME", SECRETS_VARIABLE, STATE_VARIABLE})
"""What the gateway's container sets itself."""
_TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""Options of a store's URL that name files."""
_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SECRET_KEY = re.compile(r"(?!\.\.)[-._A-Za-z0-9]{1,253}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,252}")


def env_secret(fleet: Fleet) -> str:
    """Name of the Secret whose keys become environment variables of the gateway."""
    return dns_name(fleet.metadata.name, "env")


def keys_by_secret(fleet: Fleet) -> dict[str, list[str]]:
    """The keys that are read as files, by Secret, both sorted."""
    found: dict[str, set[str]] = {}
    for _, source in _sources(fleet):
        if source.secret_key_ref is not None:
            found.setdefault(source.secret_key_ref.name, set()).add(source.secret_key_ref.key)
    for _, ref in tls_files(fleet).values():
        if ref is not None:
            found.setdefault(ref.name, set()).add(ref.key)
    for _, ref in ca_files(fleet):
        if ref is not None:
            found.setdefault(ref.name, set()).add(ref.key)
    return {name: sorted(found[name]) for name in sorted(found)}


def keys_from_env(fleet: Fleet) -> list[str]:
    """The environment variables that hold keys, sorted."""
    return sorted({source.env for _, source in _sources(fleet) if source.env is not None})


def tls_files(fleet: Fleet) -> dict[str, tuple[str, SecretKeyRef | None]]:
    """Files that the store's URL names, by option; with the Secret's key that each is, where it is one's."""
    store = fleet.spec.gateway.store
    options = dict(parse_qsl(urlsplit(store.url).query)) if store is not None else {}
    return {name: (options[name], _mounted(options[name])) for name in _TLS_FILES if options.get(name)}


def ca_files(fleet: Fleet) -> Iterator[tuple[FieldPath, SecretKeyRef | None]]:
    """Files of CAs that providers name, by their place; with the Secret's key that each is, where it is one's."""
    for place, provider in enumerate(fleet.spec.gateway.providers):
        if provider.ca_file is not None:
            file = posixpath.normpath(posixpath.join(CONFIG_FOLDER, provider.ca_file))
            yield ("spec", "gateway", "providers", place, "caFile"), _mounted(file)


def _mounted(file: str) -> SecretKeyRef | None:
    name, slash, key = file.removeprefix(f"{SECRETS_FOLDER}/").partition("/")
    is_below = file.startswith(f"{SECRETS_FOLDER}/") and slash
    if not is_below or not _SECRET_NAME.fullmatch(name) or not _SECRET_KEY.fullmatch(key) or key == ".":
        return None
    return SecretKeyRef(name=name, key=key)


def key_findings(fleet: Fleet) -> Iterator[Finding]:
    """Keys that a cluster cannot be given, each with its place in the file."""
    for at, key in _keys(fleet):
        if key.value is not None:
            message = "is a key in clear text: rendered, it would lie in a ConfigMap that many may read, and in git"
            hint = f"put it into a Secret and say `valueFrom: {{secretKeyRef: {{name: SECRET, key: {_shown(key)}}}}}`"
            yield Finding(at=(*at, "value"), message=message, hint=hint)
    for at, source in _sources(fleet):
        if source.secret_key_ref is not None:
            yield from ref_findings((*at, "secretKeyRef"), source.secret_key_ref)
        if source.env is not None and not _ENV_NAME.fullmatch(source.env):
            message = "is no name that a container's environment variable and a Secret's key may both have"
            yield Finding(at=(*at, "env"), message=message, hint="letters, digits and `_`, as in ACME_KEY")
        if source.env in _OURS:
            message = f"is {source.env}, which the gateway's container sets to something else"
            yield Finding(at=(*at, "env"), message=message, hint="another name, as in ACME_KEY")


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


def _sources(fleet: Fleet) -> Iterator[tuple[FieldPath, ValueSource]]:
    """Everything that the gateway reads from a Secret or its environment, with its place."""
    for at, key in _keys(fleet):
        if key.value_from is not None:
            yield (*at, "valueFrom"), key.value_from
    gateway = fleet.spec.gateway
    if gateway.admin_token_from is not None:
        yield ("spec", "gateway", "adminTokenFrom"), gateway.admin_token_from
    if gateway.store is not None and gateway.store.password_from is not None:
        yield ("spec", "gateway", "store", "passwordFrom"), gateway.store.password_from
    if gateway.limits.password_from is not None:
        yield ("spec", "gateway", "limits", "passwordFrom"), gateway.limits.password_from
    for place, provider in enumerate(gateway.providers):
        if provider.key_from is not None:
            yield ("spec", "gateway", "providers", place, "keyFrom"), provider.key_from


def _shown(key: KeySpec) -> str:
    name = key.name or ""
    return name if _SECRET_KEY.fullmatch(name) else "KEY"
