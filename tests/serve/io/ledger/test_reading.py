"""Reading use while gateways ship it: what waits and what is stored, each request once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.serve.io.ledger.journal import Journal
from penstock.serve.io.ledger.reading import read_segments, read_usage, read_waiting
from penstock.serve.usage import UsageQuery, report
from serve.io.ledger.rig import NOW, request, store_of

TODAY = UsageQuery(since="2026-11-21", until="2026-11-21")


def test_what_waits_is_added_to_what_is_stored_whatever_was_shipped(tmp_path: Path) -> None:
    async def main() -> None:
        store, folder = store_of(tmp_path), tmp_path / "ledger"

        async def requests() -> tuple[int, int]:
            told = report(TODAY, *await read_usage(store, folder, TODAY.columns, TODAY))
            return told.total.requests, told.waiting

        assert await requests() == (0, 0)
        made = Journal(folder, "demo", segment_bytes=1024)
        made.open()
        for n in range(10):
            record = request(f"r{n}")
            made.begin(record, "", 10, 0)
            made.end(record, 1)
        assert await requests() == (10, 10)  # and no store was made
        assert not (tmp_path / "usage.db").exists()
        async with store.writing() as writer:
            while (cursor := made.next_ends(3)) is not None:
                await writer.enter(made.id, cursor.ends, now=NOW)
                assert (await requests())[0] == 10  # in the store and still in the journal
                made.shipped(cursor)
                assert await requests() == (10, made.waiting)
            await writer.enter(made.id, (), now=NOW, closes=True)
        assert await requests() == (10, 0)
        made.close()

    asyncio.run(main())


def test_other_fleets_and_segments_that_are_gone_are_passed_over(tmp_path: Path) -> None:
    made = Journal(tmp_path / "ledger", "other")
    made.open()
    record = request("r")
    made.begin(record, "", 10, 0)
    made.end(record, 1)

    assert read_waiting(tmp_path / "ledger", "demo") == {}
    assert [len(ends) for ends in read_waiting(tmp_path / "ledger", "other").values()] == [1]
    assert read_segments([tmp_path / "gone.00000001.journal"], "gone", "demo") == []
    made.close()
