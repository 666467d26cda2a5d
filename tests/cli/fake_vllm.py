"""Stands in for the `vllm` command: `vllm serve PATH --port N …`. Not a test; `make_venv` installs it for them.

Answers /health, and chat completions. Its mode is the environment variable MODE: `dies` says why and exits with 3;
`held` answers only when the file HELD (a FIFO) is opened for writing.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODE = os.environ.get("MODE", "")


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(200, b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if MODE == "held":
            Path(os.environ["ARRIVED"]).write_text("yes")
            Path(os.environ["HELD"]).read_text()
        message = {"role": "assistant", "content": f"pid {os.getpid()} revision {os.environ.get('REVISION', '')}"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self._send(
            200, json.dumps({"id": "x", "object": "chat.completion", "choices": choices, "usage": usage}).encode()
        )

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def make_venv(folder: Path) -> Path:
    """A folder that looks like a virtual environment with vLLM in it."""
    command = folder / "bin" / "vllm"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!{sys.executable} -S\n{Path(__file__).read_text()}")
    command.chmod(0o755)
    return folder


if __name__ == "__main__":
    if MODE == "dies":
        sys.stderr.write("loading weights\nValueError: no such weights\n")
        sys.exit(3)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
