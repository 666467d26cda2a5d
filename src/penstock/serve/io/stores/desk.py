"""Where keys are made, replaced and ended: the one way to the store for the command line and the admin port.

Guarantees: a key is returned once, to whoever asked for it, and kept nowhere; what is shown of it has no key in it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from penstock.errors import UsageError
from penstock.serve.io.stores.keys import KeyStore
from penstock.serve.keys import (
    KeyChange,
    KeyForm,
    KeyRecord,
    KeyRequest,
    admit_key,
    change_key,
    form_of,
    key_text,
    new_record,
    revoke,
    rotate,
)

__all__ = ["KeyDesk", "MadeKey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A key that was just made. `key` is not shown when this object is."""

    record: KeyRecord
    key: str = field(repr=False)
    replaced: KeyRecord | None = None
    """What it takes the place of, with its end."""


class KeyDesk:
    """Changes the keys of one fleet. `served` names the models that a key may be made for; None: not checked."""

    def __init__(
        self,
        store: KeyStore,
        *,
        served: Callable[[], Iterable[str] | None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._served = served
        self._clock = clock

    async def create(self, request: KeyRequest) -> MadeKey:
        """A new key.

        Raises:
            UsageError: there can't be such a key.
            PenstockError: the store is away or can't be written.
        """
        now, key = int(self._clock()), key_text(secrets.token_bytes(32))
        record = new_record(request, key, now=now)

        def decide(others: Sequence[KeyRecord]) -> list[KeyRecord]:
            admit_key(request, others, now=now, served=self._served())
            return [record]

        admit_key(request, (), now=now, served=self._served())  # a wrong request makes no store
        await self._store.change(decide, tenant=request.tenant)
        return MadeKey(record=record, key=key)

    async def rotate(self, key_id: str, *, overlap_s: int) -> MadeKey:
        """A new key in place of another, which stays valid for `overlap_s` seconds.

        Raises:
            UsageError: there is no such key, or it can't be rotated.
            PenstockError: the store is away or can't be written.
        """
        now, key = int(self._clock()), key_text(secrets.token_bytes(32))
        written: list[KeyRecord] = []

        def decide(found: Sequence[KeyRecord]) -> list[KeyRecord]:
            written[:] = rotate(_the_one(found, key_id), key, now=now, overlap_s=overlap_s)
            return written

        await self._store.change(decide, key_id=key_id)
        return MadeKey(record=written[1], key=key, replaced=written[0])

    async def set(self, key_id: str, change: KeyChange) -> KeyRecord:
        """Changes a key's limits or class.

        Raises:
            UsageError: there is no such key, it is not valid any more, or a limit can't be.
            PenstockError: the store is away or can't be written.
        """
        written: list[KeyRecord] = []

        def decide(found: Sequence[KeyRecord]) -> list[KeyRecord]:
            written[:] = [change_key(_the_one(found, key_id), change, now=int(self._clock()))]
            return written

        await self._store.change(decide, key_id=key_id)
        return written[0]

    async def revoke(self, key_id: str) -> KeyRecord:
        """Ends a key at once; one that was revoked stays so.

        Raises:
            UsageError: there is no such key.
            PenstockError: the store is away or can't be written.
        """
        written: list[KeyRecord] = []

        def decide(found: Sequence[KeyRecord]) -> list[KeyRecord]:
            written[:] = [revoke(_the_one(found, key_id), now=int(self._clock()))]
            return written

        await self._store.change(decide, key_id=key_id)
        return written[0]

    async def records(self) -> list[KeyRecord]:
        """All keys of the fleet, ended ones too, oldest first.

        Raises:
            PenstockError: the store is away.
        """
        address = self._store.address
        if not address.is_asked and address.path is not None and not address.path.exists():
            return []
        return await self._store.records()


def _the_one(found: Sequence[KeyRecord], key_id: str) -> KeyRecord:
    if found:
        return found[0]
    if form_of(key_id) is not KeyForm.FOREIGN:
        raise UsageError(
            "That is a key, and a key is named by its id; nothing was changed.",
            hint="`keys list` tells the id by the last four characters; what was typed may stand in your shell's "
            "history now",
        )
    raise UsageError(f"The store has no key {key_id[:100]!r}; nothing was changed.", hint="`keys list` tells the ids")
