"""Printing that never holds up the program."""

from __future__ import annotations

import threading

from penstock.cli.printer import Printer


def test_what_is_printed_comes_in_order_and_all_of_it_before_the_end() -> None:
    printer, printed = Printer(), []
    for number in range(100):
        printer.do(lambda number=number: printed.append(number))
    printer.close()
    assert printed == list(range(100))


def test_a_reader_that_takes_nothing_costs_lines_and_not_the_program() -> None:
    printer, gate, started = Printer(), threading.Event(), threading.Event()
    printed: list[int] = []

    def stuck() -> None:
        started.set()
        gate.wait()

    printer.do(stuck)
    started.wait()
    for number in range(5000):
        printer.do(lambda number=number: printed.append(number))
    assert printer.is_behind
    gate.set()
    printer.close()
    assert printed == list(range(len(printed)))
    assert len(printed) == 1000


def test_a_reader_that_is_gone_ends_the_printing() -> None:
    printer, printed = Printer(), []

    def gone() -> None:
        raise BrokenPipeError

    printer.do(gone)
    printer.do(lambda: printed.append(1))
    printer.close()
    assert printed == []
