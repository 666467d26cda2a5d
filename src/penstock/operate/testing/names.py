"""Names, labels and annotations as the API accepts them; what is wrong with them in the real server's words. Pure.

Source: `k8s.io/apimachinery` `pkg/util/validation` and `pkg/api/validation`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.status import Cause

__all__ = ["GENERATED_CHARACTERS", "generated_name", "invalid_value", "metadata_causes", "not_supported", "required"]

GENERATED_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Of which the five random characters behind `generateName` are drawn (`util/rand`)."""
_GENERATED_PREFIX_MAX = 58
_ANNOTATIONS_BYTES_MAX = 256 * 1024
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_DNS_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_DNS_1035}')"
)
_KEY_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_KEY}')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE}')"
)
_LABEL_KINDS = {"Namespace"}
_DNS_1035_KINDS = {"Service"}
_PATH_KINDS = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def generated_name(prefix: str, random: Any) -> str:
    """`prefix` with five characters drawn from `random`."""
    return prefix[:_GENERATED_PREFIX_MAX] + "".join(random.choice(GENERATED_CHARACTERS) for _ in range(5))


def shown_value(value: Any) -> str:
    if isinstance(value, str | dict | list | bool):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return "null" if value is None else str(value)


def invalid_value(field: str, value: Any, words: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {shown_value(value)}: {words}", field)


def required(field: str, words: str = "") -> Cause:
    return Cause("FieldValueRequired", "Required value" + (f": {words}" if words else ""), field)


def not_supported(field: str, value: Any, supported: Any) -> Cause:
    words = f"Unsupported value: {shown_value(value)}: supported values: " + ", ".join(
        f'"{each}"' for each in supported
    )
    return Cause("FieldValueNotSupported", words, field)


def _name_causes(resource: Resource, name: str, field: str) -> Iterator[Cause]:
    if resource.kind in _PATH_KINDS and not resource.crd:
        if "/" in name or "%" in name or name in (".", ".."):
            yield invalid_value(
                field, name, "may not contain '/'" if "/" in name else "may not be '.', '..' or have '%'"
            )
        return
    pattern, words, limit = _SUBDOMAIN, _SUBDOMAIN_WORDS, 253
    if not resource.crd and resource.kind in _LABEL_KINDS:
        pattern, words, limit = _LABEL, _LABEL_WORDS, 63
    elif not resource.crd and resource.kind in _DNS_1035_KINDS:
        pattern, words, limit = _DNS_1035, _DNS_1035_WORDS, 63
    if len(name) > limit:
        yield invalid_value(field, name, f"must be no more than {limit} bytes")
    if not re.fullmatch(pattern, name):
        yield invalid_value(field, name, words)


def key_causes(key: str, field: str) -> Iterator[Cause]:
    """What is wrong with the key of a label or annotation."""
    prefix, slash, name = key.rpartition("/")
    if key.count("/") > 1:
        yield invalid_value(field, key, "a qualified name " + _KEY_WORDS.removeprefix("name part "))
        return
    if slash and not prefix:
        yield invalid_value(field, key, "prefix part must be non-empty")
    elif slash and not re.fullmatch(_SUBDOMAIN, prefix):
        yield invalid_value(field, key, "prefix part " + _SUBDOMAIN_WORDS)
    if not name:
        yield invalid_value(field, key, "name part must be non-empty")
    elif len(name) > 63:
        yield invalid_value(field, key, "name part must be no more than 63 bytes")
    if not re.fullmatch(_KEY, name):
        yield invalid_value(field, key, _KEY_WORDS)


def label_causes(labels: dict[str, Any] | None, field: str) -> Iterator[Cause]:
    """What is wrong with labels."""
    for key, value in sorted((labels or {}).items()):
        yield from key_causes(key, field)
        if len(value) > 63:
            yield invalid_value(field, value, "must be no more than 63 bytes")
        if not re.fullmatch(_VALUE, value):
            yield invalid_value(field, value, _VALUE_WORDS)


def metadata_causes(resource: Resource, metadata: dict[str, Any]) -> list[Cause]:
    """Everything that is wrong with an object's metadata."""
    found: list[Cause] = []
    name = metadata.get("name", "")
    if not name:
        found.append(required("metadata.name", "name or generateName is required"))
    else:
        found += _name_causes(resource, name, "metadata.name")
    found += label_causes(metadata.get("labels"), "metadata.labels")
    annotations = metadata.get("annotations") or {}
    for key in sorted(annotations):
        found += key_causes(key.lower(), "metadata.annotations")
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
    if size > _ANNOTATIONS_BYTES_MAX:
        words = f"Too long: may not be more than {_ANNOTATIONS_BYTES_MAX} bytes"
        found.append(Cause("FieldValueTooLong", words, "metadata.annotations"))
    for finalizer in metadata.get("finalizers") or ():
        found += key_causes(finalizer, "metadata.finalizers")
    controllers = [owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
    if len(controllers) > 1:
        words = "Only one reference can have Controller set to true."
        found.append(invalid_value("metadata.ownerReferences", metadata["ownerReferences"], words))
    for owner in metadata.get("ownerReferences") or ():
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                word = "version" if key == "apiVersion" else key
                found.append(invalid_value(f"metadata.ownerReferences.{key}", "", f"{word} must not be empty"))
    return found
