"""One works, the others wait; a dead owner's lock is broken, a live one's never."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from penstock.operate.io.storage.lock import RevisionLock, is_dead, this_process
from penstock.operate.storage import Lock
from penstock.operate.storage.locks import STALE_S, parse_lock

ELSEWHERE = Lock(token="other", host="pod-2", pid=1, place="another-boot", started="1")


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self, on_pause: Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        self._on_pause = on_pause

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self._on_pause()


def lock_at(path: Path, clock: Clock | None = None, **more: object) -> RevisionLock:
    clock = clock or Clock()
    return RevisionLock(path, clock=lambda: clock.now, pause=clock.pause, **more)  # type: ignore[arg-type]


def test_a_free_lock_is_taken_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / ".lock-x"
    with lock_at(path) as lock:
        assert lock.take()
        found = parse_lock(path.read_text())
        assert found is not None
        assert found.pid == os.getpid()

    assert not path.exists()


def test_a_lock_whose_owner_is_gone_from_this_machine_is_broken_at_once(tmp_path: Path) -> None:
    path, clock = tmp_path / ".lock-x", Clock()
    gone = replace(this_process(), pid=2**22 + 1, started="7")  # above the largest process number
    path.write_text(gone.to_json())

    with lock_at(path, clock) as lock:
        assert lock.take()

    assert clock.now == 0.0
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_took_the_number_of_a_dead_one_is_told_apart() -> None:
    mine = this_process()

    assert not is_dead(mine)
    assert is_dead(replace(mine, started="1"))
    assert not is_dead(ELSEWHERE)


def test_a_lock_from_elsewhere_that_does_not_beat_is_broken_after_its_time(tmp_path: Path) -> None:
    path, clock = tmp_path / ".lock-x", Clock()
    path.write_text(ELSEWHERE.to_json())
    waited: list[Lock | None] = []

    with lock_at(path, clock) as lock:
        assert lock.take(on_wait=waited.append)

    assert STALE_S <= clock.now < STALE_S + 2
    assert waited[0] == ELSEWHERE


def test_a_lock_that_beats_is_waited_for_however_long(tmp_path: Path) -> None:
    path = tmp_path / ".lock-x"
    owner = [ELSEWHERE]

    def beat() -> None:
        if clock.now > 10 * STALE_S:
            path.unlink(missing_ok=True)
        elif int(clock.now) % 5 == 0:
            owner[0] = owner[0].beaten()
            path.write_text(owner[0].to_json())

    clock = Clock(beat)
    path.write_text(ELSEWHERE.to_json())

    with lock_at(path, clock) as lock:
        assert lock.take()

    assert clock.now > 10 * STALE_S


def test_a_waiter_goes_when_there_is_nothing_left_to_do(tmp_path: Path) -> None:
    path = tmp_path / ".lock-x"
    path.write_text(ELSEWHERE.to_json())

    with lock_at(path) as lock:
        assert not lock.take(is_needed=lambda: False)

    assert parse_lock(path.read_text()) == ELSEWHERE


def test_a_file_cut_short_by_a_dead_writer_is_broken_too(tmp_path: Path) -> None:
    path = tmp_path / ".lock-x"
    path.touch()

    with lock_at(path) as lock:
        assert lock.take()


def test_of_many_who_want_it_one_has_it_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / ".lock-x"
    gone = replace(this_process(), pid=2**22 + 1, started="7")
    path.write_text(gone.to_json())  # all of them try to break it first
    inside, most = [0], [0]
    guard = threading.Lock()

    def work() -> None:
        with RevisionLock(path, pause=lambda _: None) as lock:
            assert lock.take()
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with guard:
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert not any(thread.is_alive() for thread in threads)
    assert most == [1]
    assert list(tmp_path.iterdir()) == []


def test_an_owner_beats_and_hears_when_it_has_lost(tmp_path: Path) -> None:
    path, lost = tmp_path / ".lock-x", threading.Event()
    with RevisionLock(path, beat_s=0.005, on_lost=lost.set) as lock:
        lock.take()
        first = path.read_text()
        while (now := path.read_text()) in ("", first):
            os.sched_yield()
        assert len(now) == len(first)

        path.write_text(ELSEWHERE.to_json())

        assert lost.wait(10)
        assert lock.is_lost

    assert parse_lock(path.read_text()) == ELSEWHERE  # not ours to remove
