"""Responses that are kept in this process: all of them without a store, the last ones on their way to one with it.

Guarantees: bounded in bytes, in all and for each tenant, and in time; a tenant that stores much pushes out its own
responses and nobody else's until the whole is full. One owner; every call takes `now` in Unix seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from penstock.serve.stored import Stored

__all__ = ["KeptResponses"]

TENANT_BYTES_MAX = 64 << 20
"""Bytes of one tenant's responses: some thousand conversations."""
BYTES_MAX = 256 << 20
"""Bytes of all tenants' responses: a small part of what a gateway's container has."""


class KeptResponses:
    """Responses by tenant and id, oldest first. `dropped_total` counts those that went before their time."""

    def __init__(self, *, bytes_max: int = BYTES_MAX, tenant_bytes_max: int = TENANT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._tenant_bytes_max = tenant_bytes_max
        self._tenants: dict[str, OrderedDict[str, Stored]] = {}
        self._tenant_bytes: dict[str, int] = {}
        self._order: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.bytes = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        return len(self._order)

    def put(self, stored: Stored, now: float) -> None:
        """Keeps a response, and lets go of what is too old or too much."""
        self.take(stored.tenant, stored.id)
        if stored.size > min(self._bytes_max, self._tenant_bytes_max):
            self.dropped_total += 1
            return
        self._tenants.setdefault(stored.tenant, OrderedDict())[stored.id] = stored
        self._order[stored.tenant, stored.id] = None
        self._count(stored.tenant, stored.size)
        while self._tenant_bytes[stored.tenant] > self._tenant_bytes_max:
            self._drop(stored.tenant, next(iter(self._tenants[stored.tenant])))
        while self.bytes > self._bytes_max:
            self._drop(*next(iter(self._order)))
        self.expire(now)

    def get(self, tenant: str, response_id: str, now: float) -> Stored | None:
        """A tenant's response; None when there is none that is still valid."""
        mine = self._tenants.get(tenant)
        stored = mine.get(response_id) if mine is not None else None
        return stored if stored is not None and stored.expires > now else None

    def take(self, tenant: str, response_id: str) -> Stored | None:
        """Lets go of a response, and returns it."""
        mine = self._tenants.get(tenant)
        stored = mine.pop(response_id, None) if mine is not None else None
        if stored is None:
            return None
        del self._order[tenant, response_id]
        self._count(tenant, -stored.size)
        if not mine:
            del self._tenants[tenant], self._tenant_bytes[tenant]
        return stored

    def expire(self, now: float) -> None:
        """Lets go of what is too old. All live equally long, so the oldest go first."""
        while self._order:
            tenant, response_id = next(iter(self._order))
            if self._tenants[tenant][response_id].expires > now:
                break
            self.take(tenant, response_id)

    def oldest(self, count: int) -> list[Stored]:
        """The responses that are kept longest."""
        return [self._tenants[tenant][response_id] for tenant, response_id in islice(self._order, count)]

    def _drop(self, tenant: str, response_id: str) -> None:
        self.take(tenant, response_id)
        self.dropped_total += 1

    def _count(self, tenant: str, size: int) -> None:
        self.bytes += size
        self._tenant_bytes[tenant] = self._tenant_bytes.get(tenant, 0) + size
