"""The work of `penstock models backup` and `restore`."""

from __future__ import annotations

from pathlib import Path

from penstock.cli.models_screen import moving
from penstock.cli.models_verify import find_stored
from penstock.cli.output import Output, print_json, print_table, say
from penstock.errors import UsageError
from penstock.operate.io.storage import Stored, backup, open_vault, restore
from penstock.operate.storage import ModelSource, Scheme, parse_source, safe_name, shown_bytes

__all__ = ["run_backup", "run_restore"]


def run_backup(
    name: str, destination: str, store: Path, *, revision: str | None, checks_all: bool, output: Output
) -> None:
    """Backs up one revision, and prints what was copied."""
    stored = _one(store, name, revision)
    vault = open_vault(_place(destination))
    with moving(f"backing up {stored.record.name}") as (progress, stop):
        done = backup(stored, vault, checks_all=checks_all, progress=progress, stop=stop)
    if output is Output.JSON:
        print_json(done)
        return
    row = (
        done.name,
        done.revision,
        shown_bytes(done.copied_bytes),
        done.copied_files,
        done.present_files,
        done.destination,
    )
    print_table(("model", "revision", "copied", "files copied", "there already", "destination"), [row])
    say("read back and compared: the backup is whole")


def run_restore(name: str, origin: str, store: Path, *, revision: str | None, is_drill: bool, output: Output) -> None:
    """Restores one revision, or proves that it would come back."""
    vault = open_vault(_place(origin))
    verb = f"{'drill: restoring' if is_drill else 'restoring'} {name}"
    with moving(verb) as (progress, stop):
        store = store.expanduser().absolute()
        done = restore(vault, safe_name(name), revision, store, is_drill=is_drill, progress=progress, stop=stop)
    if output is Output.JSON:
        print_json(
            {
                "is_drill": is_drill,
                **{f: getattr(done, f) for f in ("name", "revision", "bytes", "files", "seconds")},
                "path": None if is_drill else done.path,
            }
        )
        return
    row = (done.name, done.revision, shown_bytes(done.bytes), done.files, f"{done.seconds:.1f} s")
    print_table(("model", "revision", "size", "files", "took"), [row])
    said = "the drill passed: it came back whole, and was removed again" if is_drill else f"{done.path} is published"
    say(said)


def _place(text: str) -> ModelSource:
    """A backup's place: a bare word is a folder here, never a hub name."""
    if "://" in text:
        return parse_source(text)
    if not text.strip():
        raise UsageError("the backup's place is empty", hint="a folder, or s3://bucket/prefix")
    return ModelSource(scheme=Scheme.PATH, location=text)


def _one(store: Path, name: str, revision: str | None) -> Stored:
    found = find_stored(store, name, revision)
    if len(found) > 1 and revision is None:
        say(f"{name} has {len(found)} revisions: taking the newest, {found[0].record.revision}")
    return found[0]
