"""The work of `penstock models list` and `gc`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import typer

from penstock.cli.models_pull import fleet_sources
from penstock.cli.output import Output, print_json, print_table, say, warn
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import Stored, published, remove, scan, server_now
from penstock.operate.storage import EntryKind, Verdict, Wish, decide, shown_bytes

__all__ = ["run_gc", "run_list", "seconds_of"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def run_list(store: Path, *, output: Output) -> None:
    """Prints every published revision."""
    found: list[Stored] = []
    for stored in published(store.expanduser().absolute()):
        if isinstance(stored, PenstockError):
            warn(stored.message)
        else:
            found.append(stored)
    if output is Output.JSON:
        print_json({"models": [_as_json(stored) for stored in found]})
        return
    rows = [
        (r.name, r.revision, shown_bytes(r.size), len(r.files), r.verified_at, r.source)
        for r in (stored.record for stored in found)
    ]
    if rows:
        print_table(("model", "revision", "size", "files", "verified", "source"), rows)
    else:
        say(f"{store} is empty: `penstock models pull SOURCE --to {store}` fills it")


def _as_json(stored: Stored) -> dict[str, object]:
    record = stored.record
    return {
        "name": record.name,
        "revision": record.revision,
        "requested": record.requested,
        "source": record.source,
        "bytes": record.size,
        "files": len(record.files),
        "published_at": record.published_at,
        "verified_at": record.verified_at,
        "path": str(stored.folder),
    }


def seconds_of(age: str) -> float:
    """`30m`, `12h`, `7d` in seconds.

    Raises:
        UsageError: it is no age.
    """
    found = re.fullmatch(r"(\d{1,6})([smhdw])", age.strip())
    if not found:
        raise UsageError(f"--older-than {age!r} is no age", hint="as in 30m, 12h or 7d")
    return float(int(found[1]) * _UNITS[found[2]])


def run_gc(
    fleets: Sequence[str],
    store: Path,
    *,
    keep: int | None,
    older_than: str,
    is_dry: bool,
    is_agreed: bool,
    output: Output,
) -> None:
    """Shows what would go, asks, removes."""
    older_than_s = seconds_of(older_than)
    wishes = [_wish(file) for file in fleets]
    root = store.expanduser().absolute()
    entries = scan(root, now=server_now(root) if root.is_dir() else 0.0)
    verdicts = decide(entries, [w for of_file in wishes for w in of_file], keep=keep, older_than_s=older_than_s)
    gone = sorted(
        (v for v in verdicts if v.is_removed), key=lambda v: (v.entry.kind is not EntryKind.LOCK, v.entry.path)
    )
    if output is Output.TABLE:
        _print(verdicts, root)
    failures: list[str] = []
    if gone and not is_dry:
        if not is_agreed:
            size = shown_bytes(sum(v.entry.size for v in gone))
            typer.confirm(f"Remove {len(gone)} of them, {size}?", abort=True, err=True)
        failures = _remove(gone, root)
    if output is Output.JSON:
        print_json({"is_dry_run": is_dry, "failures": failures, "entries": [_verdict_json(v) for v in verdicts]})
    if failures:
        raise typer.Exit(1)


def _wish(file: str) -> list[Wish]:
    sources = [asked.source for asked in fleet_sources(file)]
    return [Wish(model=s.name, source=s.origin, revision=s.digest or s.revision, by=file) for s in sources]


def _remove(gone: Sequence[Verdict], root: Path) -> list[str]:
    failures: list[str] = []
    for verdict in gone:
        try:
            remove(root, verdict.entry)
        except PenstockError as error:
            failures.append(error.message)
            warn(error.message)
        else:
            say(f"removed {verdict.entry.path} ({shown_bytes(verdict.entry.size)})")
    return failures


def _print(verdicts: Sequence[Verdict], root: Path) -> None:
    rows = [
        ("remove" if v.is_removed else "keep", v.entry.path, v.entry.kind, shown_bytes(v.entry.size), v.reason)
        for v in verdicts
    ]
    if rows:
        print_table(("", "path", "what", "size", "why"), rows)
    else:
        say(f"{root} holds nothing")


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    entry = verdict.entry
    return {
        "path": entry.path,
        "kind": entry.kind,
        "bytes": entry.size,
        "age_s": round(entry.age_s),
        "is_removed": verdict.is_removed,
        "reason": verdict.reason,
    }
