"""What `gc` removes from a model store, and why each entry stays or goes.

Pure. Guarantees, in this order: what is in use stays; what a given fleet file wants stays; what `current` points at
stays; the newest `keep` revisions of each model stay. Revisions go only when a fleet file or `keep` was given. Partial
pulls and locks go when they are older than asked and nobody works on them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from penstock.operate.storage.layout import EntryKind

__all__ = ["Entry", "Verdict", "Wish", "decide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A model that a fleet file names."""

    model: str
    """Its folder in the store, where the pull was given no other name."""
    source: str = ""
    """Where it comes from, as records have it: knows it under any name."""
    revision: str | None
    """As the file has it: a commit, a branch, or None."""
    by: str
    """The file, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of one model's folder."""

    model: str
    name: str
    kind: EntryKind
    size: int
    """Bytes, all files together."""
    age_s: float
    """Seconds since it last changed, by the file server's own clock; of a revision since it was published."""
    revision: str | None = None
    """Of a published revision, by its record; of a lock or partial, by its name."""
    source: str | None = None
    """Of a published revision: where it came from."""
    requested: str | None = None
    """The branch that the revision was pulled for."""
    is_published: bool = False
    is_current: bool = False
    """Whether the link `current` points at it."""
    used_by: tuple[str, ...] = ()
    """Who is known to serve from it, for people."""
    is_locked: bool = False
    """Whether a live pull holds its lock."""

    @property
    def path(self) -> str:
        """Relative to the store."""
        return f"{self.model}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of an entry."""

    entry: Entry
    is_removed: bool
    reason: str


def decide(
    entries: Sequence[Entry], wishes: Collection[Wish], *, keep: int | None, older_than_s: float
) -> list[Verdict]:
    """A verdict for each entry, in the order given."""
    policy = _Policy(wishes=tuple(wishes), keep=keep, older_than_s=older_than_s, places=_newest(entries))
    return [_verdict(entry, policy) for entry in entries]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Policy:
    wishes: tuple[Wish, ...]
    keep: int | None
    older_than_s: float
    places: Mapping[tuple[str, str], int]
    """Of each published revision among those of its model, 0 the newest."""


def _newest(entries: Sequence[Entry]) -> dict[tuple[str, str], int]:
    """The place of each published revision among those of its model, 0 the newest."""
    places: dict[tuple[str, str], int] = {}
    for model in sorted({entry.model for entry in entries}):
        published = [e for e in entries if e.model == model and e.kind is EntryKind.REVISION and e.is_published]
        for place, entry in enumerate(sorted(published, key=lambda e: (e.age_s, e.name))):
            places[model, entry.name] = place
    return places


def _verdict(entry: Entry, policy: _Policy) -> Verdict:
    match entry.kind:
        case EntryKind.REVISION:
            reason = _reason_to_keep(entry, policy)
            gone = "no fleet file given wants it" if policy.wishes else f"not among the newest {policy.keep}"
            return Verdict(entry=entry, is_removed=reason is None, reason=reason or gone)
        case EntryKind.PARTIAL | EntryKind.LOCK:
            return _left_behind(entry, policy.older_than_s)
        case EntryKind.TRASH:
            return Verdict(entry=entry, is_removed=True, reason="removed before, not yet deleted")
        case EntryKind.IN_USE | EntryKind.OTHER:
            is_old_sign = entry.kind is EntryKind.IN_USE and not entry.used_by and entry.age_s >= policy.older_than_s
            reason = "a sign of use that is no longer renewed" if is_old_sign else "not ours to remove"
            return Verdict(entry=entry, is_removed=is_old_sign, reason=reason)


def _reason_to_keep(entry: Entry, policy: _Policy) -> str | None:
    if entry.used_by:
        return f"in use by {', '.join(entry.used_by)}"
    if entry.is_locked:
        return "a pull works on it"
    if not entry.is_published:
        return "has no record: Penstock did not make it"
    if not policy.wishes and policy.keep is None:
        return "no fleet file and no --keep given"
    if entry.is_current:
        return "`current` points at it"
    place = policy.places[entry.model, entry.name]
    for wish in policy.wishes:
        if (wish.model == entry.model or wish.source == entry.source) and _wants(wish, entry, place):
            return f"wanted by {wish.by}"
    if policy.keep is not None and place < policy.keep:
        return f"among the newest {policy.keep}"
    return None


def _wants(wish: Wish, entry: Entry, place: int) -> bool:
    """An unpinned wish wants the newest; a branch, whatever was pulled for it."""
    if wish.revision is None:
        return place == 0
    if wish.revision in (entry.requested, entry.revision) or entry.name == wish.revision.replace(":", "-"):
        return True
    return len(wish.revision) >= 7 and entry.name.startswith(wish.revision)


def _left_behind(entry: Entry, older_than_s: float) -> Verdict:
    if entry.is_locked:
        return Verdict(entry=entry, is_removed=False, reason="a pull works on it")
    if entry.age_s < older_than_s:
        return Verdict(entry=entry, is_removed=False, reason="young: the next pull continues it")
    what = "a pull that was never ended" if entry.kind is EntryKind.PARTIAL else "its owner gave no sign of life"
    return Verdict(entry=entry, is_removed=True, reason=what)
