"""A model is in the store whole and verified, or not at all, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.hub import COMMIT, FakeHub
from fakes.models import safetensors, small_model, write
from fakes.stores import Memory, QuickStop, flip, pull
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import read_marker, snapshot
from penstock.operate.io.storage.files import tree_sizes
from penstock.operate.io.storage.lock import this_process
from penstock.operate.storage import MARKER, verify_record

FILES = small_model()
SHARD, OTHER = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def entries(store: Path) -> list[str]:
    return sorted(p.name for p in (store / "org--tiny").iterdir())


def is_whole(folder: Path) -> bool:
    record = read_marker(folder)
    return record is not None and verify_record(record, snapshot(folder, with_hashes=True)) == []


def test_a_pull_publishes_a_whole_model_and_leaves_nothing_else(tmp_path: Path) -> None:
    done = pull(Memory(), tmp_path)

    assert done.path == str(tmp_path / "org--tiny" / "r1")
    assert entries(tmp_path) == ["r1"]
    assert is_whole(tmp_path / "org--tiny" / "r1")
    assert (done.files, done.fetched_bytes, done.was_present) == (len(FILES), done.bytes, False)


def test_a_second_pull_fetches_nothing(tmp_path: Path) -> None:
    pull(Memory(), tmp_path)
    memory = Memory()

    done = pull(memory, tmp_path)

    assert done.was_present
    assert memory.opened == []


def test_a_pull_that_failed_is_continued(tmp_path: Path) -> None:
    with pytest.raises(PenstockError):
        pull(Memory(cuts={SHARD: [100], OTHER: [0] * 9}), tmp_path)
    assert not (tmp_path / "org--tiny" / "r1").exists()
    here = tree_sizes(tmp_path / "org--tiny" / ".partial-r1")
    assert here

    memory = Memory()
    done = pull(memory, tmp_path)

    assert not done.was_present
    assert done.fetched_bytes == done.bytes - sum(here.values())
    assert is_whole(Path(done.path))
    assert dict(memory.opened) == {p: here.get(f"{p}.part", 0) for p in FILES if p not in here}


@pytest.mark.parametrize("how", ["flip", "cut", "gone", "stranger", "marker"])
def test_a_damaged_revision_is_mended_and_only_what_is_damaged_is_fetched(tmp_path: Path, how: str) -> None:
    folder = Path(pull(Memory(), tmp_path).path)
    match how:
        case "flip":
            flip(folder / SHARD, 30)
        case "cut":
            (folder / SHARD).write_bytes(FILES[SHARD][:50])
        case "gone":
            (folder / SHARD).unlink()
        case "stranger":
            (folder / "extra.safetensors").write_bytes(safetensors({"x": 1}))
        case _:
            (folder / MARKER).write_text("{")
    memory, words = Memory(), list[str]()

    done = pull(memory, tmp_path, words=words)

    assert is_whole(folder)
    assert entries(tmp_path) == ["r1"]
    assert {path for path, _ in memory.opened} == ({SHARD} if how in ("flip", "cut", "gone") else set())
    assert not done.was_present
    assert words


def test_damage_that_only_hashes_show_is_found_when_asked_for(tmp_path: Path) -> None:
    folder = Path(pull(Memory(), tmp_path).path)
    flip(folder / SHARD)

    assert pull(Memory(), tmp_path).was_present
    assert not pull(Memory(), tmp_path, checks_hashes=True).was_present
    assert is_whole(folder)


def test_a_folder_that_no_pull_made_is_left_alone(tmp_path: Path) -> None:
    write({"mine.txt": b"x"}, tmp_path / "org--tiny" / "r1")

    with pytest.raises(UsageError, match="no pull made it"):
        pull(Memory(), tmp_path)

    assert (tmp_path / "org--tiny" / "r1" / "mine.txt").exists()


def test_two_sources_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    pull(Memory(), tmp_path)

    with pytest.raises(UsageError, match="has the same name"):
        pull(Memory(), tmp_path, source="other/tiny", name="org--tiny")


def test_a_published_revision_is_never_added_to(tmp_path: Path) -> None:
    pull(Memory(), tmp_path)
    more = Memory({**FILES, "README.md": b"x"})

    assert pull(more, tmp_path).was_present
    with pytest.raises(UsageError, match=r"without README\.md"):
        pull(more, tmp_path, include=("*.md",))


def test_a_model_that_cannot_be_served_is_not_published(tmp_path: Path) -> None:
    swapped = {**FILES, SHARD: FILES[OTHER], OTHER: FILES[SHARD]}

    with pytest.raises(UsageError, match="cannot be served") as refusal:
        pull(Memory(swapped), tmp_path)

    assert "lacks tensor" in refusal.value.message
    assert not (tmp_path / "org--tiny" / "r1").exists()


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    memory = Memory()

    with pytest.raises(PenstockError, match=r"1\.0 kB free") as failure:
        pull(memory, tmp_path, free=lambda _: 1000)

    assert "make room for 67.1 MB more" in (failure.value.hint or "")
    assert failure.value.exit_code == 1
    assert memory.opened == []


def test_files_of_an_earlier_run_get_their_hashes_where_the_source_states_none(tmp_path: Path) -> None:
    with pytest.raises(PenstockError):
        pull(Memory(states_hashes=False, cuts={OTHER: [0] * 9}), tmp_path)

    done = pull(Memory(states_hashes=False), tmp_path)

    assert is_whole(Path(done.path))


def test_a_hostile_listing_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leads out"):
        pull(Memory({**FILES, "../../evil.json": b"{}"}), tmp_path / "store")

    assert list(tmp_path.iterdir()) == []


def test_of_two_pulls_at_once_one_works_and_the_other_finds_it(tmp_path: Path) -> None:
    memories, results, go = [Memory(), Memory()], list[bool](), threading.Barrier(2)

    def work(memory: Memory) -> None:
        go.wait(10)
        results.append(pull(memory, tmp_path).was_present)

    threads = [threading.Thread(target=work, args=(memory,)) for memory in memories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(results) == [False, True]
    assert sorted(bool(memory.opened) for memory in memories) == [False, True]
    assert entries(tmp_path) == ["r1"]


def test_current_points_at_what_was_pulled_last_and_only_when_asked_for(tmp_path: Path) -> None:
    link = tmp_path / "org--tiny" / "current"
    pull(Memory(), tmp_path)
    assert not link.exists()

    for revision in ("r2", "r1"):
        pull(Memory(revision=revision), tmp_path, sets_current=True)
        assert (link / "config.json").read_bytes() == FILES["config.json"]
        assert link.readlink() == Path(revision)


def test_current_that_is_a_folder_is_left_alone_in_words(tmp_path: Path) -> None:
    (tmp_path / "org--tiny" / "current").mkdir(parents=True)

    with pytest.raises(PenstockError, match="something that is no link has that name"):
        pull(Memory(), tmp_path, sets_current=True)


def test_an_adapter_is_pulled(tmp_path: Path) -> None:
    config = b'{"peft_type": "LORA", "base_model_name_or_path": "org/base-instruct"}'
    files = {"adapter_config.json": config, "adapter_model.safetensors": safetensors({"a": 4})}

    assert pull(Memory(files), tmp_path, source="org/my-chat-lora").warnings == ()


def test_a_lock_that_a_dead_pull_left_does_not_hold_up(tmp_path: Path) -> None:
    folder = tmp_path / "org--tiny"
    folder.mkdir()
    (folder / ".lock-r1").write_text(replace(this_process(), pid=2**22 + 1, started="7").to_json())

    pull(Memory(), tmp_path)

    assert entries(tmp_path) == ["r1"]


def test_a_stop_before_publishing_publishes_nothing_and_gives_the_lock_back(tmp_path: Path) -> None:
    stop = QuickStop()

    class Stopping(Memory):
        def open(self, file, offset):  # type: ignore[no-untyped-def]
            stop.because(PenstockError("ended by SIGTERM"))
            return super().open(file, offset)

    with pytest.raises(PenstockError, match="SIGTERM"):
        pull(Stopping(), tmp_path, stop=stop)

    assert entries(tmp_path) == [".partial-r1"]


def command(hub: FakeHub, store: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": "/nonexistent", "NO_COLOR": "1"}
    words = [sys.executable, "-m", "penstock", "models", "pull", "org/tiny", "--to", str(store), "-o", "json"]
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_pull_killed_in_mid_file_is_continued_by_the_next_and_no_byte_is_fetched_twice(
    the_hub: FakeHub, tmp_path: Path
) -> None:
    files = small_model(numbers=500_000)
    the_hub.repos["org/tiny"].files = files
    the_hub.hold = threading.Event()
    killed = command(the_hub, tmp_path)
    assert the_hub.held.wait(60)
    partial = tmp_path / "org--tiny" / f".partial-{COMMIT}"
    watch = threading.Event()
    while not partial.is_dir() or sum(tree_sizes(partial).values()) < 1_000_000:
        watch.wait(0.01)
        assert killed.poll() is None, killed.stderr.read() if killed.stderr else ""
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    here = tree_sizes(partial)
    the_hub.hold.set()
    the_hub.hold = None
    the_hub.asked.clear()

    out, err = command(the_hub, tmp_path).communicate(timeout=120)

    [done] = json.loads(out)["models"]
    assert done["fetched_bytes"] == done["bytes"] - sum(here.values())
    starts = {
        p.rpartition("/")[2]: r for place, p, r, _ in the_hub.asked if place == "cdn" and p.endswith("safetensors")
    }
    for shard in (SHARD, OTHER):
        offset = here.get(f"{shard}.part", 0)
        assert starts[shard] == (f"bytes={offset}-{len(files[shard]) - 1}" if offset else None)
    assert any(starts.values())
    assert "of them here already" in err
    assert is_whole(Path(done["path"]))
    assert entries(tmp_path) == [COMMIT]


def test_a_pull_that_is_asked_to_end_ends_in_words_with_1(the_hub: FakeHub, tmp_path: Path) -> None:
    the_hub.repos["org/tiny"].files = small_model(numbers=200_000)
    the_hub.hold = threading.Event()
    running = command(the_hub, tmp_path)
    assert the_hub.held.wait(60)

    running.send_signal(signal.SIGTERM)
    the_hub.hold.set()
    _, err = running.communicate(timeout=60)

    assert running.returncode == 1
    assert "ended by SIGTERM" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "org--tiny").glob(".lock-*"))
