"""`make bench`: measures the gateway and its peers in one run and prints what they cost.

Each gateway is pinned to one core; two fake upstreams and the load share another. For a load, all gateways run at once
and take turns (A B C A B C ...), so that what the machine does meanwhile falls on all of them. The figure is CPU time
of the gateway's process tree, which other work on the machine moves far less than latency.

    python -m bench.run [--quick] [--peers A,B] [--loads A,B] [--repeats N] [--markdown FILE [--mark NAME]]

Results are kept in bench/results/<date>.json. Exit code 1 when Penstock failed a request, 2 for a wrong option.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import report
from bench.measure import Cores, run_workload
from bench.peers import BUILD, HERE, PEERS, CannotRunError, Peer
from bench.workloads import WORKLOADS, Workload

QUICK_PEERS = ("penstock", "vllm-router", "aiohttp")
QUICK_LOADS = ("plain", "stream")
QUICK_SECONDS = 2.0
TABLE_WIDTH = 110  # columns, where standard output is no terminal
words = Console(stderr=True)


def show(workload: Workload, rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Prints a load's table, without the columns that only the kept files need."""
    heads = report.table_heads(workload)
    shown = [place for place, head in enumerate(heads) if head not in {"range", "RSS MB"}]
    table = Table(title=workload.title, title_justify="left")
    for place in shown:
        table.add_column(heads[place], justify="left" if place == 0 else "right", no_wrap=place == 0)
    ours = next((row for row in rows if row["peer"] == report.OURS), None)
    for row in rows:
        cells = report.table_cells(workload, row, ours)
        table.add_row(*(cells[place] for place in shown), style="bold" if row is ours else None)
    console.print(table)


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = models[0].split(":", 1)[1].strip() if models else platform.processor()
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def revision() -> str:
    """The commit that was measured, with `+` when the tree had changes."""
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty=+"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def choose(names: str | None, quick: Sequence[str] | None, known: Sequence[Any], what: str) -> list[Any]:
    """The peers or loads that were asked for, in our order.

    Raises:
        SystemExit: a name is unknown.
    """
    by_name = {item.name: item for item in known}
    wanted = names.split(",") if names else quick or list(by_name)
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        words.print(f"no {what} is named {', '.join(unknown)}; there are: {', '.join(by_name)}")
        raise SystemExit(2)
    return [item for name, item in by_name.items() if name in wanted]


def prepare(peers: Sequence[Peer]) -> list[Peer]:
    """Builds the C programs and installs the peers; leaves out, aloud, those that can't be had."""
    subprocess.run(["make", "--silent", "-C", str(HERE)], check=True)
    ready: list[Peer] = []
    for peer in peers:
        try:
            peer.prepare(words.print)
            ready.append(peer)
        except CannotRunError as reason:
            words.print(f"[yellow]{peer.name} is left out:[/] {reason}")
    return ready


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.split("\n\n")[0])
    parser.add_argument("--peers", help=f"comma-separated; all: {','.join(peer.name for peer in PEERS)}")
    parser.add_argument("--loads", help=f"comma-separated; all: {','.join(load.name for load in WORKLOADS)}")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of each load on each gateway (default 3)")
    parser.add_argument("--quick", action="store_true", help="about a minute: a few peers, two loads, short windows")
    parser.add_argument("--markdown", metavar="FILE", help="also write the tables into FILE, between its marks")
    parser.add_argument("--mark", metavar="NAME", default=report.MARKER, help="which marks: `<!-- NAME:begin -->`")
    return parser.parse_args()


def make_ready() -> Cores:
    """Takes what the operating system gives: file descriptors for thousands of streams, and the load's core for us."""
    _, descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))
    cores = Cores.of_this_machine()
    os.sched_setaffinity(0, {cores.load})
    if cores.gateway == cores.load:
        words.print("[yellow]only one core: gateway and load share it, so only CPU figures mean anything[/]")
    return cores


def measure_all(loads: Sequence[Workload], peers: Sequence[Peer], repeats: int, cores: Cores) -> list[dict[str, Any]]:
    """Every load on every peer, each table printed as it is known; one row per load and peer."""
    folder = BUILD / "run"
    folder.mkdir(parents=True, exist_ok=True)
    console = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
    rows: list[dict[str, Any]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=words, transient=True) as progress:
        turns = sum((1 if load.is_idle else repeats) * sum(p.takes(load.name) for p in peers) for load in loads)
        task = progress.add_task("starting", total=turns)

        def tell(step: str) -> None:
            progress.update(task, description=step, advance=1)

        for load in loads:
            here = [peer for peer in peers if peer.takes(load.name)]
            taken = run_workload(load, here, repeats=repeats, cores=cores, folder=folder, tell=tell)
            of_load = [report.medians(samples) | {"samples": samples} for samples in taken]
            show(load, of_load, console)
            rows += of_load
    return rows


def main() -> int:
    """Runs it; returns the exit code."""
    options = arguments()
    peers = choose(options.peers, QUICK_PEERS if options.quick else None, PEERS, "peer")
    loads = choose(options.loads, QUICK_LOADS if options.quick else None, WORKLOADS, "load")
    if options.quick:
        loads = [replace(load, seconds=min(load.seconds, QUICK_SECONDS)) for load in loads]
    peers = prepare(peers)
    cores = make_ready()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: no gateway is left behind
    try:
        rows = measure_all(loads, peers, options.repeats, cores)
    except CannotRunError as reason:
        words.print(f"[red]could not measure:[/] {reason}")
        return 1
    run: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python -m bench.run {' '.join(sys.argv[1:])}".strip(),
        "revision": revision(),
        "machine": describe_machine(),
        "repeats": options.repeats,
        "peers": [{"name": peer.name, "does": peer.does} for peer in peers],
        "rows": rows,
    }
    keep(run, options.markdown, options.mark)
    return 1 if any(row["peer"] == report.OURS and row["failures"] for row in rows) else 0


def keep(run: dict[str, Any], markdown_file: str | None, mark: str) -> None:
    """Writes the results."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    file = results / f"{run['at'].replace(':', '').removesuffix('+0000')}.json"
    file.write_text(json.dumps(run, indent=1) + "\n")
    words.print(f"kept in {file}")
    if markdown_file:
        target = Path(markdown_file)
        text = target.read_text() if target.exists() else ""
        target.write_text(report.replace_marked(text, report.markdown(run), mark))
        words.print(f"tables written into {target}")


if __name__ == "__main__":
    sys.exit(main())
