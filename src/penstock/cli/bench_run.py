"""Runs one load under a progress bar, and stops it cleanly on Ctrl-C.

Guarantees: on Ctrl-C what was measured so far is kept; the bar is on stderr and only where that is a terminal.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import orjson
import uvloop
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from penstock.cli.bench_workload import Workload
from penstock.cli.output import stderr_console
from penstock.errors import PenstockError
from penstock.simulate.io.calls import Target, call, open_session
from penstock.simulate.io.load import LoadPlan, LoadRun, run_load
from penstock.simulate.workload import PromptBook, Sample

__all__ = ["first_model", "measure_words_per_token", "run_with_progress"]

_REFRESH_S = 0.25
_LISTING_TIMEOUT_S = 15.0
_SAMPLE_WORDS = 200  # fits into the context of the smallest models
_WORDS_PER_TOKEN = (0.1, 2.0)  # outside of this the count is not to be believed
_FILES_PER_REQUEST = 2  # a socket, and as much again for what else is open


def first_model(target: Target) -> tuple[str, int]:
    """The first model that the API lists, and how many it lists."""
    return asyncio.run(_first_model(target))


def measure_words_per_token(target: Target, model: str, seed: int) -> float:
    """How many of our words make a token of this model; 1 where the API cannot count (vLLM's `/tokenize`)."""
    return asyncio.run(_words_per_token(target, model, PromptBook(seed)))


def run_with_progress(plan: LoadPlan, target: Target, workload: Workload) -> tuple[LoadRun, bool]:
    """The run, and whether a person stopped it."""
    _raise_file_limit(plan.in_flight_max)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(plan, target, workload))


async def _first_model(target: Target) -> tuple[str, int]:
    async with open_session(connections_max=1, timeout_s=_LISTING_TIMEOUT_S) as session:
        seen = await call(session, target, "/v1/models", None, clock=time.monotonic)
    if seen.failure is not None:
        hint = "try `penstock smoke` on this address; name a model with --model to skip the listing"
        if seen.status in {401, 403}:
            hint = "give a key with --key or the environment variable PENSTOCK_KEY"
        raise PenstockError(f"{target.origin}/v1/models: {seen.failure.kind}: {seen.failure.detail}", hint=hint)
    try:
        names = [str(entry["id"]) for entry in orjson.loads(seen.body)["data"]]
    except (ValueError, KeyError, TypeError) as e:
        raise PenstockError(
            f"{target.origin}/v1/models answered something that is no list of models",
            hint="is this the address of an OpenAI-compatible API?",
        ) from e
    if not names:
        raise PenstockError(f"{target.origin} lists no model", hint="is an engine still starting?")
    return names[0], len(names)


async def _words_per_token(target: Target, model: str, book: PromptBook) -> float:
    body = orjson.dumps({"model": model, "prompt": book.sample(_SAMPLE_WORDS), "add_special_tokens": False})
    async with open_session(connections_max=1, timeout_s=_LISTING_TIMEOUT_S) as session:
        seen = await call(session, target, "/tokenize", body, clock=time.monotonic)
    if seen.failure is not None:
        return 1.0
    try:
        tokens = int(orjson.loads(seen.body)["count"])
    except (ValueError, KeyError, TypeError):
        return 1.0
    low, high = _WORDS_PER_TOKEN
    return min(high, max(low, _SAMPLE_WORDS / tokens)) if tokens > 0 else 1.0


async def _run(plan: LoadPlan, target: Target, workload: Workload) -> tuple[LoadRun, bool]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    try:
        with _progress(workload) as bar:
            async with asyncio.TaskGroup() as group:
                drawing = group.create_task(_draw(bar))
                run = await run_load(plan, target, stop=stop, on_sample=bar.note)
                drawing.cancel()
            bar.draw(is_over=not stop.is_set())
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return run, stop.is_set()


@dataclass(slots=True, kw_only=True)
class _Bar:
    """What the bar shows. Owner: `_run`."""

    progress: Progress
    task: TaskID
    duration_s: float | None
    requests: int | None
    start_at: float
    ok: int = 0
    failed: int = 0
    tokens: int = 0

    def note(self, sample: Sample) -> None:
        """One request ended."""
        if sample.failure is None:
            self.ok += 1
        else:
            self.failed += 1
        self.tokens += sample.output_tokens

    def draw(self, *, is_over: bool = False) -> None:
        """Show the present state."""
        elapsed_s = time.monotonic() - self.start_at
        shares = [1.0] if is_over else [0.0]
        if self.duration_s:
            shares.append(min(1.0, elapsed_s / self.duration_s))
        if self.requests:
            shares.append(min(1.0, (self.ok + self.failed) / self.requests))
        failed = f" [red]{self.failed} failed[/red]" if self.failed else ""
        words = f"{self.ok} answered{failed}  {self.tokens / max(elapsed_s, 0.001):,.0f} tokens/s"
        self.progress.update(self.task, completed=max(shares), words=words)
        self.progress.refresh()


@contextmanager
def _progress(workload: Workload) -> Iterator[_Bar]:
    console = stderr_console()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,  # a refresh thread would take the interpreter from the load
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        yield _Bar(
            progress=progress,
            task=progress.add_task("load", total=1.0, words=""),
            duration_s=workload.duration_s,
            requests=workload.requests or workload.requests_known,
            start_at=time.monotonic(),
        )


async def _draw(bar: _Bar) -> None:
    while True:
        bar.draw()
        await asyncio.sleep(_REFRESH_S)


def _raise_file_limit(in_flight_max: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = in_flight_max * _FILES_PER_REQUEST
    if soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
