"""Progress: few lines in a log, with rate and time left; SIGTERM ends in good order."""

from __future__ import annotations

import os
import signal

import pytest

from penstock.cli.models_screen import Lines, moving, shown_seconds
from penstock.errors import PenstockError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_every_ten_seconds_with_rate_and_time_left() -> None:
    clock, said = Clock(), list[str]()
    lines = Lines("pulling m", write=said.append, clock=clock)
    lines.start(1_000_000_000, 0)

    for second in range(1, 21):
        clock.now = float(second)
        lines.add(10_000_000)

    assert said == [
        "pulling m: 1.0 GB",
        "100 MB of 1.0 GB (10 %), 10.0 MB/s, about 90 s left".replace("90 s", "2 min"),
        "200 MB of 1.0 GB (20 %), 10.0 MB/s, about 80 s left",
    ]


def test_what_was_here_before_is_told_and_is_no_rate() -> None:
    clock, said = Clock(), list[str]()
    lines = Lines("pulling m", write=said.append, clock=clock)
    lines.start(1_000, 900)
    clock.now = 10.0
    lines.add(50)

    assert said == [
        "pulling m: 1.0 kB, 900 bytes of them here already",
        "950 bytes of 1.0 kB (95 %), 5 bytes/s, about 10 s left",
    ]


def test_nothing_to_move_is_no_division_by_nothing() -> None:
    clock, said = Clock(), list[str]()
    lines = Lines("pulling m", write=said.append, clock=clock)
    lines.start(0, 0)
    clock.now = 99.0
    lines.add(0)

    assert said[-1] == "0 bytes of 0 bytes (100 %), 0 bytes/s"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (11_100, "3 h 5 min")]
)
def test_a_time_left_is_shown_as_people_read_it(seconds: float, shown: str) -> None:
    assert shown_seconds(seconds) == shown


def test_sigterm_stops_the_work_in_words_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with moving("pulling") as (_, stop):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(PenstockError, match="ended by SIGTERM"):
            stop.check()

    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_stops_the_workers_and_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt), moving("pulling") as (_, stop):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(PenstockError):
        stop.check()


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    with moving("pulling m") as (progress, _):
        progress.start(100, 20)
        progress.count(80)
        progress.say("[odd] words")

    assert "[odd] words" in capsys.readouterr().err
