"""The table of signals: complete, drawn into the documentation, and each row does what it says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest

from penstock.serve.routing.signals import SIGNALS, Signal
from serve.routing.guarded import fit, hear, pool_of, ready_table

DOCS = Path(__file__).resolve().parents[3] / "docs" / "health.md"
BEGIN, STOP = "<!-- signals:begin -->\n", "<!-- signals:end -->"
HEAD = "| signal | what was heard | effect | fault | ended early by | why |\n| --- | --- | --- | --- | --- | --- |\n"
WORDS = {
    "good": "answers",
    "alive": "lives",
    "out": "out at once",
    "counts": "counts",
    "share": "share",
    "nothing": "–",
}


def drawn() -> str:
    return HEAD + "".join(
        f"| `{name}` | {meaning.what} | {WORDS[meaning.effect]} | {meaning.fault or '–'} | "
        f"{', '.join(f'`{one}`' for one in meaning.until) or '–'} | {meaning.why} |\n"
        for name, meaning in SIGNALS.items()
    )


def test_every_signal_has_its_row_and_no_row_is_left_over() -> None:
    assert set(SIGNALS) == set(get_args(Signal))


def test_the_documentation_is_drawn_from_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(STOP)
    if os.environ.get("PENSTOCK_REGENERATE"):
        DOCS.write_text(before + BEGIN + drawn() + STOP + after, encoding="utf-8")
        return
    assert shown == drawn(), "run with PENSTOCK_REGENERATE=1, and look at the difference"


@pytest.mark.parametrize("signal", [s for s, m in SIGNALS.items() if m.effect == "nothing"])
def test_what_is_not_the_endpoints_doing_never_counts(signal: Signal) -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    hear(table, endpoint, signal, 10.0, times=10_000)
    assert (endpoint.health, endpoint.failures_total, endpoint.consecutive_failures) == ("ready", 0, 0)
    assert endpoint.guard.counts(10.0) == (0, 0)


@pytest.mark.parametrize("signal", [s for s, m in SIGNALS.items() if m.effect == "out"])
def test_what_puts_out_does_so_at_the_first_time_and_says_why(signal: Signal) -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    hear(table, endpoint, signal, 10.0)
    assert (endpoint.health, endpoint.guard.signal, endpoint.failures_total) == ("down", signal, 1)
    assert endpoint.last_error == SIGNALS[signal].what
    assert fit(table, 10.1) == ["chat-1"]
    assert endpoint.is_stalled == (SIGNALS[signal].fault == "hung")


@pytest.mark.parametrize("signal", [s for s, m in SIGNALS.items() if m.effect in ("counts", "share")])
def test_what_counts_puts_out_only_the_one_that_is_worse_than_the_others(signal: Signal) -> None:
    table = ready_table(4)
    first, *others = table.all()
    for other in others:
        hear(table, other, "ok", 10.0, times=5)
    hear(table, first, signal, 10.0, times=4)
    assert first.health == "ready"
    hear(table, first, signal, 10.0, times=6)
    assert (first.health, first.guard.signal) == ("down", signal)


@pytest.mark.parametrize("signal", [s for s, m in SIGNALS.items() if m.effect == "out"])
@pytest.mark.parametrize("sign", ["progress", "healthy", "lives"])
def test_a_sign_of_life_ends_early_what_it_disproves_and_nothing_else(signal: Signal, sign: Signal) -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    hear(table, endpoint, signal, 10.0)
    table.heard(endpoint, sign, 10.1)
    assert (endpoint.health == "ready") == (sign in SIGNALS[signal].until)


@pytest.mark.parametrize("signal", ["ok", "began"])
def test_an_answer_makes_an_unproven_endpoint_ready_and_ends_a_trial(signal: Signal) -> None:
    table = ready_table(2)
    endpoint = table.all()[0]
    endpoint.health = "unproven"
    hear(table, endpoint, signal, 1.0)
    assert endpoint.health == "ready"
    hear(table, endpoint, "engine_died", 2.0)
    hear(table, endpoint, signal, endpoint.retry_at)
    assert endpoint.health == "ready"
    assert pool_of(table).candidates(3.0) == table.all()
