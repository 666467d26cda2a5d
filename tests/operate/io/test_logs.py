"""An engine's output: a file of bounded size, and its end in memory."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.io.logs import ReplicaLog, log_path


def test_the_file_holds_what_was_said_byte_for_byte(tmp_path: Path) -> None:
    log = ReplicaLog(tmp_path / "chat-0.log")
    log.write(b"one\ntw")
    log.write(b"o\nthr\xff")
    log.close()
    assert (tmp_path / "chat-0.log").read_bytes() == b"one\ntwo\nthr\xff"
    assert log.last_words() == ("one", "two", "thr\N{REPLACEMENT CHARACTER}")


def test_a_later_run_appends(tmp_path: Path) -> None:
    for word in (b"first\n", b"second\n"):
        log = ReplicaLog(tmp_path / "a.log")
        log.write(word)
        log.close()
    assert (tmp_path / "a.log").read_bytes() == b"first\nsecond\n"


@given(chunks=st.lists(st.binary(min_size=1, max_size=60), max_size=40))
def test_two_files_of_bounded_size_are_kept(tmp_path_factory: object, chunks: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("logs")  # type: ignore[attr-defined]
    log = ReplicaLog(folder / "a.log", bytes_max=100)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    assert {path.name for path in folder.iterdir()} <= {"a.log", "a.log.1"}
    assert all(path.stat().st_size <= 100 for path in folder.iterdir())
    said = b"".join(chunks)
    kept = b"".join(path.read_bytes() for path in sorted(folder.iterdir(), reverse=True))
    assert said.endswith(kept)


def test_a_progress_bar_is_its_last_state_and_escape_codes_are_not_kept(tmp_path: Path) -> None:
    log = ReplicaLog(tmp_path / "a.log")
    log.write(b"load 1%\rload 100%\r\n\x1b[2J\x1b[31mred\x1b[0m\n")
    log.close()
    assert log.last_words()[0] == "load 100%"
    assert "\x1b" not in "".join(log.last_words())


def test_an_endless_line_takes_bounded_memory(tmp_path: Path) -> None:
    log = ReplicaLog(tmp_path / "a.log")
    for _ in range(100):
        log.write(b"x" * 1000)
    log.close()
    assert [len(line) for line in log.last_words()] == [500]


def test_a_log_that_cannot_be_written_still_remembers(tmp_path: Path) -> None:
    log = ReplicaLog(tmp_path / "gone" / "a.log")
    log.write(b"said\n")
    log.close()
    assert log.last_words() == ("said",)


def test_names_with_slashes_make_one_file_each(tmp_path: Path) -> None:
    paths = [log_path(tmp_path, name) for name in ("a/b-0", "a_b-0", "a%2Fb-0", "..-0")]
    assert len(set(paths)) == 4
    assert all(path.parent == tmp_path for path in paths)
