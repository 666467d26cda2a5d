"""A gateway in front of engines that die, hang and restart, while its file and itself are changed: is anything lost?

    python -m bench.chaos --seconds 60 --seed 1          # four simulated engines
    python -m bench.chaos --real .venv-vllm              # two real vLLM on the CPU

Learns each right answer from an engine that nobody harms, then runs clients of three tenants (streams and plain
answers, on connections that are kept and on new ones) while one fault after another is drawn from the seed. Prints what
became of the requests as JSON; exits 1 when one was lost, cut, late, or got another text or usage than the right one.
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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from bench.failover import free_port, ready

TENANTS = {"shop": "interactive", "search": "interactive", "reports": "batch"}
TOKEN = "an-admin-token-for-chaos"
PATIENCE_S = 150.0
POLICIES = ("cost", "least-load", "round-robin", "prefix-hash")
FAULTS = ("kill", "freeze", "terminate", "reload", "restart", "bad_file")
REAL_FLAGS = (
    "--dtype float32 --enforce-eager --max-model-len 1024 --max-num-seqs 16 --kv-cache-memory-bytes 64M --block-size 32"
)
REAL_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass
class Engine:
    """One engine and all its processes."""

    command: list[str]
    port: int
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        line = [*self.command, "--port", str(self.port)]
        out = subprocess.DEVNULL
        env = os.environ | self.env
        self.process = subprocess.Popen(line, stdout=out, stderr=out, env=env, start_new_session=True)

    def send(self, number: int) -> None:
        """Signals the whole group, as workers of a real engine are processes of their own."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def end(self) -> None:
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


