"""A lock is stale when its owner's heartbeat stays away, by the watcher's own clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.storage.locks import BEAT_S, STALE_S, Lock, Watch, parse_lock

LOCK = Lock(token="t", host="pod-1", pid=7, place="boot/pid:[1]", started="99")


def test_a_lock_comes_back_as_it_was() -> None:
    assert parse_lock(LOCK.to_json()) == LOCK
    assert LOCK.shown == "process 7 on pod-1"


def test_a_heartbeat_changes_the_text_and_not_its_length() -> None:
    beaten = LOCK.beaten()

    assert beaten.beat == 1
    assert beaten.to_json() != LOCK.to_json()
    assert len(beaten.to_json()) == len(LOCK.to_json())


@given(st.text(max_size=60))
def test_any_text_is_a_lock_or_none(text: str) -> None:
    assert parse_lock(text) is None


def test_a_lock_that_beats_is_never_stale() -> None:
    watch = Watch(text="0", since=0.0)
    for beat in range(1, 100):
        now = beat * BEAT_S
        watch = watch.seeing(str(beat), now)

        assert not watch.is_stale(now + BEAT_S)


def test_a_lock_that_does_not_beat_is_stale_in_time() -> None:
    watch = Watch(text="0", since=100.0).seeing("0", 130.0)

    assert not watch.is_stale(100.0 + STALE_S - 0.1)
    assert watch.is_stale(100.0 + STALE_S)
