"""Journals that were left behind: entered by one, once; those of the living and of other fleets are left alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from penstock.serve.io.ledger.journal import Journal, lock_file, segment_files
from penstock.serve.io.ledger.recovery import left_behind, recover
from serve.io.ledger.rig import NOW, outcomes, request, store_of


def journal(folder: Path, fleet: str = "demo", *, ends: int = 3, runs: int = 1) -> Journal:
    made = Journal(folder, fleet, segment_bytes=1024)
    made.open()
    for n in range(ends + runs):
        record = request(f"{fleet}-{n}")
        made.begin(record, "", 10, 0)
        if n < ends:
            made.end(record, 1)
    return made


def test_what_the_dead_left_is_entered_once_and_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    dead = journal(folder, ends=20, runs=2)
    dead.prepare()
    (folder / "x.spare").touch()
    os.close(dead._lock)  # as the kernel does when its process dies

    async def main() -> None:
        async with store_of(tmp_path).writing() as writer:
            assert left_behind(folder, "mine") == [dead.id]
            assert await recover(writer, folder, "demo", "mine", NOW) == 22
            assert await recover(writer, folder, "demo", "mine", NOW) == 0
        found = await outcomes(store_of(tmp_path))
        assert set(found.values()) == {1}
        assert {name for name, outcome in found if outcome == "lost"} == {"demo-20", "demo-21"}
        assert [path.name for path in folder.iterdir()] == ["x.spare"]

    asyncio.run(main())


def test_journals_of_the_living_and_of_others_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    living, other = journal(folder), journal(folder, "other")
    os.close(other._lock)
    garbage = folder / f"{'0' * 16}.00000001.journal"
    garbage.write_bytes(b"not a journal")

    async def main() -> None:
        async with store_of(tmp_path).writing() as writer:
            assert await recover(writer, folder, "demo", "mine", NOW) == 0

    asyncio.run(main())
    assert set(segment_files(folder)) == {living.id, other.id, "0" * 16}
    assert left_behind(folder, living.id) == sorted([other.id, "0" * 16])
    assert left_behind(tmp_path / "none", "mine") == []


def test_a_journal_that_another_is_entering_is_left_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    dead = journal(folder)
    os.close(dead._lock)
    held = lock_file(folder / f"{dead.id}.lock")

    async def main() -> None:
        async with store_of(tmp_path).writing() as writer:
            assert await recover(writer, folder, "demo", "mine", NOW) == 0
            os.close(held)
            assert await recover(writer, folder, "demo", "mine", NOW) == 4

    asyncio.run(main())


def test_a_torn_segment_gives_what_is_whole_and_the_next_ones_everything(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    dead = journal(folder, ends=20, runs=0)
    os.close(dead._lock)
    first = segment_files(folder)[dead.id][0]
    torn = bytearray(first.read_bytes())
    torn[300:310] = b"\xff" * 10
    first.write_bytes(torn)

    async def main() -> None:
        async with store_of(tmp_path).writing() as writer:
            await recover(writer, folder, "demo", "mine", NOW)
        found = await outcomes(store_of(tmp_path))
        assert set(found.values()) == {1}
        assert ("demo-19", "ok") in found
        assert len(found) >= 15

    asyncio.run(main())
