"""A real vLLM publishes what its prefix cache holds, and the gateway's follower knows it block by block.

Needs the CPU build of vLLM (`make e2e` installs it).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from e2e.fleet_process import ASK_AGAIN_S, post, read, wait_until
from penstock.plan.engine_command import EVENTS_FLAG, events_config
from penstock.serve.io.kv_events import KvFollower
from penstock.serve.routing import Endpoint, EndpointAddress, EndpointTable
from penstock.serve.routing.kv_events import KvCache
from penstock.spec.traffic import KV_REPLAY_PORT_AFTER

HERE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("PENSTOCK_VLLM_VENV") or HERE.parents[1] / ".venv-vllm")
BLOCK = 32
START_S_MAX = 400.0
HEARD_S_MAX = 60.0
ENV = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # /reset_prefix_cache
}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (VENV / "bin" / "vllm").exists(), reason=f"real vLLM is not in {VENV}; `make e2e` installs it and runs this"
    ),
]


class Engine:
    """One vLLM that publishes its events."""

    def __init__(self, port: int, events_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port, self.events_port = port, events_port

    def ask(self, token_ids: list[int]) -> int:
        """Sends a prompt of these ids; how many of them were cached."""
        asked = {"model": "tiny", "prompt": token_ids, "max_tokens": 1, "temperature": 0}
        status, said = post(f"{self.url}/v1/completions", json.dumps(asked).encode(), "-")
        assert status == 200, said
        details: dict[str, Any] = said["usage"]["prompt_tokens_details"] or {}
        return int(details.get("cached_tokens") or 0)

    def forget(self) -> None:
        """Empties the prefix cache."""
        post(f"{self.url}/reset_prefix_cache", b"", "-")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("events")
    model = folder / "tiny-model"
    subprocess.run([VENV / "bin" / "python", HERE / "engine" / "tiny_model.py", model], check=True)
    port, events_port = _ports()
    flags = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny", "--enforce-eager"]
    flags += ["--max-model-len", "1024", "--max-num-seqs", "8", "--kv-cache-memory-bytes", "64M", "--dtype", "float32"]
    flags += [
        "--block-size",
        str(BLOCK),
        "--enable-prompt-tokens-details",
        f"--{EVENTS_FLAG}",
        events_config(events_port),
    ]
    log = folder / "engine.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [VENV / "bin" / "vllm", "serve", model, *flags],
            env=os.environ | ENV,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        started = Engine(port, events_port)

        def is_up() -> bool:
            assert process.poll() is None, log.read_text()[-2_000:]
            with suppress(OSError):
                return read(f"{started.url}/health") == b""
            return False

        wait_until(is_up, "the engine answers", START_S_MAX)
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _ports() -> tuple[int, int]:
    """One for the API, and the first of two neighbours for events and replay."""
    while True:
        with socket.socket() as api, socket.socket() as events, socket.socket() as replay:
            api.bind(("127.0.0.1", 0))
            events.bind(("127.0.0.1", 0))
            port: int = events.getsockname()[1]
            with suppress(OSError, OverflowError):
                replay.bind(("127.0.0.1", port + KV_REPLAY_PORT_AFTER))
                return api.getsockname()[1], port


@asynccontextmanager
async def following(engine: Engine) -> AsyncIterator[tuple[KvCache, list[tuple[int, bool]]]]:
    """What a follower knows of the engine, and what it has told."""
    table, told = EndpointTable(), list[tuple[int, bool]]()
    table.set_pool("tiny", [EndpointAddress(id="tiny-0", host="127.0.0.1", port=engine.port)])

    def seen(_: Endpoint, tokens: int, is_lost: bool) -> None:
        told.append((tokens, is_lost))

    follower = KvFollower(table, engine.events_port, seen)
    (endpoint,) = table.all()
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(follower.run())
        try:
            async with asyncio.timeout(HEARD_S_MAX):
                for seed in count(1_000):  # what is published before its subscription is there is not heard
                    await asyncio.to_thread(engine.ask, prompt(seed, 1))
                    await asyncio.sleep(ASK_AGAIN_S)
                    if told:
                        break
            yield follower.caches[id(endpoint)], told
        finally:
            life.cancel()


async def heard(told: list[tuple[int, bool]], since: int) -> None:
    """Returns when the follower has told of more than `since` batches: nobody wakes who only reads a list."""
    async with asyncio.timeout(HEARD_S_MAX):
        for _ in count():
            if len(told) > since:
                return
            await asyncio.sleep(ASK_AGAIN_S)


def prompt(seed: int, blocks: int) -> list[int]:
    """Whole blocks and a half: the engine keeps no half."""
    return [10 + (seed * 7919 + place * 31) % 1_900 for place in range(blocks * BLOCK + BLOCK // 2)]


def test_the_follower_knows_what_the_engine_finds_cached(engine: Engine) -> None:
    async def main() -> None:
        async with following(engine) as (cache, told):
            one, other = prompt(1, 5), prompt(2, 3)
            forked = one[: 3 * BLOCK] + prompt(3, 2)
            for ids in (one, other, forked):
                before = len(told)
                await asyncio.to_thread(engine.ask, ids)
                await heard(told, before)
            assert cache.is_whole
            assert cache.block_size == BLOCK
            for ids in (one, other, forked, prompt(4, 2), one[:BLOCK] + other):
                known = cache.tokens_held(ids)
                assert known == await asyncio.to_thread(engine.ask, ids)
            assert cache.tokens_held(one) == 5 * BLOCK

    asyncio.run(main())


def test_who_comes_late_is_told_what_was_missed(engine: Engine) -> None:
    async def main() -> None:
        early = prompt(5, 4)
        engine.ask(early)
        async with following(engine) as (cache, told):
            before = len(told)
            await asyncio.to_thread(engine.ask, prompt(6, 2))
            await heard(told, before)
            assert cache.is_whole
            assert cache.tokens_held(early) == 4 * BLOCK

    asyncio.run(main())


def test_a_cache_that_was_emptied_is_forgotten(engine: Engine) -> None:
    async def main() -> None:
        gone = prompt(7, 4)
        async with following(engine) as (cache, told):
            before = len(told)
            await asyncio.to_thread(engine.ask, gone)
            await heard(told, before)
            assert cache.tokens_held(gone) == 4 * BLOCK
            await asyncio.to_thread(engine.forget)
            before = len(told)
            await asyncio.to_thread(engine.ask, prompt(8, 2))  # the engine tells with its next step
            await heard(told, before)
            assert any(is_lost for _, is_lost in told[before:])
            assert cache.tokens_held(gone) == 0
            assert await asyncio.to_thread(engine.ask, gone) == 0

    asyncio.run(main())
