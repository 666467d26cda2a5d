"""The work of `penstock models verify`: which folders are meant, what is wrong with them, when they were verified."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from penstock.cli.models_pull import fleet_sources, is_fleet_file
from penstock.cli.models_screen import moving
from penstock.cli.output import Output, print_json, print_text, say
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import Progress, Stop, Stored, published, read_marker, snapshot
from penstock.operate.io.storage.files import put_text, tree_sizes
from penstock.operate.io.storage.pull import utc_now
from penstock.operate.storage import (
    MARKER,
    Finding,
    ModelRecord,
    Scheme,
    Severity,
    parse_source,
    safe_name,
    verify_record,
)

__all__ = ["Checked", "find_stored", "run_verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One folder and what was found."""

    name: str
    revision: str
    path: str
    findings: list[Finding]


def find_stored(store: Path, name: str, revision: str | None) -> list[Stored]:
    """The published revisions of a model, newest first. `name` as the store has it, or as it was pulled.

    Raises:
        UsageError: there are none.
    """
    found: list[Stored] = []
    names: set[str] = set()
    for stored in published(store):
        if isinstance(stored, PenstockError):
            if name == Path(stored.message.split()[0]).parent.parent.name:
                raise stored
            continue
        names.add(stored.record.name)
        if name in (stored.record.name, stored.record.source) or safe_name(name) == stored.record.name:
            found.append(stored)
    if not found:
        shown = f"it has {', '.join(sorted(names))}" if names else "it is empty: `penstock models pull` fills it"
        raise UsageError(f"{store} has no model {name!r}", hint=shown)
    if revision is not None:
        of_name, found = found, [s for s in found if _is_revision(s.record, revision)]
        if not found:
            shown = f"it has {', '.join(s.record.revision for s in of_name)}"
            raise UsageError(f"{store} has no revision {revision} of {name}", hint=shown)
    return sorted(found, key=lambda s: s.record.published_at, reverse=True)


def _is_revision(record: ModelRecord, revision: str) -> bool:
    if revision in (record.revision, record.requested):
        return True
    return len(revision) >= 7 and record.revision.startswith(revision)


def run_verify(what: str | None, store: Path, *, revision: str | None, is_quick: bool, output: Output) -> None:
    """Verifies, prints what is wrong, and ends with 1 where something keeps a model from being served."""
    folders = _folders(what, store, revision)
    checked: list[Checked] = []
    for folder in folders:
        with moving(f"verifying {folder.parent.name}/{folder.name}") as (progress, stop):
            checked.append(_check(folder, is_quick, progress, stop))
        if output is Output.TABLE:
            _print(checked[-1], is_quick)
    is_ok = not any(f.severity is Severity.ERROR for one in checked for f in one.findings)
    if output is Output.JSON:
        print_json({"is_ok": is_ok, "is_quick": is_quick, "models": checked})
    if not is_ok:
        say("mend it with `penstock models pull`: it fetches again what is damaged")
        raise typer.Exit(1)


def _folders(what: str | None, store: Path, revision: str | None) -> list[Path]:
    if what is not None and is_fleet_file(what):
        return _of_fleet(what, store)
    if what is not None and ("/" in what or what in (".", "..")) and Path(what).expanduser().is_dir():
        path = Path(what).expanduser().absolute()
        if (path / MARKER).exists() or (path / "config.json").exists() or any(path.glob("*.safetensors")):
            return [path]
        store, what = path, None
    if what is not None:
        return [stored.folder for stored in find_stored(store, what, revision)]
    found = [_folder_of(stored) for stored in published(store)]
    if not found:
        raise UsageError(f"{store} has no published model", hint="`penstock models pull` fills it")
    return found


def _folder_of(stored: Stored | PenstockError) -> Path:
    if isinstance(stored, PenstockError):
        raise stored
    return stored.folder


def _of_fleet(file: str, store: Path) -> list[Path]:
    """The folders that a fleet's engines would serve from."""
    folders: list[Path] = []
    for asked in fleet_sources(file):
        if asked.source.scheme is Scheme.PATH:
            folders.append(Path(asked.source.location).expanduser().absolute())
        else:
            pinned = asked.source.digest or asked.source.revision
            folders.append(find_stored(store, asked.source.origin, pinned)[0].folder)
    return folders


def _check(folder: Path, is_quick: bool, progress: Progress, stop: Stop) -> Checked:
    try:
        record = read_marker(folder)
    except UsageError as error:
        finding = Finding(severity=Severity.ERROR, file=MARKER, rule="record", message=error.message)
        return Checked(name=folder.parent.name, revision=folder.name, path=str(folder), findings=[finding])
    if not is_quick:
        progress.start(sum(tree_sizes(folder).values()), 0)

    def count(more: int) -> None:
        stop.check()
        progress.count(more)

    seen = snapshot(folder, with_hashes=not is_quick and record is not None, may_link=record is None, on_bytes=count)
    findings = verify_record(record, seen)
    if record is not None and not is_quick and not any(f.severity is Severity.ERROR for f in findings):
        with suppress(OSError):  # a store that is mounted read-only keeps its old date
            put_text(folder / MARKER, replace(record, verified_at=utc_now()).to_json())
    name = parse_source(f"file://{folder}").name if record is None else record.name
    return Checked(name=name, revision=record.revision if record else "", path=str(folder), findings=findings)


def _print(checked: Checked, is_quick: bool) -> None:
    shown = f"{checked.name} {checked.revision}".strip()
    depth = "names, sizes and headers" if is_quick else "all"
    if not checked.findings:
        print_text(f"ok       {shown}: {depth} as published")
        return
    is_bad = any(finding.severity is Severity.ERROR for finding in checked.findings)
    print_text(f"{'damaged ' if is_bad else 'ok      '} {shown}: {_counted(checked.findings)}")
    for finding in checked.findings:
        print_text(f"  {finding.severity:<7}  {finding}")


def _counted(findings: Sequence[Finding]) -> str:
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = len(findings) - errors
    words = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((errors, "error"), (warnings, "warning")) if n]
    return ", ".join(words)
