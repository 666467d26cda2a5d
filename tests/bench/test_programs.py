"""The two C programs: the load generator believes a right answer and catches each kind of wrong one."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.peers import HERE
from bench.workloads import WORKLOADS, request_body

STREAM = next(load for load in WORKLOADS if load.name == "stream")
TOKENS = 4

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (Debian: apt-get install gcc)")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name in ("upstream", "load"):
        subprocess.run(
            ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", folder / name, HERE / f"{name}.c"], check=True
        )
    return folder


def run_load(programs: Path, port: int, body: bytes, *options: str) -> dict[str, object]:
    file = programs / "body.json"
    file.write_bytes(body)
    command = [programs / "load", "--port", str(port), "--body", file, "--connections", "2", "--warm", "0"]
    done = subprocess.run([*command, "--seconds", "0.2", *options], capture_output=True, text=True, check=True)
    begin, end, result = done.stdout.splitlines()
    assert (begin, end) == ("begin", "end")
    parsed: dict[str, object] = json.loads(result)
    return parsed


@pytest.fixture(scope="module")
def upstream_port(programs: Path) -> Iterator[int]:
    with subprocess.Popen([programs / "upstream", "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[1])
        process.kill()


def test_streams_of_the_upstream_arrive_whole_and_in_order(programs: Path, upstream_port: int) -> None:
    result = run_load(programs, upstream_port, request_body(STREAM), "--tokens", "128", "--usage")
    assert result["failures"] == {}
    assert result["requests"] != 0
    assert result["tokens"] != 0


@pytest.mark.parametrize("name", ["plain", "large"])
def test_plain_answers_of_the_upstream_are_counted(programs: Path, upstream_port: int, name: str) -> None:
    body = request_body(next(load for load in WORKLOADS if load.name == name))
    result = run_load(programs, upstream_port, body)
    assert result["failures"] == {}
    assert result["requests"] != 0


def test_a_usage_chunk_that_nobody_asked_for_is_a_failure(programs: Path, upstream_port: int) -> None:
    result = run_load(programs, upstream_port, request_body(STREAM), "--tokens", "128")
    assert set(result["failures"]) == {"usage"}  # type: ignore[call-overload]


def token(sequence: int) -> str:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"t{sequence}@1 "}}}}]}}\n\n'


RIGHT = "".join(map(token, range(TOKENS))) + "data: [DONE]\n\n"


def serve(answer: Callable[[BaseHTTPRequestHandler], None]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer(self)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    return server


def answer_with(text: str, *, status: int = 200, is_cut: bool = False) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-length", str(len(text) + (1 if is_cut else 0)))
        handler.end_headers()
        handler.wfile.write(text.encode())
        handler.close_connection = is_cut

    return answer


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (None, answer_with(RIGHT)),
        ("order", answer_with(RIGHT.replace(token(1), ""))),
        ("order", answer_with(RIGHT.replace(token(1) + token(2), token(2) + token(1)))),
        ("order", answer_with(RIGHT.replace(token(1), token(1) * 2))),
        ("incomplete", answer_with(RIGHT.replace(token(TOKENS - 1), ""))),
        ("incomplete", answer_with(RIGHT.replace("data: [DONE]\n\n", ""))),
        ("status", answer_with(RIGHT, status=503)),
        ("cut", answer_with(RIGHT, is_cut=True)),
    ],
    ids=["right", "lost", "swapped", "doubled", "short", "no-done", "503", "cut"],
)
def test_a_wrong_answer_is_counted_by_its_kind(
    programs: Path, kind: str | None, answer: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    server = serve(answer)
    try:
        result = run_load(programs, server.server_address[1], b"{}", "--tokens", str(TOKENS))
    finally:
        server.shutdown()
        server.server_close()
    failures = result["failures"]
    assert isinstance(failures, dict)
    assert set(failures) == ({kind} if kind else set())
    assert (result["requests"] != 0) == (kind is None)
