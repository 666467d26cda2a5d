"""How `penstock keys` and `penstock tenants` run. A key goes to stdout once and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.cli.files import read_text
from penstock.cli.key_store import open_desk, store_password, store_place
from penstock.cli.output import Output, print_json, print_table, print_text, say, warn
from penstock.serve.callers import tenants_shown
from penstock.serve.key_times import parse_expiry, parse_span
from penstock.serve.keys import KeyRecord, KeyRequest, Standing, record_shown
from penstock.spec import Fleet
from penstock.spec.loader import load_fleet

if TYPE_CHECKING:
    from penstock.serve.io.stores import KeyDesk, MadeKey

__all__ = ["KeyAsk", "run_create", "run_list", "run_revoke", "run_rotate", "run_tenants"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAsk:
    """The key that the command line asks for, as typed."""

    tenant: str
    name: str
    models: tuple[str, ...] | None
    expires: str | None


def run_create(file: str, ask: KeyAsk, output: Output) -> None:
    """Makes a key and prints it, once.

    Raises:
        UsageError: there can't be such a key.
        PenstockError: the store is away or can't be written.
    """
    fleet, desk = _open(file)
    expires = None if ask.expires is None else parse_expiry(ask.expires, int(time.time()))
    request = KeyRequest(tenant=ask.tenant, name=ask.name, models=ask.models, expires=expires)
    _print_made(asyncio.run(desk.create(request)), output)
    gateway = fleet.spec.gateway
    if gateway.auth.anonymous:
        warn("the fleet file says `auth: {anonymous: true}`: calls without any key are served too")
    elif gateway.auth.anonymous is None and not gateway.tenants and gateway.store is None:
        say("calls without a key are refused from now on; `auth: {anonymous: true}` in the file would serve them too")


def run_rotate(file: str, key_id: str, *, overlap: str, output: Output) -> None:
    """Replaces a key and prints the new one, once.

    Raises:
        UsageError: there is no such key, or it can't be rotated.
        PenstockError: the store is away or can't be written.
    """
    _, desk = _open(file)
    made = asyncio.run(desk.rotate(key_id, overlap_s=parse_span(overlap)))
    _print_made(made, output)
    assert made.replaced is not None
    say(f"the old key {made.replaced.id} ends at {record_shown(made.replaced, 0)['expires']}")


def run_revoke(file: str, key_id: str, *, output: Output) -> None:
    """Ends a key.

    Raises:
        UsageError: there is no such key.
        PenstockError: the store is away or can't be written.
    """
    _, desk = _open(file)
    record = asyncio.run(desk.revoke(key_id))
    if output is Output.JSON:
        print_json({"record": record_shown(record, time.time())})
    say(f"revoked: key {record.name!r} ({record.id}) of tenant {record.tenant!r}; gateways refuse it within a second")


def run_list(file: str, *, tenant: str | None, shows_ended: bool, output: Output) -> None:
    """Prints the keys of the file and of the store.

    Raises:
        PenstockError: the store is away.
    """
    fleet, desk = _open(file)
    now = time.time()
    rows = [*_of_file(fleet), *(_of_store(r, now) for r in asyncio.run(desk.records()))]
    rows = [r for r in rows if tenant in (None, r["tenant"]) and (shows_ended or r["standing"] == Standing.VALID)]
    if output is Output.JSON:
        print_json({"keys": rows})
        return
    columns = ("id", "tenant", "name", "last four", "standing", "expires", "models")
    print_table(columns, ([_cell(row[c.replace(" ", "_")], day=c == "expires") for c in columns] for row in rows))


def run_tenants(file: str, *, output: Output) -> None:
    """Prints the tenants of the file and of the store.

    Raises:
        PenstockError: the store is away.
    """
    fleet, desk = _open(file)
    rows = tenants_shown(fleet.spec.gateway.tenants, asyncio.run(desk.records()), time.time())
    if output is Output.JSON:
        print_json({"tenants": rows})
        return
    columns = ("tenant", "keys in file", "keys in store", "models")
    print_table(columns, ([_cell(row[c.replace(" ", "_")]) for c in columns] for row in rows))


def _open(file: str) -> tuple[Fleet, KeyDesk]:
    fleet = load_fleet(read_text(file), "<stdin>" if file == "-" else file)
    gateway = fleet.spec.gateway
    return fleet, open_desk(store_place(file, fleet), fleet, lambda: store_password(gateway))


def _print_made(made: MadeKey, output: Output) -> None:
    record = made.record
    if output is Output.JSON:
        replaced = None if made.replaced is None else record_shown(made.replaced, time.time())
        print_json({"key": made.key, "record": record_shown(record, time.time()), "replaced": replaced})
    else:
        print_text(made.key)
    ends = "does not expire" if record.expires is None else f"expires at {record_shown(record, 0)['expires']}"
    say(f"key {record.name!r} ({record.id}) of tenant {record.tenant!r}; it {ends}")
    warn("this is the only time that the key is shown: keep it now, or make another later")


def _of_file(fleet: Fleet) -> Iterable[dict[str, Any]]:
    for tenant in fleet.spec.gateway.tenants:
        for index, key in enumerate(tenant.keys):
            yield {
                "id": "(in the file)",
                "tenant": tenant.name,
                "name": key.name or f"{tenant.name}-{index + 1}",
                "last_four": None,
                "standing": Standing.VALID.value,
                "created": None,
                "expires": None,
                "revoked": None,
                "models": tenant.models,
                "successor": None,
                "source": "file",
            }


def _of_store(record: KeyRecord, now: float) -> dict[str, Any]:
    return {**record_shown(record, now), "source": "store"}


def _cell(value: object, *, day: bool = False) -> object:
    """As a table shows it; a time with its `day` alone, so that ids are not cut."""
    if day and isinstance(value, str):
        return value[:10]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
