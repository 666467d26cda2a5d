"""What Linux says about processes: their trees, CPU time and memory. Reads /proc only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CpuReading",
    "cpu_reading",
    "cpu_seconds_between",
    "machine_cpu_s",
    "own_ticks_s",
    "parse_stat",
    "rss_bytes",
    "tree",
]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuReading:
    """CPU time of a process tree: exact per thread, and by ticks for the whole (which also counts what has ended)."""

    thread_ns: dict[tuple[int, int], int]
    ticks_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """The fields of /proc/PID/stat that we use."""

    parent: int
    ticks: int
    """User and system time, that of reaped children included."""
    rss_pages: int


def parse_stat(text: str) -> Stat:
    """Reads one /proc/PID/stat line. A command may hold spaces and brackets: counting starts after the last bracket."""
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(parent=int(fields[1]), ticks=sum(map(int, fields[11:15])), rss_pages=int(fields[21]))


def _stats() -> dict[int, Stat]:
    stats: dict[int, Stat] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                stats[int(folder.name)] = parse_stat((folder / "stat").read_text())
            except OSError:
                continue  # it ended while we looked
    return stats


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for pid, stat in _stats().items():
        children.setdefault(stat.parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_reading(root: int) -> CpuReading:
    """CPU time of a process tree up to now."""
    thread_ns: dict[tuple[int, int], int] = {}
    ticks = 0
    for pid in tree(root):
        try:
            ticks += parse_stat((_PROC / str(pid) / "stat").read_text()).ticks
            for task in (_PROC / str(pid) / "task").iterdir():
                thread_ns[pid, int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return CpuReading(thread_ns=thread_ns, ticks_s=ticks / _TICKS_PER_S)


def cpu_seconds_between(before: CpuReading, after: CpuReading) -> float:
    """CPU seconds between two readings: to the nanosecond, unless a thread ended and took its count along."""
    if before.thread_ns.keys() - after.thread_ns.keys():
        return after.ticks_s - before.ticks_s
    return sum(ns - before.thread_ns.get(thread, 0) for thread, ns in after.thread_ns.items()) / 1e9


def machine_cpu_s() -> float:
    """CPU seconds of every process we can see. Its growth less our own is what others took."""
    return sum(stat.ticks for stat in _stats().values()) / _TICKS_PER_S


def own_ticks_s(root: int) -> float:
    """CPU seconds of one process without its descendants, ended ones aside, by ticks; 0 where it is gone."""
    try:
        return parse_stat((_PROC / str(root) / "stat").read_text()).ticks / _TICKS_PER_S
    except OSError:
        return 0.0


def rss_bytes(root: int) -> int:
    """Resident memory of a process tree."""
    stats = _stats()
    return sum(stats[pid].rss_pages for pid in tree(root) if pid in stats) * _PAGE_BYTES
