"""Keys that are made rather than written into the file: their text, their record, and what may be done with them. Pure.

    psk_ + 43 letters and digits (256 random bits) + 6 letters and digits (a checksum)

Guarantees: a record never holds the key, only its SHA-256 and last four characters; a mistyped character is told from
an unknown key without asking anybody; a key that was revoked or has expired never becomes valid again. Times are Unix
seconds. Leaves keeping records to `io/stores`.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from penstock.errors import UsageError
from penstock.serve.state import rfc3339
from penstock.spec import QuotaSpec, TrafficClass

__all__ = [
    "OVERLAP_S",
    "KeyChange",
    "KeyForm",
    "KeyRecord",
    "KeyRequest",
    "Standing",
    "admit_key",
    "change_key",
    "form_of",
    "key_text",
    "limits_of",
    "limits_shown",
    "new_record",
    "next_change",
    "record_shown",
    "revoke",
    "rotate",
    "standing",
]

PREFIX = "psk_"
RANDOM_BYTES = 32
OVERLAP_S = 86_400
"""Default overlap of a rotation: a day, in which every client can be given the new key."""
NAME_CHARS_MAX = 100
LIVE_KEYS_MAX = 1000
"""Keys of one tenant that are valid at once; more are a mistake of a script."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY_CHARS = 43
"""62 ** 43 > 2 ** 256."""
_CHECK_CHARS = 6
"""62 ** 6 > 2 ** 32."""
_TENANT = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
"""As the fleet file has it."""
_NAME = re.compile(rf"[A-Za-z0-9]([A-Za-z0-9 ._@/-]{{0,{NAME_CHARS_MAX - 2}}}[A-Za-z0-9])?")


class KeyForm(StrEnum):
    """What a text looks like, before anybody is asked whether it is known."""

    WHOLE = "whole"
    """One of ours, its checksum right."""
    MISTYPED = "mistyped"
    """Begins as ours do, and can't have been made."""
    FOREIGN = "foreign"
    """Not made here: a key of the file, or of somebody else."""


class Standing(StrEnum):
    """Whether a record's key is valid at a moment."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is kept of a key."""

    id: str
    """What it is called where it is changed: `key_` and 12 hexadecimal digits."""
    tenant: str
    name: str
    """What it is called in logs and reports."""
    digest: bytes
    """SHA-256 of the key."""
    last_four: str
    """The key's last characters, so that its owner can tell it from others."""
    created: int
    expires: int | None = None
    """From this second on it is not valid; None: never."""
    revoked: int | None = None
    models: tuple[str, ...] | None = None
    """Models it may call; None: all of the tenant's."""
    successor: str = ""
    """Id of the key that a rotation put in its place."""
    limits: QuotaSpec | None = None
    """How much it may use, within what its tenant may; None: nothing of its own."""
    traffic_class: TrafficClass | None = None
    """Class of its requests; None: the tenant's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """A key that somebody asks for."""

    tenant: str
    name: str
    models: tuple[str, ...] | None = None
    expires: int | None = None
    limits: QuotaSpec | None = None
    traffic_class: TrafficClass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """What somebody wants changed of a key."""

    limits: Mapping[str, float | None]
    """Limits by their name in the fleet file; None takes one away, and what is not named stays."""
    traffic_class: TrafficClass | None = None
    """None: it stays."""
    is_class_inherited: bool = False
    """Whether it takes the tenant's class again."""


# -------------------------------------------------------------------------------------------------------- the text


