"""The journal: everything put is there for whoever reads the files, segments go in order, and a full disk is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.io.ledger.journal import Journal, lock_file, segment_files
from penstock.serve.io.ledger.reading import read_segments
from penstock.serve.ledger import JournalReader
from penstock.serve.record import RequestRecord

STEPS = ["begin", "end", "ship", "prepare", "sync"]
SMALL = 1024
"""Bytes of a segment: room for four or five requests."""


def record(number: int) -> RequestRecord:
    return RequestRecord(1000.0, f"r{number}", tenant="acme", key="ci", model="chat", requested_model="chat")


def journal(folder: Path, **more: int) -> Journal:
    made = Journal(folder / "ledger", "demo", segment_bytes=SMALL, **more)
    made.open()
    return made


def on_disk(made: Journal) -> tuple[list[str], list[str]]:
    """Requests that are over, and those that are not, as another process would read them."""
    reader, ended = JournalReader(), []
    for segment in read_segments(segment_files(made.folder).get(made.id, []), made.id, "demo"):
        ended += [end.entry.request_id for end in reader.read(segment)]
    return ended, [begin.request_id for begin in reader.open.values()]


def serve(made: Journal, numbers: Iterator[int] | range) -> None:
    for number in numbers:
        request = record(number)
        made.begin(request, "key_1", 10, 0)
        made.end(request, 1)


def ship(made: Journal, most: int = 100) -> list[str]:
    cursor = made.next_ends(most)
    if cursor is None:
        return []
    made.shipped(cursor)
    return [end.entry.request_id for end in cursor.ends]


def test_what_is_put_is_in_the_files_at_once(tmp_path: Path) -> None:
    made = journal(tmp_path)
    running = record(0)

    made.begin(running, "", 10, 0)
    assert on_disk(made) == ([], ["r0"])
    assert made.end(running, 5)
    assert on_disk(made) == (["r0"], [])
    assert not made.end(running, 5)
    assert not made.end(record(1), 5)
    assert (made.waiting, made.open_requests) == (1, 0)


def test_segments_follow_each_other_and_go_when_they_are_shipped(tmp_path: Path) -> None:
    made = journal(tmp_path)

    serve(made, range(40))
    assert len(segment_files(made.folder)[made.id]) > 5
    assert on_disk(made)[0] == [f"r{n}" for n in range(40)]
    assert ship(made, 15) == [f"r{n}" for n in range(15)]
    assert ship(made) == [f"r{n}" for n in range(15, 40)]
    assert ship(made) == []
    assert len(segment_files(made.folder)[made.id]) == 1
    made.close()
    assert list(made.folder.iterdir()) == []


def test_a_long_request_holds_no_segment_and_is_never_forgotten(tmp_path: Path) -> None:
    made = journal(tmp_path)
    long = record(1000)

    made.begin(long, "", 10, 0)
    for start in range(0, 100, 10):
        serve(made, range(start, start + 10))
        ship(made)
        assert len(segment_files(made.folder)[made.id]) <= 2
        assert on_disk(made)[1] == ["r1000"]
    made.end(long, 0)
    ended, still_open = on_disk(made)
    assert (ended[-1], still_open) == ("r1000", [])


def test_what_is_not_shipped_stays_at_the_end(tmp_path: Path) -> None:
    made = journal(tmp_path)
    serve(made, range(10))
    ship(made, 3)

    made.close()

    ended, still_open = on_disk(made)
    assert (ended[-7:], still_open) == ([f"r{n}" for n in range(3, 10)], [])
    os.close(lock_file(made.folder / f"{made.id}.lock"))


def test_a_journal_is_its_owners_alone(tmp_path: Path) -> None:
    made = journal(tmp_path)

    with pytest.raises(BlockingIOError):
        lock_file(made.folder / f"{made.id}.lock")
    assert {path.stat().st_mode & 0o777 for path in made.folder.iterdir()} == {0o600}
    assert journal(tmp_path).id != made.id


def test_a_spare_segment_is_taken_before_another_is_made(tmp_path: Path) -> None:
    made = journal(tmp_path)
    made.prepare()
    made.prepare()
    (spare,) = made.folder.glob("*.spare")
    inode = spare.stat().st_ino

    serve(made, range(6))

    assert [path.stat().st_ino for path in segment_files(made.folder)[made.id]][1] == inode
    assert on_disk(made)[0] == [f"r{n}" for n in range(6)]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_and_memory_stands_in_until_it_is_full_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = journal(tmp_path, memory_segments_max=2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full_disk)
        serve(made, range(100))
        assert "No space left on device" in made.error
        kept = made.waiting
        assert 8 < kept < 30  # one segment on disk and two in memory, some four requests each
        assert made.dropped_total >= 100 - kept
        assert ship(made, 500) == [f"r{n}" for n in range(kept)]  # the oldest: what was kept stays
        assert list(made.folder.glob("*.spare")) == []
    made.prepare()
    serve(made, range(100, 110))
    assert made.error == ""
    assert ship(made, 500) == [f"r{n}" for n in range(100, 110)]


def test_the_bound_of_the_journal_is_held_and_told(tmp_path: Path) -> None:
    made = journal(tmp_path, segments_max=3, memory_segments_max=1)

    serve(made, range(100))

    assert "its bound" in made.error
    assert len(segment_files(made.folder)[made.id]) == 3
    assert made.dropped_total > 0
    kept = made.waiting
    assert ship(made, 500) == [f"r{n}" for n in range(kept)]


def test_a_folder_that_cant_be_made_is_told_and_everything_ships_from_memory(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file in the way")
    made = journal(tmp_path)

    serve(made, range(5))

    assert "can't be written" in made.error
    assert ship(made) == [f"r{n}" for n in range(5)]
    made.sync()
    made.close()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["begin", "end", "ship", "prepare", "sync"]), st.integers(0, 7)), max_size=120)
)
def test_whatever_happens_each_end_is_shipped_or_on_disk_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    made = journal(tmp_path_factory.mktemp("j"))
    running: dict[int, RequestRecord] = {}
    over: list[str] = []
    sent: list[str] = []
    for count, (step, which) in enumerate(steps):
        match step:
            case "begin":
                running.setdefault(which, record(count))
                if running[which].request_id == f"r{count}":
                    made.begin(running[which], "", 1, 0)
            case "end" if which in running:
                over.append(running[which].request_id)
                made.end(running.pop(which), 0)
            case "ship":
                sent += ship(made, which + 1)
            case "prepare":
                made.prepare()
            case "sync":
                made.sync()
        ended, still_open = on_disk(made)
        assert set(still_open) == {r.request_id for r in running.values()}
        assert over[len(sent) :] == (ended[-len(over) + len(sent) :] if len(over) > len(sent) else [])
        assert sent == over[: len(sent)]
    made.close()
