"""Is one tenant's flood felt by another, over HTTP? A real gateway, simulated engines, first tokens of a tenant B.

    python -m bench.isolation                       # 4 engines of 8 seats, some three minutes; leave the machine alone
    python -m bench.isolation --concurrency         # the fleet file says how many seats there are

What the engines can do is measured first, with more clients than seats. Then B sends `--load` of half of that at
random moments, alone, and again, from 5 s on, beside tenant A, whose `--clients` ask without a pause. Engines run at a
fifth of an H100's speed, so that the load generator and five processes fit two cores: look at the machine's own load
before the figures. Prints JSON: quantiles of B's time to the first token as the client sees it, and as the gateway
writes it down, and how long the queue held B. `python -m bench.fairness isolation` has the bar, in virtual time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.failover import free_port

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "it", "rains", "in", "spring")
KEYS = {"a": "isolation-key-a", "b": "isolation-key-b"}
SPEED = "0.2"
WARM_S = 5.0
LOGGED = re.compile(r"tenant=b .*status=200 .*queue_ms=(\S+) ttft_ms=(\S+)")


@dataclass
class Run:
    """Processes, and what was seen."""

    folder: Path
    engines: int
    seats: int
    says_seats: bool
    url: str = ""
    ended: list[float] = field(default_factory=list)
    """When requests ended, by the clock."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "gateway.log"

    def start(self) -> None:
        ports = [free_port() for _ in range(self.engines)]
        for port in ports:
            self._start("engine", *f"--model chat --source Qwen/Qwen3-8B --gpu H100 --speed {SPEED}".split(),
                        "--port", str(port), "--max-num-seqs", str(self.seats))  # fmt: skip
        listen, admin = free_port(), free_port()
        tenants = [{"name": name, "keys": [{"name": "k", "value": key}]} for name, key in KEYS.items()]
        model: dict[str, Any] = {"name": "chat", "source": "Qwen/Qwen3-8B"}
        model["endpoints"] = [f"http://127.0.0.1:{port}" for port in ports]
        if self.says_seats:
            model["concurrency"] = self.seats
        gateway = {"listen": f"127.0.0.1:{listen}", "admin": f"127.0.0.1:{admin}", "tenants": tenants}
        fleet = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "isolation"}}
        file = self.folder / "fleet.yaml"
        file.write_text(json.dumps({**fleet, "spec": {"gateway": gateway, "models": [model]}}))
        self._start("gateway", str(file), "--state-dir", str(self.folder))
        self.url = f"http://127.0.0.1:{listen}/v1"

    def _start(self, *words: str) -> None:
        out = self.log.open("wb") if words[0] == "gateway" else subprocess.DEVNULL
        command = [sys.executable, "-m", "penstock", *words]
        self.processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    async def ask(self, client: httpx.AsyncClient, tenant: str, draw: random.Random) -> float | None:
        """Seconds to the first token; None where it was refused."""
        prompt = int(min(2000, max(20, draw.lognormvariate(5.3, 0.8))))
        output = int(min(200, max(5, draw.lognormvariate(3.8, 0.6))))
        body = {"model": "chat", "stream": True, "temperature": 0, "max_tokens": output, "min_tokens": output}
        body |= {"messages": [{"role": "user", "content": " ".join(draw.choices(WORDS, k=prompt))}], "ignore_eos": True}
        began, first = time.monotonic(), None
        headers = {"authorization": f"Bearer {KEYS[tenant]}"}
        async with client.stream("POST", f"{self.url}/chat/completions", json=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                if first is None and '"content":"' in line and '"content":""' not in line:
                    first = time.monotonic() - began
        self.ended.append(time.monotonic())
        return first

    async def flood(self, client: httpx.AsyncClient, clients: int, seconds: float) -> None:
        stop = time.monotonic() + seconds

        async def one(number: int) -> None:
            draw = random.Random(number)
            while time.monotonic() < stop:
                await self.ask(client, "a", draw)

        await asyncio.gather(*map(one, range(clients)))

    async def paced(self, client: httpx.AsyncClient, per_s: float, seconds: float) -> list[float]:
        draw, tasks = random.Random(2), []
        at = began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (at := at + draw.expovariate(per_s)) < began + seconds:
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                tasks.append(group.create_task(self.ask(client, "b", random.Random(draw.random()))))
        return [first for task in tasks if (first := task.result()) is not None]

    def logged(self) -> list[tuple[float, float]]:
        """Milliseconds in the queue and to the first token, of B's requests so far."""
        return [(float(queue), float(ttft)) for queue, ttft in LOGGED.findall(self.log.read_text())]


async def measure(run: Run, *, load: float, seconds: float, clients: int) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=300) as client:
        await _ready(client, run)
        began = time.monotonic()
        await run.flood(client, 2 * run.engines * run.seats, 12.0)
        per_s = sum(began + 3 < at < began + 12 for at in run.ended) / 9
        await asyncio.sleep(3.0)
        alone = await run.paced(client, per_s / 2 * load, seconds)
        before = len(run.logged())
        await asyncio.sleep(3.0)
        flood = asyncio.ensure_future(run.flood(client, clients, WARM_S + seconds))
        await asyncio.sleep(WARM_S)
        beside = await run.paced(client, per_s / 2 * load, seconds)
        await flood
    rows = run.logged()
    return {
        "engines": run.engines,
        "seats": run.seats,
        "file_says_seats": run.says_seats,
        "requests_per_s_at_most": round(per_s, 2),
        "b_requests": len(beside),
        "client": _table(alone, beside, 1e3),
        "gateway": _table([t for _, t in rows[:before]], [t for _, t in rows[before:]], 1.0),
        "queue_of_b_p50_p99_ms": [round(quantile([q for q, _ in rows[before:]], part)) for part in (0.5, 0.99)],
    }


async def _ready(client: httpx.AsyncClient, run: Run) -> None:
    for _ in range(300):
        try:
            if await run.ask(client, "a", random.Random(0)) is not None:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit(f"the gateway does not answer; its log is {run.log}")


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(part * len(values))]


def _table(alone: list[float], beside: list[float], to_ms: float) -> dict[str, Any]:
    parts = (0.5, 0.9, 0.99)
    one, other = ([quantile(values, part) for part in parts] for values in (alone, beside))
    return {
        "ttft_alone_p50_p90_p99_ms": [round(value * to_ms) for value in one],
        "ttft_beside_p50_p90_p99_ms": [round(value * to_ms) for value in other],
        "ratio_p50_p90_p99": [round(b / a, 2) for a, b in zip(one, other, strict=True)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=4)
    parser.add_argument("--seats", type=int, default=8, help="of each engine")
    parser.add_argument("--concurrency", action="store_true", help="the fleet file says how many")
    parser.add_argument("--load", type=float, default=0.8, help="what B sends, of its fair share")
    parser.add_argument("--seconds", type=float, default=45.0, help="of each of B's two turns")
    parser.add_argument("--clients", type=int, default=300, help="of the tenant that floods")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), args.engines, args.seats, args.concurrency)
        try:
            run.start()
            found = measure(run, load=args.load, seconds=args.seconds, clients=args.clients)
            print(json.dumps(asyncio.run(found), indent=2))
        finally:
            run.stop()


if __name__ == "__main__":
    main()