@dataclass
class Tally:
    """What became of all requests, and what was done meanwhile."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    gaps_s: dict[str, float] = field(default_factory=dict)
    """Longest silence of each stream, by request id."""
    longest_s: float = 0.0
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Right:
    """The uninterrupted answer."""

    text: str
    usage: tuple[int, ...]


def bodies(count: int) -> list[tuple[str, dict[str, Any]]]:
    """Requests of several kinds, with their paths: greedy and seeded, chat and completions, streams and plain."""
    made = []
    for n in range(count):
        body: dict[str, Any] = {"model": "chat", "max_tokens": 40 + 7 * (n % 20)}
        body |= {"temperature": 0} if n % 2 else {"seed": n, "temperature": 0.8}
        if n % 4:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if n % 3:
            made.append(("/v1/chat/completions", body | {"messages": [{"role": "user", "content": f"Of number {n}."}]}))
        else:
            made.append(("/v1/completions", body | {"prompt": f"Tell me of number {n}."}))
    return made


def read_choices(event: dict[str, Any]) -> str:
    """The text of one event or answer, and its finish reasons."""
    text = ""
    for choice in event["choices"]:
        part = choice.get("delta") or choice.get("message") or choice
        text += part.get("content") or part.get("text") or ""
        text += f"|{choice['finish_reason']}" if choice.get("finish_reason") else ""
    return text


def read_usage(event: dict[str, Any]) -> tuple[int, ...]:
    usage = event.get("usage") or {}
    return tuple(usage[name] for name in ("prompt_tokens", "completion_tokens") if name in usage)


class CutError(Exception):
    """The answer ended early, honestly or not."""


async def ask(
    session: aiohttp.ClientSession, base: str, path: str, body: dict[str, Any], headers: dict[str, str]
) -> tuple[Right, float]:
    """The answer and the longest silence in it, seconds.

    Raises:
        CutError: it was no whole answer; says why.
    """
    async with session.post(base + path, json=body, headers=headers) as answer:
        if answer.status != 200:
            raise CutError(f"status {answer.status}: {(await answer.text())[:200]}")
        if not body.get("stream"):
            whole = await answer.json()
            return Right(read_choices(whole), read_usage(whole)), 0.0
        text, gap_s, last, is_done = "", 0.0, 0.0, False
        usage: tuple[int, ...] = ()
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            now = time.monotonic()
            gap_s, last = max(gap_s, now - last if last else 0.0), now
            if line.startswith(b"data: [DONE]"):
                is_done = True
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise CutError(f"error event {event['error']['code']}: {event['error']['message'][:200]}")
            text += read_choices(event)
            usage = read_usage(event) or usage
        if not is_done:
            raise CutError("the stream ended without [DONE]")
        return Right(text, usage), gap_s


class Chaos:
    """One run."""

    def __init__(self, args: argparse.Namespace, engines: list[Engine], reference: Engine, folder: Path) -> None:
        self.args, self.engines, self.reference, self.folder = args, engines, reference, folder
        self.random = Random(args.seed)
        self.tally = Tally()
        self.port, self.admin = free_port(), free_port()
        self.file = folder / "fleet.yaml"
        self.gateways: list[subprocess.Popen[bytes]] = []
        self.log = (folder / "gateway.log").open("wb")
        self.reloads = 0

    # ------------------------------------------------------------------ the gateway

    def write_fleet(self) -> None:
        """A right file, each time another one."""
        urls = [f"http://127.0.0.1:{e.port}" for e in self.engines]
        tenants = [
            {"name": name, "class": traffic, "weight": 1 + self.reloads % 3, "keys": [{"value": f"chaos-key-{name}"}]}
            for name, traffic in TENANTS.items()
        ]
        gateway = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{self.admin}",
            "adminTokenFrom": {"env": "CHAOS_TOKEN"},
            "tenants": tenants,
            "queue": {"requestsMax": 1000 + self.reloads},
            "routing": {"policy": POLICIES[self.reloads % len(POLICIES)]},
            "hedging": {"enabled": self.reloads % 3 < 2, "shareMax": 0.1},
        }
        fleet = {
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "Fleet",
            "metadata": {"name": "chaos"},
            "spec": {"models": [{"name": "chat", "endpoints": urls}], "gateway": gateway},
        }
        draft = self.folder / "draft"
        draft.write_text(json.dumps(fleet))
        draft.replace(self.file)

    async def start_gateway(self) -> None:
        """Starts one, beside the one there is, and waits until it listens."""
        command = [sys.executable, "-m", "penstock", "gateway", str(self.file), "--takeover", "--output", "json"]
        mark = self.log.tell()
        env = os.environ | {"NO_COLOR": "1", "CHAOS_TOKEN": TOKEN}
        process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=env)  # noqa: ASYNC220 — a fork is short
        self.gateways.append(process)
        async with asyncio.timeout(PATIENCE_S):
            while b'"listen"' not in (self.folder / "gateway.log").read_bytes()[mark:]:
                if process.poll() is not None:
                    raise SystemExit(f"the gateway did not start: {(self.folder / 'gateway.log').read_text()[-2000:]}")
                await asyncio.sleep(0.05)

    async def reload(self, *, is_right: bool) -> str:
        """Changes the file and asks for a reload; says what went wrong, or nothing."""
        self.reloads += 1
        self.write_fleet() if is_right else self.file.write_text("kind: Fleet\nspec: {models: [{name: 1}]}\n")
        url, headers = f"http://127.0.0.1:{self.admin}/api/v1/reload", {"authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession() as session, session.post(url, headers=headers) as answer:
            told = await answer.text()
        if answer.status != (200 if is_right else 400):
            return f"a reload was answered {answer.status}: {told[:300]}"
        if not is_right:
            self.write_fleet()
        return ""

    # ------------------------------------------------------------------ faults

    async def harm(self) -> None:
        """One fault after another, each kind equally often, at most half of the engines at once."""
        calm, left = asyncio.Semaphore(max(1, len(self.engines) // 2)), list[str]()
        idle = list(self.engines)
        async with asyncio.TaskGroup() as faults:
            while True:
                await asyncio.sleep(self.args.every * (0.5 + self.random.random()))
                if not left:
                    left = self.random.sample(FAULTS, len(FAULTS))
                fault = left.pop()
                self.tally.faults[fault] += 1
                if fault in ("reload", "bad_file"):
                    with suppress(aiohttp.ClientError):  # between two gateways the admin port has nobody
                        if words := await self.reload(is_right=fault == "reload"):
                            self.tally.words.append(words)
                elif fault == "restart":
                    old = self.gateways[-1]
                    await self.start_gateway()
                    old.terminate()
                else:
                    await calm.acquire()
                    engine = idle.pop(self.random.randrange(len(idle)))
                    faults.create_task(self.harm_engine(engine, fault, calm, idle))

    async def harm_engine(self, engine: Engine, fault: str, calm: asyncio.Semaphore, idle: list[Engine]) -> None:
        """Kills, freezes or stops one engine, and has it back."""
        if fault == "freeze":
            engine.send(signal.SIGSTOP)
            await asyncio.sleep(3 + 4 * self.random.random())
            engine.send(signal.SIGCONT)
        else:
            engine.send(signal.SIGKILL if fault == "kill" else signal.SIGTERM)
            await asyncio.sleep(2 * self.random.random())
            engine.end()
            engine.start()
            await ready(engine.port)
        idle.append(engine)
        calm.release()

    # ------------------------------------------------------------------ clients

    async def client(self, number: int, kinds: list[tuple[str, dict[str, Any]]], right: list[Right]) -> None:
        """Asks until time is up; half of the clients keep their connections."""
        random, tenant = Random(self.args.seed * 1000 + number), list(TENANTS)[number % len(TENANTS)]
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        connector = aiohttp.TCPConnector(force_close=number % 2 == 0)
        ends_at, count = time.monotonic() + self.args.seconds, 0
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while time.monotonic() < ends_at:
                n = random.randrange(len(kinds))
                count += 1
                await self.one(session, f"chaos-{number}-{count}", tenant, kinds[n], right[n])

    async def one(
        self, session: aiohttp.ClientSession, name: str, tenant: str, kind: tuple[str, dict[str, Any]], right: Right
    ) -> None:
        path, body = kind
        headers = {"authorization": f"Bearer chaos-key-{tenant}", "x-request-id": name}
        began, outcome, words = time.monotonic(), "right", ""
        try:
            got, gap_s = await ask(session, f"http://127.0.0.1:{self.port}", path, body, headers)
            self.tally.gaps_s[name] = gap_s
            if got != right:
                outcome, words = "wrong", f"{got} is not {right}"
        except CutError as error:
            outcome, words = ("lost" if str(error).startswith("status") else "cut"), str(error)
        except TimeoutError:
            outcome, words = "lost", f"nothing after {PATIENCE_S:g} s"
        except aiohttp.ClientError as error:
            outcome, words = "lost", repr(error)
        took_s = time.monotonic() - began
        self.tally.longest_s = max(self.tally.longest_s, took_s)
        if outcome == "right" and took_s > self.args.late:
            outcome, words = "late", f"{took_s:.1f} s"
        self.tally.outcomes[outcome] += 1
        self.tally.kinds["stream" if body.get("stream") else "plain"] += 1
        if outcome != "right":
            self.tally.words.append(f"{name} {outcome}: {words[:400]}")

    async def run(self) -> None:
        self.write_fleet()
        for engine in (*self.engines, self.reference):
            engine.start()
        for engine in (*self.engines, self.reference):
            async with asyncio.timeout(300):
                await healthy(engine.port)
        kinds = bodies(self.args.kinds)
        async with aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{self.reference.port}"
            right = [(await ask(session, base, path, body, {}))[0] for path, body in kinds]
        if self.args.real:
            self.reference.end()  # two cores have enough with two engines
        await self.start_gateway()
        harm = asyncio.ensure_future(self.harm())
        async with asyncio.TaskGroup() as clients:
            for number in range(self.args.clients):
                clients.create_task(self.client(number, kinds, right))
        harm.cancel()
        (failure,) = await asyncio.gather(harm, return_exceptions=True)
        if not isinstance(failure, asyncio.CancelledError):
            self.tally.words.insert(0, f"the faults ended early: {failure!r}")
            self.tally.outcomes["wrong"] += 1

    def end(self) -> None:
        """Nothing outlives the run."""
        for engine in (*self.engines, self.reference):
            engine.end()
        for gateway in self.gateways:
            gateway.terminate()
        for gateway in self.gateways:
            with suppress(subprocess.TimeoutExpired):
                gateway.wait(40)
            gateway.kill()
        self.log.close()

    def report(self) -> dict[str, Any]:
        tally, text = self.tally, (self.folder / "gateway.log").read_text(errors="replace")
        resumes = {m[1]: int(m[2]) for m in re.finditer(r"request_id=(\S+) .*resumes=(\d+)", text)}
        gaps = sorted(gap for name, gap in tally.gaps_s.items() if resumes.get(name))
        return {
            "seed": self.args.seed,
            "seconds": self.args.seconds,
            "requests": sum(tally.outcomes.values()),
            "kinds": dict(tally.kinds),
            **{name: tally.outcomes[name] for name in ("right", "lost", "cut", "wrong", "late")},
            "resumed": sum(1 for count in resumes.values() if count),
            "hedged": dict(Counter(re.findall(r" hedged=(\w+)", text))),
            "gap_at_resume_p50_s": round(gaps[len(gaps) // 2], 3) if gaps else None,
            "gap_at_resume_p99_s": round(gaps[int(len(gaps) * 0.99)], 3) if gaps else None,
            "longest_request_s": round(tally.longest_s, 2),
            "faults": dict(sorted(tally.faults.items())),
            "load_average": round(os.getloadavg()[0], 1),
            "words": tally.words[:20],
        }


async def healthy(port: int) -> None:
    """Waits until the engine answers its health check."""
    async with aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/health") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


def make_engines(args: argparse.Namespace, folder: Path) -> list[Engine]:
    """The engines, and last the one that tells the right answers."""
    if not args.real:
        line = [sys.executable, "-m", "penstock", "engine", "--model", "chat", "--source", "Qwen/Qwen2.5-7B-Instruct"]
        return [Engine([*line, "--max-num-seqs", "64"], free_port()) for _ in range((args.engines or 4) + 1)]
    tools = args.real.absolute() / "bin"
    maker = Path(__file__).parent.parent / "tests/e2e/engine/tiny_model.py"
    subprocess.run([tools / "python", maker, folder / "model"], check=True)
    line = [str(tools / "vllm"), "serve", str(folder / "model"), "--host", "127.0.0.1", "--served-model-name", "chat"]
    env = REAL_ENVIRONMENT | {"PATH": f"{tools}:{os.environ['PATH']}"}
    return [Engine([*line, *REAL_FLAGS.split()], free_port(), env) for _ in range((args.engines or 2) + 1)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engines", type=int)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--kinds", type=int, default=48)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two faults, on average")
    parser.add_argument("--late", type=float, default=40.0, help="seconds from which a right answer is late")
    parser.add_argument("--real", type=Path, metavar="VENV", help="real vLLM of this virtual environment")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        *engines, reference = make_engines(args, Path(folder))
        chaos = Chaos(args, engines, reference, Path(folder))
        try:
            asyncio.run(chaos.run())
        finally:
            chaos.end()
        figures = chaos.report()
    print(json.dumps(figures, indent=1))
    return 0 if figures["right"] == figures["requests"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
