"""The life of an engine process, without a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from penstock.simulate.io.engine.run import RunOptions, run_engine, write_ready_file
from simulate.io.engine.running import Connection, settings


def test_the_ready_file_is_one_line_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_ready_file(tmp_path / "ready", "127.0.0.1", 8000)

    assert json.loads((tmp_path / "ready").read_text()) == {"host": "127.0.0.1", "port": 8000, "pid": os.getpid()}
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]


def test_it_serves_from_its_ready_word_to_its_signal(tmp_path: Path) -> None:
    ready, words = tmp_path / "ready", list[str]()

    def on_word(word: str) -> None:
        words.append(word)
        asyncio.get_running_loop().call_soon(visit)

    def visit() -> None:
        asyncio.get_running_loop().run_in_executor(None, ask)

    def ask() -> None:
        port = int(words[0].rsplit(":", 1)[1])
        with Connection(port) as connection:
            connection.send("GET", "/health")
            words.append(str(connection.read().status))
        os.kill(os.getpid(), signal.SIGTERM)

    async def main() -> None:
        async with asyncio.timeout(30):
            await run_engine(settings(), RunOptions(host="127.0.0.1", port=0, ready_file=ready), on_word)

    asyncio.run(main())
    assert words[1] == "200"
    assert json.loads(ready.read_text())["port"] == int(words[0].rsplit(":", 1)[1])


def test_a_signal_while_the_model_loads_ends_it_at_once() -> None:
    words = list[str]()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(30):
            await run_engine(settings(), RunOptions(host="127.0.0.1", port=0, startup_delay_s=3600.0), words.append)

    asyncio.run(main())
    assert words == []


def test_a_short_load_is_waited_for() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def on_word(_: str) -> None:
            loop.call_soon(os.kill, os.getpid(), signal.SIGINT)

        async with asyncio.timeout(30):
            options = RunOptions(host="127.0.0.1", port=0, startup_delay_s=0.01)
            await run_engine(settings(), options, on_word)

    asyncio.run(main())
