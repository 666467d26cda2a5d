"""How late first tokens are while one engine of four stands still for a moment, again and again: hedging off and on.

    python -m bench.hedging --seconds 20 --turns 2

Starts simulated engines and two gateways before them, whose files differ in `gateway.hedging` alone, and asks them in
turns, at the same rate and with the same moments (SIGSTOP, SIGCONT) at one engine after another. Prints, as JSON, the
times to the first token as clients saw them, and what the gateways' logs say of who answered. Exits 1 when a stream
was lost, cut, or got another text than the other gateway's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.failover import Engine, Heard, ask, fleet, free_port, ready, share

HEDGED = re.compile(r" hedged=(\w+)")
SWITCHES = {"off": "", "on": "    hedging: {enabled: true}\n"}
WARM_UP = 120
"""Requests to each gateway before it is measured: what is late is known from fifty on."""


@dataclass
class Door:
    """One gateway process."""

    name: str
    port: int
    log: Path
    process: subprocess.Popen[bytes]
    heard: list[Heard] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        lines = [
            line for line in self.log.read_text().splitlines() if "event=request" in line and "id=warm" not in line
        ]
        ttfts = [one.ttft_s for one in self.heard]
        return {
            "streams": len(self.heard),
            "outcomes": dict(Counter(one.outcome for one in self.heard)),
            **{f"ttft_p{p:g}_s": share(ttfts, p / 100) for p in (50, 95, 99, 99.5, 100)},
            "hedged": dict(Counter(m[1] for line in lines if (m := HEDGED.search(line)))),
        }


def body(number: int) -> dict[str, Any]:
    """A short chat, one of many."""
    words = f"Tell me about number {number} in a few words, and why it matters to those who count."
    return {
        "model": "chat",
        "stream": True,
        "max_tokens": 6,
        "temperature": 0,
        "messages": [{"role": "user", "content": words}],
    }


async def moments(engines: list[Engine], every_s: float, lasts_s: float) -> None:
    """One engine after another stands still."""
    while True:
        for engine in engines:
            await asyncio.sleep(every_s)
            engine.stop(signal.SIGSTOP)
            try:
                await asyncio.sleep(lasts_s)
            finally:
                engine.stop(signal.SIGCONT)


async def load(door: Door, first: int, args: argparse.Namespace) -> None:
    """Streams at a steady rate, whatever becomes of those before."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:

        async def one(number: int) -> None:
            door.heard.append(await ask(door.port, body(number), f"bench-{number}"))

        for n in range(int(args.seconds * args.rate)):
            await asyncio.sleep(max(0.0, began + n / args.rate - time.monotonic()))
            group.create_task(one(first + n))


async def run(args: argparse.Namespace, engines: list[Engine], doors: list[Door]) -> None:
    for port in (*(e.port for e in engines), *(d.port for d in doors)):
        await ready(port)
    for door in doors:
        for n in range(WARM_UP):
            await ask(door.port, body(n), f"warm-{n}")
    for turn in range(args.turns):
        for door in doors if turn % 2 == 0 else doors[::-1]:
            harm = asyncio.ensure_future(moments(engines, args.every, args.lasts))
            try:
                await load(door, 1000 * (turn + 1), args)
            finally:
                harm.cancel()
                await asyncio.gather(harm, return_exceptions=True)


def open_door(name: str, engines: list[Engine], folder: Path) -> Door:
    port, admin = free_port(), free_port()
    file, log = folder / f"{name}.yaml", folder / f"{name}.log"
    file.write_text(
        fleet([e.port for e in engines], port, admin).replace("    tenants:", SWITCHES[name] + "    tenants:")
    )
    with log.open("wb") as out:
        command = [sys.executable, "-m", "penstock", "gateway", str(file)]
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"NO_COLOR": "1"})
    return Door(name, port, log, process)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of one turn of one gateway")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--rate", type=float, default=20.0, help="streams a second")
    parser.add_argument("--engines", type=int, default=4)
    parser.add_argument("--every", type=float, default=4.5, help="seconds between two moments")
    parser.add_argument("--lasts", type=float, default=0.5, help="seconds of a moment")
    args = parser.parse_args()
    engines = [Engine(free_port()) for _ in range(args.engines)]
    with tempfile.TemporaryDirectory() as folder:
        doors = [open_door(name, engines, Path(folder)) for name in SWITCHES]
        try:
            for engine in engines:
                engine.start()
            asyncio.run(run(args, engines, doors))
        finally:
            for door in doors:
                door.process.terminate()
                door.process.wait()
            for engine in engines:
                engine.end()
        figures = {door.name: door.figures() for door in doors}
    texts = [{one.name: one.text for one in door.heard} for door in doors]
    is_same = texts[0] == texts[1]
    settings = {"rate": args.rate, "engines": args.engines, "every_s": args.every, "lasts_s": args.lasts}
    print(json.dumps({**settings, **figures, "texts_are_the_same": is_same}, indent=1))
    is_clean = all(set(figures[door.name]["outcomes"]) == {"ok"} for door in doors)
    return 0 if is_same and is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
