"""How `penstock keys` and `penstock tenants` run. A key goes to stdout once and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.files import read_text
from penstock.cli.key_store import open_desk, store_password, store_place
from penstock.cli.output import Output, print_json, print_table, print_text, say, warn
from penstock.cli.usage_run import month_uses
from penstock.errors import UsageError
from penstock.serve.callers import tenants_shown
from penstock.serve.flow.ticket import CLASSES
from penstock.serve.key_times import parse_expiry, parse_span
from penstock.serve.keys import KeyChange, KeyRecord, KeyRequest, Standing, limits_of, limits_shown, record_shown
from penstock.spec import Fleet, TrafficClass
from penstock.spec.loader import load_fleet

if TYPE_CHECKING:
    from penstock.serve.io.stores import KeyDesk, MadeKey

__all__ = ["KeyAsk", "run_create", "run_list", "run_revoke", "run_rotate", "run_set", "run_tenants"]


_LIMIT_WORDS = {
    "requestsPerMinute": "{:,} req/min",
    "tokensPerMinute": "{:,} tok/min",
    "inputTokensPerMinute": "{:,} in/min",
    "outputTokensPerMinute": "{:,} out/min",
    "concurrentRequests": "{:,} at once",
    "tokensPerMonth": "{:,} tok/month",
    "costPerMonth": "{:,} USD/month",
    "promptTokensMax": "prompt <= {:,}",
    "outputTokensMax": "output <= {:,}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAsk:
    """The key that the command line asks for, as typed."""

    tenant: str
    name: str
    models: tuple[str, ...] | None
    expires: str | None
    limits: Mapping[str, str | None] = field(default_factory=dict)
    """By their names in the fleet file; None: not named."""
    traffic_class: str | None = None


def run_create(file: str, ask: KeyAsk, output: Output, *, state_dir: Path | None = None) -> None:
    """Makes a key and prints it, once.

    Raises:
        UsageError: there can't be such a key.
        PenstockError: the store is away or can't be written.
    """
    fleet, desk = _open(file, state_dir)
    expires = None if ask.expires is None else parse_expiry(ask.expires, int(time.time()))
    limits = {name: value for name, value in parse_limits(ask.limits).items() if value is not None}
    request = KeyRequest(
        tenant=ask.tenant,
        name=ask.name,
        models=ask.models,
        expires=expires,
        limits=limits_of(limits),
        traffic_class=parse_class(ask.traffic_class),
    )
    _print_made(asyncio.run(desk.create(request)), output)
    gateway = fleet.spec.gateway
    if gateway.auth.anonymous:
        warn("the fleet file says `auth: {anonymous: true}`: calls without any key are served too")
    elif gateway.auth.anonymous is None and not gateway.tenants and gateway.store is None:
        say("calls without a key are refused from now on; `auth: {anonymous: true}` in the file would serve them too")


def run_rotate(file: str, key_id: str, *, overlap: str, output: Output, state_dir: Path | None = None) -> None:
    """Replaces a key and prints the new one, once.

    Raises:
        UsageError: there is no such key, or it can't be rotated.
        PenstockError: the store is away or can't be written.
    """
    _, desk = _open(file, state_dir)
    made = asyncio.run(desk.rotate(key_id, overlap_s=parse_span(overlap)))
    _print_made(made, output)
    assert made.replaced is not None
    say(f"the old key {made.replaced.id} ends at {record_shown(made.replaced, 0)['expires']}")


def run_set(
    file: str,
    key_id: str,
    *,
    limits: Mapping[str, str | None],
    traffic_class: str | None,
    output: Output,
    state_dir: Path | None = None,
) -> None:
    """Changes limits or class of a key.

    Raises:
        UsageError: nothing was named to change, there is no such key, or a limit can't be.
        PenstockError: the store is away or can't be written.
    """
    named = parse_limits(limits)
    if not named and traffic_class is None:
        raise UsageError("Nothing was named to change.", hint="`penstock keys set --help` lists what can be")
    is_inherited = traffic_class == "none"
    wanted = KeyChange(
        limits=named,
        traffic_class=None if is_inherited else parse_class(traffic_class),
        is_class_inherited=is_inherited,
    )
    _, desk = _open(file, state_dir)
    record = asyncio.run(desk.set(key_id, wanted))
    if output is Output.JSON:
        print_json({"record": record_shown(record, time.time())})
    has = ", ".join(_terms(record_shown(record, 0))) or "nothing of its own"
    whose = f"key {record.name!r} ({record.id}) of tenant {record.tenant!r}"
    say(f"changed: {whose} has {has}; gateways hold it within a second")


def run_revoke(file: str, key_id: str, *, output: Output, state_dir: Path | None = None) -> None:
    """Ends a key.

    Raises:
        UsageError: there is no such key.
        PenstockError: the store is away or can't be written.
    """
    _, desk = _open(file, state_dir)
    record = asyncio.run(desk.revoke(key_id))
    if output is Output.JSON:
        print_json({"record": record_shown(record, time.time())})
    say(f"revoked: key {record.name!r} ({record.id}) of tenant {record.tenant!r}; gateways refuse it within a second")


def run_list(
    file: str, *, tenant: str | None, shows_ended: bool, output: Output, state_dir: Path | None = None
) -> None:
    """Prints the keys of the file and of the store.

    Raises:
        PenstockError: the store is away.
    """
    fleet, desk = _open(file, state_dir)
    now = time.time()
    rows = [*_of_file(fleet), *(_of_store(r, now) for r in asyncio.run(desk.records()))]
    rows = [r for r in rows if tenant in (None, r["tenant"]) and (shows_ended or r["standing"] == Standing.VALID)]
    if output is Output.JSON:
        print_json({"keys": rows})
        return
    columns: tuple[str, ...] = ("id", "tenant", "name", "last four", "standing", "expires", "models", "limits")
    if not shows_ended:
        columns = tuple(c for c in columns if c != "standing")
    print_table(columns, ([_cell(row, c) for c in columns] for row in rows))


def run_tenants(file: str, *, output: Output, state_dir: Path | None = None) -> None:
    """Prints the tenants of the file and of the store.

    Raises:
        PenstockError: the store is away.
    """
    fleet, desk = _open(file, state_dir)
    records = asyncio.run(desk.records())
    uses = month_uses(store_place(file, fleet, state_dir), fleet)
    rows = tenants_shown(fleet.spec.gateway.tenants, records, time.time(), uses)
    if output is Output.JSON:
        print_json({"tenants": rows})
        return
    columns = ("tenant", "keys in file", "keys in store", "models", "limits", "month tokens", "month cost usd")
    print_table(columns, ([_cell(row, c) for c in columns] for row in rows))


def _open(file: str, state_dir: Path | None) -> tuple[Fleet, KeyDesk]:
    fleet = load_fleet(read_text(file), "<stdin>" if file == "-" else file)
    gateway = fleet.spec.gateway
    return fleet, open_desk(store_place(file, fleet, state_dir), fleet, lambda: store_password(gateway))


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
                "models": key.models or tenant.models,
                "successor": None,
                "limits": limits_shown(key.limits),
                "class": key.traffic_class,
                "source": "file",
            }


def _of_store(record: KeyRecord, now: float) -> dict[str, Any]:
    return {**record_shown(record, now), "source": "store"}


def _cell(row: Mapping[str, Any], column: str) -> object:
    """As a table shows it: a time with its day alone, so that ids are not cut; limits with class and weight, a line
    each."""
    value = row[column.replace(" ", "_")]
    if column == "limits":
        return "\n".join(_terms(row)) or None
    if column == "expires" and isinstance(value, str):
        return value[:10]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _terms(row: Mapping[str, Any]) -> list[str]:
    """Class, weight and limits of a key or tenant, in words."""
    terms = [f"class {row['class']}"] if row["class"] not in (None, "interactive") else []
    terms += [f"weight {row['weight']:g}"] if row.get("weight", 1.0) != 1.0 else []
    return terms + [_LIMIT_WORDS[name].format(value) for name, value in row["limits"].items()]


def parse_limits(limits: Mapping[str, str | None]) -> dict[str, float | None]:
    """Limits as typed: numbers, and None for `none`; those that were not named are left out.

    Raises:
        UsageError: one is neither.
    """
    return {name: _limit(name, text) for name, text in limits.items() if text is not None}


def _limit(name: str, text: str) -> float | None:
    if text == "none":
        return None
    plain = text.replace(",", "").replace("_", "")
    try:
        return float(plain) if name == "costPerMonth" else int(plain)
    except ValueError as error:
        raise UsageError(f"`{name}`: {text[:40]!r} is no number.", hint="write a number, or `none`") from error


def parse_class(text: str | None) -> TrafficClass | None:
    """The class of that name.

    Raises:
        UsageError: there is none.
    """
    for known in CLASSES:
        if text == known:
            return known
    if text is None:
        return None
    raise UsageError(f"There is no class {text[:40]!r}.", hint=f"classes: {', '.join(CLASSES)}")
