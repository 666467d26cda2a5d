"""What gc removes: nothing that anybody wants, whatever else is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.storage import Entry, EntryKind, Wish, decide

DAY = 86_400.0


def entry(name: str = "a" * 40, **fields: Any) -> Entry:
    kind = fields.pop("kind", EntryKind.REVISION)
    base = {"model": "m", "size": 1, "age_s": DAY, "revision": name, "is_published": kind is EntryKind.REVISION}
    return Entry(name=name, kind=kind, **{**base, **fields})


def removed(
    *entries: Entry, wishes: tuple[Wish, ...] = (), keep: int | None = None, older_than_s: float = DAY
) -> list[str]:
    return [v.entry.name for v in decide(entries, wishes, keep=keep, older_than_s=older_than_s) if v.is_removed]


def wish(revision: str | None, model: str = "m") -> Wish:
    return Wish(model=model, revision=revision, by="fleet.yaml")


OLD, NEW = entry("old", age_s=2 * DAY), entry("new", age_s=DAY)


def test_without_a_fleet_or_a_number_every_revision_stays() -> None:
    assert removed(OLD, NEW) == []


def test_the_newest_stay() -> None:
    assert removed(OLD, NEW, keep=1) == ["old"]
    assert removed(OLD, NEW, keep=2) == []
    assert removed(OLD, NEW, keep=0) == ["old", "new"]


def test_what_a_fleet_pins_stays_and_the_rest_goes() -> None:
    assert removed(OLD, NEW, wishes=(wish("old"),)) == ["new"]
    assert removed(OLD, NEW, wishes=(wish("old"),), keep=1) == []


def test_an_unpinned_fleet_wants_the_newest() -> None:
    assert removed(OLD, NEW, wishes=(wish(None),)) == ["old"]


def test_a_branch_wants_what_was_pulled_for_it() -> None:
    assert removed(entry("x", requested="prod"), NEW, wishes=(wish("prod"),)) == ["new"]


def test_a_model_under_another_name_is_known_by_its_source() -> None:
    named = entry("x", model="org--m--prod", source="org/m", requested="prod")
    by_source = Wish(model="org--m", source="org/m", revision="prod", by="fleet.yaml")

    assert removed(named, entry("y", model="org--n", source="org/n"), wishes=(by_source,)) == ["y"]


def test_a_short_commit_and_a_digest_are_known() -> None:
    digest = "sha256:" + "b" * 64
    folder = entry(digest.replace(":", "-"), revision=digest)

    assert removed(entry("a" * 40), folder, wishes=(wish("aaaaaaa"), wish(digest))) == []


@pytest.mark.parametrize(
    "fields", [{"used_by": ("pod-1",)}, {"is_locked": True}, {"is_published": False}, {"is_current": True}]
)
def test_what_is_used_locked_current_or_not_ours_stays(fields: dict[str, Any]) -> None:
    assert removed(entry("x", **fields), keep=0) == []


def test_old_partials_and_locks_go_and_young_or_live_ones_stay() -> None:
    for kind in (EntryKind.PARTIAL, EntryKind.LOCK):
        assert removed(entry(".p", kind=kind, age_s=DAY)) == [".p"]
        assert removed(entry(".p", kind=kind, age_s=DAY - 1)) == []
        assert removed(entry(".p", kind=kind, age_s=9 * DAY, is_locked=True)) == []


def test_trash_goes_and_strangers_stay() -> None:
    assert removed(entry(".trash-1", kind=EntryKind.TRASH, age_s=0)) == [".trash-1"]
    assert removed(entry("notes", kind=EntryKind.OTHER, age_s=99 * DAY), keep=0) == []


def test_a_sign_of_use_goes_only_when_it_is_no_longer_renewed() -> None:
    assert removed(entry(".in-use-1", kind=EntryKind.IN_USE, age_s=2 * DAY)) == [".in-use-1"]
    assert removed(entry(".in-use-1", kind=EntryKind.IN_USE, age_s=2 * DAY, used_by=("x",))) == []


revisions = st.sampled_from(["r1", "r2", "r3"])
entries = st.lists(
    st.builds(
        entry,
        revisions,
        model=st.sampled_from(["m", "n"]),
        age_s=st.floats(0, 10 * DAY),
        requested=st.sampled_from([None, "main"]),
        used_by=st.sampled_from([(), ("pod",)]),
        is_locked=st.booleans(),
        is_current=st.booleans(),
        is_published=st.booleans(),
    ),
    unique_by=lambda e: e.path,
    max_size=6,
)
wishes = st.lists(
    st.builds(wish, st.one_of(st.none(), revisions, st.just("main")), st.sampled_from(["m", "n"])), max_size=3
)


@given(entries, wishes, st.one_of(st.none(), st.integers(0, 3)))
def test_nothing_that_is_wanted_or_used_is_ever_removed(
    found: list[Entry], wanted: list[Wish], keep: int | None
) -> None:
    verdicts = decide(found, wanted, keep=keep, older_than_s=0.0)

    assert [v.entry for v in verdicts] == found
    for gone in (v.entry for v in verdicts if v.is_removed):
        assert gone.is_published
        assert (gone.used_by, gone.is_locked, gone.is_current) == ((), False, False)
        younger = [e for e in found if e.model == gone.model and e.is_published and e.age_s < gone.age_s]
        assert wanted or keep is not None
        assert keep is None or len([e for e in found if e.model == gone.model and e.is_published]) > keep
        for one in (w for w in wanted if w.model == gone.model):
            assert one.revision not in (gone.revision, gone.requested) if one.revision else True
            assert one.revision is not None or younger or any(e.age_s == gone.age_s for e in found if e != gone)


@given(entries)
def test_without_a_wish_nothing_published_goes(found: list[Entry]) -> None:
    assert not any(v.is_removed for v in decide(found, [], keep=None, older_than_s=0.0))
