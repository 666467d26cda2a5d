"""Streams through a gateway while its engines are killed: is every text the uninterrupted one?

    python -m bench.failover --streams 2000 --kill-every 2 --signal KILL

Starts simulated engines and a gateway, learns each answer from an engine that nobody kills, then runs the streams while
one engine after another gets the signal. Prints figures as JSON; exits 1 when a stream was lost, cut or changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY = "failover-key-1"
PATIENCE_S = 120.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@dataclass
class Engine:
    """One engine process."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "penstock",
            "engine",
            "--model",
            "chat",
            "--source",
            "Qwen/Qwen2.5-7B-Instruct",
        ]
        command += ["--port", str(self.port), "--max-num-seqs", "64"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Result:
    """What became of all streams."""

    outcomes: Counter[str] = field(default_factory=Counter)
    gaps_s: list[float] = field(default_factory=list)
    kills: int = 0


def bodies(count: int) -> list[dict[str, Any]]:
    """Requests of several kinds: greedy and seeded, chat and completions, plain and with usage."""
    made = []
    for n in range(count):
        body: dict[str, Any] = {"model": "chat", "stream": True, "max_tokens": 60 + 7 * (n % 20)}
        body |= {"temperature": 0} if n % 2 else {"seed": n, "temperature": 0.8}
        if n % 3 == 0:
            made.append({**body, "prompt": f"Tell me about number {n}."})
        else:
            made.append({**body, "messages": [{"role": "user", "content": f"Tell me about number {n}."}]})
        made[-1]["stream_options"] = {"include_usage": True}
    return made


async def ask(port: int, body: dict[str, Any]) -> tuple[str, str, Any, float]:
    """(outcome, text and finish reason, usage, longest gap in seconds) of one stream."""
    path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    head = f"POST {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}connection: close\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
    text, finish, usage, ids, gap_s, done = "", "", None, set(), 0.0, False
    last = 0.0
    try:
        async with asyncio.timeout(PATIENCE_S):
            status = (await reader.readline()).split()[1:2]
            while (await reader.readline()).strip():
                pass
            if status != [b"200"]:
                return f"status_{status}", "", None, 0.0
            while line := await reader.readline():
                if not line.startswith(b"data: "):
                    continue
                now = time.monotonic()
                gap_s, last = max(gap_s, now - last if last else 0.0), now
                if line.startswith(b"data: [DONE]"):
                    done = True
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    return f"error_{event['error']['code']}", text, None, gap_s
                ids.add((event["id"], event["created"]))
                usage = event.get("usage") or usage
                for choice in event["choices"]:
                    text += choice.get("text") or choice.get("delta", {}).get("content") or ""
                    finish += choice["finish_reason"] or ""
    except TimeoutError:
        return "hung", text, None, gap_s
    except (OSError, IndexError) as error:
        return type(error).__name__, text, None, gap_s
    finally:
        writer.transport.abort()
    outcome = "ok" if done else "no_done"
    return outcome if len(ids) == 1 else "ids_changed", f"{text}|{finish}", usage, gap_s


async def ready(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.transport.abort()
                return
            await asyncio.sleep(0.05)


async def kill(engines: list[Engine], args: argparse.Namespace, result: Result) -> None:
    """One engine after another gets the signal, and is started again on the same port. One that is still starting is
    waited for: on a busy machine all would else be dead for good."""
    number = getattr(signal, f"SIG{args.signal}")
    while True:
        for engine in engines:
            await asyncio.sleep(args.kill_every)
            await ready(engine.port)
            engine.stop(number)
            result.kills += 1
            if number != signal.SIGKILL:
                await asyncio.sleep(args.kill_every)
            engine.end()
            engine.start()


async def run(args: argparse.Namespace, engines: list[Engine], reference: Engine, gateway_port: int) -> Result:
    for port in (*(e.port for e in engines), reference.port, gateway_port):
        await ready(port)
    kinds = bodies(args.kinds)
    expected = [await ask(reference.port, body) for body in kinds]
    if not all(outcome == "ok" for outcome, *_ in expected):
        raise SystemExit(f"the reference engine failed: {[e[0] for e in expected]}")
    result = Result()
    turn = iter(range(args.streams))

    async def client() -> None:
        for n in turn:
            outcome, text, usage, gap_s = await ask(gateway_port, kinds[n % len(kinds)])
            _, right, right_usage, _ = expected[n % len(kinds)]
            if outcome == "ok" and text != right:
                outcome = "text_differs"
            counts = ("prompt_tokens", "completion_tokens", "total_tokens")
            if outcome == "ok" and any(usage[c] != right_usage[c] for c in counts):
                outcome = "usage_differs"
            result.outcomes[outcome] += 1
            result.gaps_s.append(gap_s)

    killer = asyncio.ensure_future(kill(engines, args, result))
    async with asyncio.TaskGroup() as group:
        for _ in range(args.clients):
            group.create_task(client())
    killer.cancel()
    return result


def fleet(ports: list[int], port: int, admin: int) -> str:
    urls = ", ".join(f'"http://127.0.0.1:{p}"' for p in ports)
    return f"""\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {{name: failover}}
spec:
  models:
    - name: chat
      endpoints: [{urls}]
  gateway:
    listen: "127.0.0.1:{port}"
    admin: "127.0.0.1:{admin}"
    tenants:
      - name: bench
        keys: [{{value: {KEY}}}]
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--engines", type=int, default=4)
    parser.add_argument("--kinds", type=int, default=60)
    parser.add_argument("--kill-every", type=float, default=2.0)
    parser.add_argument("--signal", choices=["KILL", "TERM", "STOP"], default="KILL")
    args = parser.parse_args()
    engines = [Engine(free_port()) for _ in range(args.engines)]
    reference, port, admin = Engine(free_port()), free_port(), free_port()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "fleet.yaml", Path(folder) / "gateway.log"
        file.write_text(fleet([e.port for e in engines], port, admin))
        with log.open("wb") as out:
            command = [sys.executable, "-m", "penstock", "gateway", str(file)]
            gateway = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"NO_COLOR": "1"})
        try:
            for engine in (*engines, reference):
                engine.start()
            result = asyncio.run(run(args, engines, reference, port))
        finally:
            gateway.terminate()
            gateway.wait()
            for engine in (*engines, reference):
                engine.end()
        lines = [line for line in log.read_text().splitlines() if "event=request" in line]
    resumes = Counter(line.rpartition("resumes=")[2] for line in lines)
    gaps = sorted(result.gaps_s)
    figures = {
        "streams": args.streams,
        "signal": args.signal,
        "signals_sent": result.kills,
        "outcomes": dict(result.outcomes),
        "streams_by_resumes": dict(sorted(resumes.items())),
        "longest_gap_p50_s": round(gaps[len(gaps) // 2], 3),
        "longest_gap_p99_s": round(gaps[int(len(gaps) * 0.99)], 3),
        "longest_gap_max_s": round(gaps[-1], 3),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(figures, indent=1))
    return 0 if set(result.outcomes) == {"ok"} else 1


if __name__ == "__main__":
    sys.exit(main())
