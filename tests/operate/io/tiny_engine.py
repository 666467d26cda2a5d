"""The smallest engine that the local platform can run: answers /health. Not a test; started by them.

Usage: tiny_engine.py PORT READY_FILE [MODE]; READY_FILE `-` writes none.
MODE: healthy; dies (says why, exits with 3); never (answers 503); stubborn (ignores SIGTERM); forks (leaves a child in
a session of its own and tells its pid on stdout).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main(port: int, ready_file: Path, mode: str = "healthy") -> None:
    if mode == "dies":
        print("loading weights", flush=True)
        sys.stderr.write("ValueError: no such weights\n")
        sys.exit(3)
    if mode == "never":
        Answer.status = 503
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "forks":
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        print(f"child {child.pid}", flush=True)
    server = HTTPServer(("127.0.0.1", port), Answer)
    if str(ready_file) != "-":
        tell(server, ready_file)
    server.serve_forever()


def tell(server: HTTPServer, ready_file: Path) -> None:
    told = {"host": "127.0.0.1", "port": server.server_port, "pid": os.getpid()}
    draft = ready_file.with_suffix(".draft")
    draft.write_text(json.dumps(told))
    draft.replace(ready_file)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
