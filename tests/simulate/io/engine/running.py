"""A simulated engine on a loopback port for tests, and a client that shows the bytes of its answers.

with running_engine() as engine:
    answer = engine.ask("POST", "/v1/completions", {"prompt": "hi"})
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from penstock.facts import Task, find_gpu, find_model
from penstock.simulate.engine import EngineConfig, tokenizer
from penstock.simulate.io.engine import EngineServer, ServiceSettings, bind

PATIENCE_S = 30.0
"""A bound for the hopeless case; nothing waits this long when all is well."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    chunks: list[bytes] = field(default_factory=list)
    """The HTTP chunks, where the body came in chunks."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    @property
    def events(self) -> list[Any]:
        """The JSON of each `data:` line; `[DONE]` as text."""
        lines = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._file: BinaryIO = self.socket.makefile("rb")

    def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        """Sends a request. A body that is not bytes goes as JSON."""
        fields = {"host": "engine"}
        raw = b""
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            fields["content-type"] = "application/json"
        if method == "POST":
            fields["content-length"] = str(len(raw))
        fields |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + raw)

    def read_head(self) -> tuple[int, list[tuple[str, str]]]:
        """Status and headers of the next answer."""
        line = self._file.readline()
        if not line:
            raise ConnectionError("closed before an answer")
        headers = []
        while (text := self._file.readline().rstrip(b"\r\n").decode("latin-1")) != "":
            name, _, value = text.partition(": ")
            headers.append((name, value))
        return int(line.split()[1]), headers

    def read_chunk(self) -> bytes:
        """The next HTTP chunk; empty for the last. `ConnectionError` where the connection ended before it."""
        line = self._file.readline()
        if not line:
            raise ConnectionError("closed in the middle of an answer")
        size = int(line, 16)
        chunk = self._file.read(size)
        self._file.readline()
        return chunk

    def read(self) -> Answer:
        """The next answer, whole."""
        status, headers = self.read_head()
        named = dict(headers)
        if named.get("transfer-encoding") == "chunked":
            chunks = list(iter(self.read_chunk, b""))
            return Answer(status, headers, b"".join(chunks), chunks)
        return Answer(status, headers, self._file.read(int(named["content-length"])))

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RunningEngine:
    """An engine that serves in a thread of its own."""

    def __init__(self, server: EngineServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.port = server.port
        self._loop = loop

    def connect(self) -> Connection:
        return Connection(self.port)

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        with self.connect() as connection:
            connection.send(method, path, body, headers)
            return connection.read()

    def post(self, path: str, body: Any) -> Answer:
        return self.ask("POST", path, body)

    def metrics(self) -> dict[str, float]:
        """Series of `/metrics` by name and labels."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def run(self, work: Any) -> Any:
        """Runs a coroutine in the engine's own loop and returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)


def settings(*, task: Task = "generate", **given: Any) -> ServiceSettings:
    """An engine like the one whose answers were recorded, very fast."""
    own = {name: given.pop(name) for name in ("has_faults", "has_dev_routes") if name in given}
    names = given.pop("served_names", ("minilm",) if task == "embed" else ("tiny",))
    source = "sentence-transformers/all-MiniLM-L6-v2" if task == "embed" else "Qwen/Qwen3-0.6B"
    limits = {"max_model_len": 256 if task == "embed" else 1024, "num_gpu_blocks": 4096, "speed": 1000.0} | given
    model = replace(find_model(source), vocab=30522 if task == "embed" else tokenizer().vocab_size)
    config = EngineConfig(model=model, gpu=find_gpu("H100"), **limits)
    return ServiceSettings(served_names=names, source=source, engine=config, task=task, **own)


@contextmanager
def running_engine(**given: Any) -> Iterator[RunningEngine]:
    """Serves until the block ends; see `settings` for what may be given."""
    listener = bind("127.0.0.1", 0)
    server = EngineServer(settings(**given), listener)
    started, ended = threading.Event(), asyncio.Event()
    failures: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with asyncio.TaskGroup() as tasks:
            await server.start(tasks)
            started.set()
            await ended.wait()
            await server.stop()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as failure:
            failures.append(failure)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="engine", daemon=True)
    thread.start()
    assert started.wait(PATIENCE_S)
    try:
        if not failures:
            yield RunningEngine(server, loops[0])
    finally:
        if thread.is_alive():
            loops[0].call_soon_threadsafe(ended.set)
        thread.join(PATIENCE_S)
        listener.close()
        assert not thread.is_alive()
        assert not failures, failures
