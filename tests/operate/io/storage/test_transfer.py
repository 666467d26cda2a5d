"""Files arrive whole and true, are continued where they were cut, and wait as they should."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from fakes.models import sha256
from fakes.stores import Memory, QuickStop
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.files import tree_sizes
from penstock.operate.io.storage.transfer import Progress, Stop, fetch_all, insisting
from penstock.operate.storage import Interrupted, plan_fetches

BIG = bytes(range(256)) * 4


def fetched(
    memory: Memory, folder: Path, *, stop: Stop | None = None, counts: list[int] | None = None
) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    plan = plan_fetches(memory.listing().files, tree_sizes(folder))
    progress = Progress(on_bytes=(counts if counts is not None else []).append)
    return dict(fetch_all(memory, plan.fetches, folder, workers=3, stop=stop or QuickStop(), progress=progress))


def test_every_file_arrives_under_its_name(tmp_path: Path) -> None:
    memory, counts = Memory({"a/b": BIG, "empty": b"", "c": b"x"}), list[int]()

    hashes = fetched(memory, tmp_path / "m", counts=counts)

    assert hashes == {p: sha256(c) for p, c in memory.files.items()}
    assert {p: (tmp_path / "m" / p).read_bytes() for p in memory.files} == memory.files
    assert sum(counts) == len(BIG) + 1
    assert set(tree_sizes(tmp_path / "m")) == {"a/b", "empty", "c"}


def test_a_cut_file_is_continued_where_it_was_cut(tmp_path: Path) -> None:
    memory, stop = Memory({"a": BIG}, cuts={"a": [300, 100]}), QuickStop()

    fetched(memory, tmp_path / "m", stop=stop)

    assert memory.opened == [("a", 0), ("a", 300), ("a", 400)]
    assert stop.waits == [1, 1]  # each attempt brought bytes, so none counts as a failure in a row
    assert (tmp_path / "m" / "a").read_bytes() == BIG


def test_a_part_of_an_earlier_run_is_continued(tmp_path: Path) -> None:
    memory = Memory({"a": BIG})
    (tmp_path / "a.part").write_bytes(BIG[:700])

    fetched(memory, tmp_path)

    assert memory.opened == [("a", 700)]
    assert (tmp_path / "a").read_bytes() == BIG


def test_a_part_with_wrong_bytes_is_found_and_fetched_anew(tmp_path: Path) -> None:
    memory, counts = Memory({"a": BIG}), list[int]()
    (tmp_path / "a.part").write_bytes(b"?" * 700)

    fetched(memory, tmp_path, counts=counts)

    assert memory.opened == [("a", 700), ("a", 0)]
    assert (tmp_path / "a").read_bytes() == BIG
    assert sum(counts) == len(BIG) - 700  # the 700 were counted when the pull began


def test_a_server_that_ignores_ranges_costs_bytes_and_no_truth(tmp_path: Path) -> None:
    memory, counts = Memory({"a": BIG}, ignores_offsets=True), list[int]()
    (tmp_path / "a.part").write_bytes(BIG[:700])

    fetched(memory, tmp_path, counts=counts)

    assert (tmp_path / "a").read_bytes() == BIG
    assert sum(counts) == len(BIG) - 700


def test_a_content_that_is_not_what_the_source_states_is_never_named(tmp_path: Path) -> None:
    wrong = BIG[:-1] + b"?"
    memory = Memory({"a": BIG}, sends={"a": [wrong, wrong]})

    with pytest.raises(PenstockError, match="arrived wrong twice: its sha256 is"):
        fetched(memory, tmp_path)

    assert tree_sizes(tmp_path) == {}


def test_a_content_that_is_right_the_second_time_is_taken(tmp_path: Path) -> None:
    memory = Memory({"a": BIG}, sends={"a": [BIG[:-1] + b"?"]})

    fetched(memory, tmp_path)

    assert (tmp_path / "a").read_bytes() == BIG


def test_a_file_longer_than_listed_is_refused(tmp_path: Path) -> None:
    memory = Memory({"a": BIG}, sends={"a": [BIG + b"more"]})

    with pytest.raises(UsageError, match="longer than the 1024 bytes"):
        fetched(memory, tmp_path)


def test_a_source_that_only_fails_is_given_up_in_words_and_parts_stay(tmp_path: Path) -> None:
    stop = QuickStop()
    cut = Interrupted("answers 503")

    class Failing(Memory):
        def open(self, file, offset):  # type: ignore[no-untyped-def]
            if offset:
                raise cut
            return super().open(file, offset)

    with pytest.raises(PenstockError, match=r"a: answers 503 \(6 times in a row\)") as refusal:
        fetched(Failing({"a": BIG}, cuts={"a": [200]}), tmp_path, stop=stop)

    assert refusal.value.exit_code == 1
    assert stop.waits == [1, 2, 4, 8, 16]
    assert tree_sizes(tmp_path) == {"a.part": 200}


def test_a_server_that_asks_to_wait_is_obeyed(tmp_path: Path) -> None:
    memory, stop = Memory({"a": BIG}, failures=[Interrupted("too many requests", after_s=42.0)]), QuickStop()

    fetched(memory, tmp_path, stop=stop)

    assert stop.waits == [42.0]


def test_one_failure_ends_the_others_and_is_what_is_told(tmp_path: Path) -> None:
    memory = Memory({f"f{n}": BIG for n in range(9)}, failures=[UsageError("no access")])

    with pytest.raises(UsageError, match="no access"):
        fetched(memory, tmp_path)


def test_a_stop_ends_at_the_next_chunk(tmp_path: Path) -> None:
    stop = QuickStop()
    stop.because(PenstockError("ended by SIGTERM"))
    stop.because(PenstockError("later"))

    with pytest.raises(PenstockError, match="ended by SIGTERM"):
        fetched(Memory({"a": BIG}), tmp_path, stop=stop)


def test_a_pause_ends_when_somebody_stops() -> None:
    stop = Stop()
    threading.Timer(0.01, stop.because, [PenstockError("ended")]).start()

    with pytest.raises(PenstockError, match="ended"):
        stop.pause(60)


def test_an_action_is_tried_until_it_is_not_cut() -> None:
    answers = [Interrupted("x"), Interrupted("x")]
    said: list[str] = []

    def action() -> int:
        if answers:
            raise answers.pop()
        return 7

    assert insisting(action, "listing", stop=QuickStop(), progress=Progress(on_words=said.append)) == 7
    assert said == ["listing: x; trying again in 1 s", "listing: x; trying again in 2 s"]


def test_a_disk_that_fills_up_ends_in_words_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the kernel refuses the write in the same way."""
    code = textwrap.dedent(
        f"""
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).parents[3])!r})
        from pathlib import Path
        from fakes.stores import Memory, QuickStop
        from penstock.errors import PenstockError
        from penstock.operate.io.storage.transfer import Progress, fetch_all
        from penstock.operate.storage import plan_fetches
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        memory = Memory({{"a": bytes(range(256)) * 4}})
        try:
            fetch_all(memory, plan_fetches(memory.listing().files, {{}}).fetches, Path({str(tmp_path)!r}),
                      workers=1, stop=QuickStop(), progress=Progress())
        except PenstockError as error:
            print(error)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "File too large" in done.stdout
    assert "make room" in done.stdout
    assert tree_sizes(tmp_path) == {"a.part": 600}
    memory = Memory({"a": BIG})
    fetched(memory, tmp_path)
    assert memory.opened == [("a", 600)]
