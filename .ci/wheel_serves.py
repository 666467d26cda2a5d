"""Serves a chat from an installed wheel: `penstock --version`, then `penstock up` from outside the repository.

Run with the Python of the environment that has the wheel. Needs nothing else. Exits 0 when a chat was answered and
SIGINT ended `up` with exit code 0.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

FLEET = Path(__file__).resolve().parents[1] / "examples" / "quickstart.yaml"
PENSTOCK = Path(sys.executable).parent / "penstock"
START_S_MAX = 60.0  # the promise of `make up`
STOP_S_MAX = 60.0


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def ask(port: int) -> str:
    """One chat; the text of its answer."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": "Bearer penstock-demo"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def dashboard(port: int) -> str:
    """The dashboard's first page: its templates and scripts are files that a wheel can lack."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        page = answer.read().decode()
    asset = re.search(r'(?:src|href)="(/[^"]+\.(?:js|css))"', page)
    if asset is None:
        raise SystemExit("error: the dashboard's page names no script or style sheet")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{asset[1]}", timeout=10) as answer:
        return f"{len(page)} characters, {asset[1]} {len(answer.read())} bytes"


def ask_until_answered(process: subprocess.Popen[bytes], port: int) -> str:
    """Asks until an answer comes; fails when `up` ends or the time is over."""
    began = time.monotonic()
    while True:
        if process.poll() is not None:
            raise SystemExit(f"error: `penstock up` ended with exit code {process.returncode} before it answered")
        try:
            return ask(port)
        except (OSError, urllib.error.URLError) as error:
            if time.monotonic() - began > START_S_MAX:
                raise SystemExit(f"error: no answer within {START_S_MAX:.0f} s; the last attempt: {error}") from error
            time.sleep(0.2)


def main() -> None:
    version = subprocess.run([PENSTOCK, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"{version} from {PENSTOCK}")
    listen, admin = free_ports(2)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "up.log").open("w+b") as log:
        command = [PENSTOCK, "up", FLEET, "--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            began = time.monotonic()
            text = ask_until_answered(process, listen)
            print(f"answered after {time.monotonic() - began:.1f} s: {text!r}")
            print(f"dashboard: {dashboard(admin)}")
            process.send_signal(signal.SIGINT)
            code = process.wait(STOP_S_MAX)
            if code != 0:
                raise SystemExit(f"error: SIGINT ended `penstock up` with exit code {code}, not 0")
            print("SIGINT ended it with exit code 0")
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
