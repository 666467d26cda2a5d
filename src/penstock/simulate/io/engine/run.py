"""The life of one engine process: bind, wait as a model load would, serve, end on a signal.

Guarantees: the ready file appears only when connections are accepted, whole or not at all; SIGTERM and SIGINT end the
process in order. Leaves to others: the command line (`cli/engine.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penstock.simulate.io.engine.server import EngineServer, bind
from penstock.simulate.io.engine.service import ServiceSettings

__all__ = ["RunOptions", "run_engine", "write_ready_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How the process runs."""

    host: str
    port: int
    startup_delay_s: float = 0.0
    """Seconds between binding and listening: the time a real engine loads its model."""
    shutdown_timeout_s: float = 0.0
    """Seconds that running requests get after SIGTERM."""
    ready_file: Path | None = None


async def run_engine(settings: ServiceSettings, options: RunOptions, say: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    listener = bind(options.host, options.port)
    try:
        if options.startup_delay_s > 0 and await _ends_within(ending, options.startup_delay_s):
            return
        async with asyncio.TaskGroup() as tasks:
            server = EngineServer(settings, listener)
            await server.start(tasks)
            if options.ready_file is not None:
                write_ready_file(options.ready_file, server.host, server.port)
            say(f"simulated engine of {settings.source} listens on http://{server.host}:{server.port}")
            await ending.wait()
            await server.stop(options.shutdown_timeout_s)
    finally:
        listener.close()


async def _ends_within(ending: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await ending.wait()
    except TimeoutError:
        return False
    return True


def write_ready_file(path: Path, host: str, port: int) -> None:
    """Writes where the engine listens, so that a reader sees all of it or nothing."""
    line = json.dumps({"host": host, "port": port, "pid": os.getpid()})
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(line + "\n", encoding="utf-8")
    part.replace(path)
