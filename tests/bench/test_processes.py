"""What the benchmark reads of processes."""

from __future__ import annotations

import os
import subprocess
import sys

from bench.processes import CpuReading, cpu_reading, cpu_seconds_between, parse_stat, rss_bytes, tree

STAT = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 3 4 20 0 5 0 100 1000000 250 18446744073709551615 1 1 0 0 0"


def reading(ticks_s: float, **threads: int) -> CpuReading:
    return CpuReading(thread_ns={(1, int(name[1:])): ns for name, ns in threads.items()}, ticks_s=ticks_s)


def test_a_command_with_brackets_does_not_shift_the_fields() -> None:
    stat = parse_stat(STAT)
    assert (stat.parent, stat.ticks, stat.rss_pages) == (7, 11 + 22 + 3 + 4, 250)


def test_cpu_time_is_counted_to_the_nanosecond_new_threads_included() -> None:
    assert cpu_seconds_between(reading(0.0, t1=1_000), reading(0.0, t1=3_000, t2=500)) == 2_500 / 1e9


def test_ticks_are_used_when_a_thread_took_its_count_along() -> None:
    assert cpu_seconds_between(reading(1.0, t1=5, t2=7), reading(1.5, t1=9)) == 0.5


def test_a_tree_holds_the_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert tree(os.getpid())[0] == os.getpid()
        assert child.pid in tree(os.getpid())
        assert child.stdin is not None
        child.stdin.close()


def test_our_own_cpu_time_grows_and_our_memory_is_not_nothing() -> None:
    before = cpu_reading(os.getpid())
    sum(range(100_000))
    assert cpu_seconds_between(before, cpu_reading(os.getpid())) > 0
    assert rss_bytes(os.getpid()) > 1_000_000
