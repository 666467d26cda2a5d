"""Streams through a gateway while its engines are killed: is every text the uninterrupted one?

    python -m bench.failover --streams 2000 --kill-every 2 --signal KILL

Starts simulated engines and a gateway, learns each answer from an engine that nobody kills, then runs the streams while
one engine after another gets the signal. Prints figures as JSON; exits 1 when a stream was lost, cut or changed.

Half of the streams are greedy, and go on from their tokens; half have a seed of their client's, and are said again.
The gap at a resume is the longest silence of a stream that was resumed, for each of the two ways; `bar_s` is 2 x
(detection + time to first token), with the 99th percentile of the streams that nothing befell. A replay says all its
tokens anew before it says a new one, so its gap grows with what the client had: `gap_less_replay_p99_s` is less that,
at the pace of the same stream.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
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

from penstock.serve.io.gateway import SWEEP_S
from penstock.serve.stall import FLOOR_S

KEY = "failover-key-1"
PATIENCE_S = 120.0
RESUMED = re.compile(r"request_id=(\S+) .* resumes=(\d+) continued=(\d+)")
DETECTION_S = {"KILL": 0.0, "TERM": 0.0, "STOP": FLOOR_S + SWEEP_S}
"""Seconds until the gateway knows: an end of the connection at once, a silence after the shortest deadline."""


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


@dataclass(frozen=True)
class Heard:
    """One stream as its client saw it; times in seconds."""

    name: str
    outcome: str
    text: str = ""
    usage: Any = None
    ttft_s: float = 0.0
    gap_s: float = 0.0
    events_before_gap: int = 0
    itl_s: float = 0.0
    """Usual time between two events: the median."""


@dataclass
class Result:
    """What became of all streams."""

    outcomes: Counter[str] = field(default_factory=Counter)
    heard: list[Heard] = field(default_factory=list)
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


async def ask(port: int, body: dict[str, Any], name: str) -> Heard:
    """One stream, to its end."""
    path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    head = f"POST {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    head += f"x-request-id: {name}\r\n"
    writer.write(f"{head}connection: close\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
    text, finish, usage, ids, is_done = "", "", None, set(), False
    times = [time.monotonic()]
    outcome = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            status = (await reader.readline()).split()[1:2]
            while (await reader.readline()).strip():
                pass
            if status != [b"200"]:
                return Heard(name, f"status_{status}")
            while line := await reader.readline():
                if not line.startswith(b"data: "):
                    continue
                times.append(time.monotonic())
                if line.startswith(b"data: [DONE]"):
                    is_done = True
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    outcome = f"error_{event['error']['code']}"
                    break
                ids.add((event["id"], event["created"]))
                usage = event.get("usage") or usage
                for choice in event["choices"]:
                    text += choice.get("text") or choice.get("delta", {}).get("content") or ""
                    finish += choice["finish_reason"] or ""
    except TimeoutError:
        outcome = "hung"
    except (OSError, IndexError) as error:
        outcome = type(error).__name__
    finally:
        writer.transport.abort()
    outcome = outcome or ("no_done" if not is_done else "ok" if len(ids) == 1 else "ids_changed")
    gaps = [after - before for before, after in itertools.pairwise(times[1:])] or [0.0]
    ttft_s = times[1] - times[0] if len(times) > 1 else 0.0
    longest = max(gaps)
    return Heard(
        name, outcome, f"{text}|{finish}", usage, ttft_s, longest, gaps.index(longest) + 1, sorted(gaps)[len(gaps) // 2]
    )


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
    expected = [await ask(reference.port, body, f"right-{n}") for n, body in enumerate(kinds)]
    if not all(right.outcome == "ok" for right in expected):
        raise SystemExit(f"the reference engine failed: {[right.outcome for right in expected]}")
    result = Result()
    turn = iter(range(args.streams))

    async def client() -> None:
        for n in turn:
            heard = await ask(gateway_port, kinds[n % len(kinds)], f"failover-{n}")
            right = expected[n % len(kinds)]
            outcome = heard.outcome
            if outcome == "ok" and heard.text != right.text:
                outcome = "text_differs"
            counts = ("prompt_tokens", "completion_tokens", "total_tokens")
            if outcome == "ok" and any(heard.usage[c] != right.usage[c] for c in counts):
                outcome = "usage_differs"
            result.outcomes[outcome] += 1
            result.heard.append(heard)

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


def share(values: list[float], part: float) -> float:
    """The value that this part of all is under, rounded to the millisecond."""
    ranked = sorted(values) or [0.0]
    return round(ranked[min(len(ranked) - 1, int(len(ranked) * part))], 3)


def gap_figures(heard: list[Heard], resumes: dict[str, tuple[int, int]], detection_s: float) -> dict[str, float]:
    """How long streams that were resumed fell silent, and the bar for it. `resumes`: how often each was, and how often
    that from its tokens."""
    calm = [h.ttft_s for h in heard if not resumes.get(h.name, (0, 0))[0]]
    resumed = [h for h in heard if resumes.get(h.name, (0, 0))[0]]
    continued = [h.gap_s for h in resumed if resumes[h.name][1]]
    replayed = [h for h in resumed if not resumes[h.name][1]]
    gaps = [h.gap_s for h in replayed]
    return {
        "continued": len(continued),
        "replayed": len(replayed),
        "longest_gap_p99_s": share([h.gap_s for h in heard], 0.99),
        "ttft_p50_s": share(calm, 0.5),
        "ttft_p99_s": share(calm, 0.99),
        "detection_s": detection_s,
        "bar_s": round(2 * (detection_s + share(calm, 0.99)), 3),
        **{f"gap_from_tokens_p{p}_s": share(continued, p / 100) for p in (50, 99, 100)},
        **{f"gap_of_replay_p{p}_s": share(gaps, p / 100) for p in (50, 99, 100)},
        "gap_less_replay_p99_s": share([max(0.0, h.gap_s - h.events_before_gap * h.itl_s) for h in replayed], 0.99),
    }


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
    resumes = {m[1]: (int(m[2]), int(m[3])) for line in lines if (m := RESUMED.search(line))}
    figures = {
        "streams": args.streams,
        "signal": args.signal,
        "signals_sent": result.kills,
        "outcomes": dict(result.outcomes),
        "streams_by_resumes": dict(sorted(Counter(count for count, _ in resumes.values()).items())),
        **gap_figures(result.heard, resumes, DETECTION_S[args.signal]),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(figures, indent=1))
    return 0 if set(result.outcomes) == {"ok"} else 1


if __name__ == "__main__":
    sys.exit(main())
