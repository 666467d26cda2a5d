"""Which lines of a dead process are shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.last_words import last_words


def test_a_short_log_is_shown_whole_without_empty_lines_and_colours() -> None:
    assert last_words(["one", "", "\x1b[31mtwo\x1b[0m  "]) == ("one", "two")


def test_the_cause_far_above_the_end_is_shown_before_it() -> None:
    worker = "(Worker pid=7) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    lines = ["INFO starting", worker, *(f"INFO frame {n}" for n in range(50)), "RuntimeError: Engine core failed"]
    shown = last_words(lines)
    assert shown[0] == worker
    assert shown[-1] == "RuntimeError: Engine core failed"


def test_a_cause_that_is_repeated_is_shown_once() -> None:
    lines = ["ValueError: bad"] * 30 + ["done"] * 12
    assert last_words(lines).count("ValueError: bad") == 1


@given(st.lists(st.text(max_size=40), max_size=100))
def test_what_is_shown_was_said_and_is_bounded(lines: list[str]) -> None:
    shown = last_words(lines)
    assert len(shown) <= 16
    assert all(any(text in line or line.rstrip() for line in lines) for text in shown)
    assert all(shown)