def key_text(random: bytes) -> str:
    """The key of 32 random bytes; another for other bytes.

    Raises:
        ValueError: not 32 bytes.
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a key is made of {RANDOM_BYTES} random bytes, not {len(random)}")
    body = _base62(int.from_bytes(random), _BODY_CHARS)
    return PREFIX + body + _checksum(body)


def form_of(text: str) -> KeyForm:
    """What a text looks like. Any one wrong character of a key is found, and any two that changed places."""
    if not text.startswith(PREFIX):
        return KeyForm.FOREIGN
    body, check = text[len(PREFIX) : -_CHECK_CHARS], text[-_CHECK_CHARS:]
    is_whole = len(body) == _BODY_CHARS and body.isascii() and body.isalnum() and check == _checksum(body)
    return KeyForm.WHOLE if is_whole else KeyForm.MISTYPED


def _checksum(body: str) -> str:
    """CRC-32 finds every change within 32 bits in a row, so any one character and any two neighbours."""
    return _base62(zlib.crc32(body.encode("ascii")), _CHECK_CHARS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


# ------------------------------------------------------------------------------------------------------ the record


def standing(record: KeyRecord, now: float) -> Standing:
    """Whether the key of `record` is valid at `now`."""
    if record.revoked is not None:
        return Standing.REVOKED
    return Standing.EXPIRED if record.expires is not None and now >= record.expires else Standing.VALID


def next_change(records: Iterable[KeyRecord], now: float) -> float | None:
    """When the first of these keys expires after `now`; None when none will."""
    times = (r.expires for r in records if r.expires is not None and r.revoked is None and r.expires > now)
    return min(times, default=None)


def new_record(request: KeyRequest, key: str, *, now: int) -> KeyRecord:
    """The record of a key that was just made."""
    digest = hashlib.sha256(key.encode()).digest()
    return KeyRecord(
        id=f"key_{hashlib.sha256(b'id' + digest).hexdigest()[:12]}",
        tenant=request.tenant,
        name=request.name,
        digest=digest,
        last_four=key[-4:],
        created=now,
        expires=request.expires,
        models=request.models,
        limits=request.limits,
        traffic_class=request.traffic_class,
    )


def admit_key(request: KeyRequest, others: Iterable[KeyRecord], *, now: int, served: Iterable[str] | None) -> None:
    """Checks a request against the tenant's `others`, and its models against those that are `served` (None: not known).

    Raises:
        UsageError: the tenant, the name, a model or the expiry can't be, or the tenant has such a key already.
    """
    if not _TENANT.fullmatch(request.tenant):
        raise UsageError(
            f"{request.tenant!r} is no name for a tenant, so no key was made.",
            hint="at most 63 lower-case letters, digits, `.`, `_` and `-`, a letter or digit at both ends",
        )
    if not _NAME.fullmatch(request.name):
        raise UsageError(
            f"{request.name!r} is no name for a key, so none was made.",
            hint=f"at most {NAME_CHARS_MAX} letters, digits, spaces and `._@/-`, a letter or digit at both ends",
        )
    if form_of(request.name) is not KeyForm.FOREIGN:
        raise UsageError("A key can't be the name of a key: names stand in logs.", hint="name who uses it, or where")
    if request.expires is not None and request.expires <= now:
        raise UsageError(
            f"The key would have expired before it was made ({rfc3339(request.expires)}), so none was made.",
            hint="name a time to come, or leave it out for a key that does not expire",
        )
    if served is not None and (unknown := sorted(set(request.models or ()) - set(served))):
        raise UsageError(
            f"The fleet has no model {unknown[0]!r}, so no key was made for it.",
            hint=f"its models: {', '.join(sorted(served))}",
        )
    if request.models is not None and not request.models:
        raise UsageError("A key for no model can call nothing, so none was made.", hint="leave models out for all")
    live = [r for r in others if r.tenant == request.tenant and standing(r, now) is Standing.VALID]
    if same := [r for r in live if r.name == request.name and not r.successor]:
        raise UsageError(
            f"Tenant {request.tenant!r} has a valid key {request.name!r} already ({same[0].id}), so none was made.",
            hint=f"replace it with `keys rotate {same[0].id}`, or choose another name",
        )
    if len(live) >= LIVE_KEYS_MAX:
        raise UsageError(
            f"Tenant {request.tenant!r} has {len(live)} valid keys, the most that one may have; none was made.",
            hint="revoke those that nobody uses",
        )


def rotate(old: KeyRecord, key: str, *, now: int, overlap_s: int) -> tuple[KeyRecord, KeyRecord]:
    """`old` as it ends after the overlap, and the record of `key` in its place: same tenant, name, models, limits and
    class, and the same lifetime from now on, if it had one.

    Raises:
        UsageError: `old` is not valid any more, has been rotated already, or the overlap is negative.
    """
    state = standing(old, now)
    if state is not Standing.VALID:
        raise UsageError(
            f"Key {old.name!r} ({old.id}) is {state}: there is nothing to rotate.", hint="make a new one: `keys create`"
        )
    if old.successor:
        raise UsageError(
            f"Key {old.name!r} ({old.id}) has been rotated already: {old.successor} took its place.",
            hint=f"rotate that one, or end this one now with `keys revoke {old.id}`",
        )
    if overlap_s < 0:
        raise UsageError("An overlap is not negative.", hint="0 ends the old key at once")
    expires = None if old.expires is None else now + (old.expires - old.created)
    request = KeyRequest(
        tenant=old.tenant,
        name=old.name,
        models=old.models,
        expires=expires,
        limits=old.limits,
        traffic_class=old.traffic_class,
    )
    new = new_record(request, key, now=now)
    end = now + overlap_s
    return replace(old, expires=end if old.expires is None else min(old.expires, end), successor=new.id), new


def revoke(record: KeyRecord, *, now: int) -> KeyRecord:
    """The record of a key that is valid no more. One that was revoked stays as it is."""
    return record if record.revoked is not None else replace(record, revoked=now)


def limits_of(limits: Mapping[str, float | None]) -> QuotaSpec | None:
    """Limits by their name in the fleet file, `requestsPerMinute` for one; None where none is left.

    Raises:
        UsageError: there is no such limit, or it can't be so much.
    """
    given = {name: value for name, value in limits.items() if value is not None}
    try:
        spec = QuotaSpec.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])[:60] if first["loc"] else "limits"
        names = ", ".join(field.alias or key for key, field in QuotaSpec.model_fields.items())
        raise UsageError(
            f"`{name}` is no limit that a key can have: {first['msg']}.", hint=f"limits: {names}"
        ) from error
    return spec if given else None


def limits_shown(limits: QuotaSpec | None) -> dict[str, float]:
    """Limits as the fleet file has them; those that are not set are left out."""
    return {} if limits is None else limits.model_dump(by_alias=True, exclude_none=True)


def change_key(record: KeyRecord, change: KeyChange, *, now: int) -> KeyRecord:
    """The record with what was asked for.

    Raises:
        UsageError: the key is not valid any more, or a limit can't be.
    """
    state = standing(record, now)
    if state is not Standing.VALID:
        raise UsageError(
            f"Key {record.name!r} ({record.id}) is {state}: nothing of it can be changed.", hint="make a new one"
        )
    limits = limits_of({**limits_shown(record.limits), **change.limits})
    kept = None if change.is_class_inherited else record.traffic_class
    return replace(record, limits=limits, traffic_class=change.traffic_class or kept)


def record_shown(record: KeyRecord, now: float) -> dict[str, Any]:
    """A record as people and programs see it: nothing a key could be found by."""
    times: Mapping[str, int | None] = {
        "created": record.created,
        "expires": record.expires,
        "revoked": record.revoked,
    }
    return {
        "id": record.id,
        "tenant": record.tenant,
        "name": record.name,
        "last_four": record.last_four,
        "standing": standing(record, now).value,
        **{name: None if at is None else rfc3339(at) for name, at in times.items()},
        "models": None if record.models is None else list(record.models),
        "successor": record.successor or None,
        "limits": limits_shown(record.limits),
        "class": record.traffic_class,
    }
