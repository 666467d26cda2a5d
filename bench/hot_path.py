"""What a request costs in the gateway's own code, without sockets: by stage, with and without limits and the ledger.

    python -m bench.hot_path                           # 1, 4 and 8 endpoints
    python -m bench.hot_path --base ../before          # beside another checkout, in turns
    python -m bench.hot_path --stream                  # CPU of a one-token read of a stream

A `core` is driven as the edge drives it: the request's head, its body of 1.5 KB, the endpoint's answer in one read. No
two prompts are equal; half of them go on from one before. The answer says usage that fits the prompt. Each is the
least of many short stretches, in CPU time of this process: what shares the machine makes stretches longer, and the
shortest are those that it left alone. Figures of two checkouts are compared only where they were taken in turns.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

STRETCH = 100
"""Requests whose CPU time is read at once: some 5 ms, which a scheduler often leaves alone."""
WARM_UP = 3_000
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "it", "rains", "in", "spring")
KEY = "sk-hot-path-0123456789"
FLEET = """apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {{name: hot-path}}
spec:
  gateway:
    listen: 127.0.0.1:0
    tenants:
      - name: bench
{limits}        keys: [{{name: one, value: {key}{key_limits}}}]
  models:
    - name: chat
      source: Qwen/Qwen2.5-0.5B-Instruct
      endpoints: ["http://127.0.0.1:1"]
"""


def main(argv: list[str] | None = None) -> int:
    """Prints a table to stdout, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="another checkout, measured in turns with this one")
    parser.add_argument("--endpoints", default="1,4,8", help="how many, separated by commas")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each checkout")
    parser.add_argument("--stream", action="store_true", help="measure reads of a stream in place of requests")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(_one(json.loads(args.one))))
        return 0
    jobs: list[dict[str, Any]] = [{"stream": True}] if args.stream else list(_jobs(args.endpoints))
    trees = [(path, name) for path, name in ((args.base, "before"), (Path(), "now")) if path is not None]
    best: dict[tuple[int, str], dict[str, float]] = {}
    for _ in range(args.rounds):
        for place, job in enumerate(jobs):
            for path, name in trees:
                if name == "before" and (job.get("limits") or job.get("ledger")):
                    continue
                for stage, cost in _measured(path, job).items():
                    row = best.setdefault((place, name), {})
                    row[stage] = min(row.get(stage, cost), cost)
    _print(jobs, best)
    return 0


def _jobs(endpoints: str) -> Iterator[dict[str, Any]]:
    for number in map(int, endpoints.split(",")):
        yield {"endpoints": number}
    yield {"endpoints": 1, "limits": True}
    yield {"endpoints": 1, "limits": True, "ledger": True}


def _measured(tree: Path, job: dict[str, Any]) -> dict[str, float]:
    """In a process of its own, with that checkout's code and this benchmark."""
    env = dict(os.environ, PYTHONPATH=f"{(tree / 'src').resolve()}")
    command = [sys.executable, str(Path(__file__).resolve()), "--one", json.dumps(job)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{tree}: {done.stderr.strip().splitlines()[-1]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _print(jobs: list[dict[str, Any]], best: dict[tuple[int, str], dict[str, float]]) -> None:
    for place, job in enumerate(jobs):
        words = ", ".join(f"{name} {value}" if value is not True else name for name, value in job.items())
        before = best.get((place, "before"))
        for name in ("before", "now"):
            row = best.get((place, name))
            if row is None:
                continue
            more = f" (+{row['all'] - before['all']:.1f})" if before is not None and name == "now" else ""
            stages = "  ".join(f"{stage} {cost:.2f}" for stage, cost in row.items() if stage != "all")
            print(f"{words:34} {name:7} {row['all']:6.2f} µs{more:9} {stages}")


# ---------------------------------------------------------------------- one process


def _one(job: dict[str, Any]) -> dict[str, float]:
    gateway = _gateway(job)
    if job.get("stream"):
        return {"all": _stream_read_us(gateway)}
    requests = _requests()
    with tempfile.TemporaryDirectory() as folder:
        journal = _journal(Path(folder)) if job.get("ledger") else None
        return _timed(gateway, requests, journal)


def _journal(folder: Path) -> Any:
    from penstock.serve.io.ledger.journal import Journal

    journal = Journal(folder, "hot-path")
    journal.open()
    return journal


def _timed(gateway: Any, requests: Iterator[tuple[bytes, bytes]], journal: Any) -> dict[str, float]:
    run = _runner(gateway, journal)
    now = count(100_000)
    for _ in range(WARM_UP):
        run(next(requests), next(now) / 1e3)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    best = float("inf")
    for _ in range(150):
        asked = [next(requests) for _ in range(STRETCH)]
        if journal is not None:
            journal.prepare()  # as a thread of the gateway does
        began = process_time()
        for one in asked:
            run(one, next(now) / 1e3)
        best = min(best, process_time() - began)
    return {"all": best / STRETCH * 1e6, **_stages(gateway, requests, next(now) / 1e3)}


def _gateway(job: dict[str, Any]) -> Any:
    from penstock.serve.config import compile_gateway
    from penstock.serve.core import Core
    from penstock.serve.routing import EndpointAddress
    from penstock.spec.loader import load_fleet

    limits, key_limits = "", ""
    if job.get("limits"):
        limits = "        limits: {requestsPerMinute: 100000000, tokensPerMinute: 100000000000}\n"
        key_limits = ", limits: {requestsPerMinute: 100000000, tokensPerMinute: 100000000000}"
    fleet = load_fleet(FLEET.format(limits=limits, key=KEY, key_limits=key_limits), "hot-path.yaml")
    gateway = Core(compile_gateway(fleet, {}), random=Random(5), unix_offset_s=1_767_225_600.0)
    addresses = [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=n + 1) for n in range(job.get("endpoints", 1))]
    gateway.endpoints.set_pool("chat", addresses)
    for endpoint in gateway.endpoints.all():
        endpoint.health = "ready"
    return gateway


def _requests() -> Iterator[tuple[bytes, bytes]]:
    """Bodies and the answers that fit them. Every second one goes on from the one before."""
    random = Random(7)
    said: list[dict[str, str]] = []
    while True:
        if len(said) != 1:
            said = [{"role": "user", "content": " ".join(random.choices(WORDS, k=300))}]
            cached = 0
        else:
            said = [*said, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And then?"}]
            cached = 256
        body = {"model": "chat", "messages": said, "max_tokens": 16}
        usage = {"prompt_tokens": 320, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": cached}}
        answer = json.dumps({"id": "x", "choices": [{"message": {"content": "Yes."}}], "usage": usage}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
        yield json.dumps(body).encode(), head + answer


def _head() -> Any:
    from penstock.serve.wire.heads import RequestHead

    return RequestHead("POST", "/v1/chat/completions", KEY.encode(), b"application/json")


def _runner(gateway: Any, journal: Any) -> Callable[[tuple[bytes, bytes], float], None]:
    from penstock.serve.exchange import Exchange

    flow = getattr(gateway, "flow", None)

    def run(one: tuple[bytes, bytes], now: float) -> None:
        exchange = Exchange(gateway, _head(), now)
        exchange.check_head(now)
        exchange.request(one[0], now)
        record = exchange.record
        if journal is not None:
            journal.begin(record, record.key_id, record.reserved_tokens, record.reserved_micros)
        exchange.upstream_data(one[1], now + 0.01)
        if journal is not None:
            journal.end(record, record.cost_micros)
        if exchange.phase != "over":
            raise AssertionError(f"the exchange is {exchange.phase}, not over")
        if flow is not None and flow.is_dirty:
            flow.pump(now)

    return run


def _stages(gateway: Any, requests: Iterator[tuple[bytes, bytes]], now: float) -> dict[str, float]:
    """Wall time of the steps by themselves; with the clock's own, some 0.1 µs each."""
    from penstock.serve.exchange import Exchange

    names = ("make", "head", "body", "answer")
    best = dict.fromkeys(names, float("inf"))
    for _ in range(60):
        spent = [0.0, 0.0, 0.0, 0.0]
        for _ in range(STRETCH):
            (body, answer), now, head = next(requests), now + 0.001, _head()
            t0 = perf_counter()
            exchange = Exchange(gateway, head, now)
            t1 = perf_counter()
            exchange.check_head(now)
            t2 = perf_counter()
            exchange.request(body, now)
            t3 = perf_counter()
            exchange.upstream_data(answer, now + 0.01)
            t4 = perf_counter()
            for place, seconds in enumerate((t1 - t0, t2 - t1, t3 - t2, t4 - t3)):
                spent[place] += seconds
        for name, seconds in zip(names, spent, strict=True):
            best[name] = min(best[name], seconds / STRETCH * 1e6)
    return best


def _stream_read_us(gateway: Any) -> float:
    """CPU of one read that is one token."""
    from penstock.serve.exchange import Exchange

    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
    event = b'data: {"choices":[{"index":0,"delta":{"content":"hel"},"finish_reason":null}]}\n\n'
    read = b"%x\r\n%b\r\n" % (len(event), event)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    best = float("inf")
    for _ in range(60):
        exchange = Exchange(gateway, _head(), 100.0)
        exchange.check_head(100.0)
        exchange.request(body, 100.0)
        exchange.upstream_data(head, 100.0)
        take = exchange.upstream_data
        take(read, 100.0)
        began = process_time()
        for _ in range(4_000):
            take(read, 100.0)
        best = min(best, process_time() - began)
        exchange.client_lost(100.0)
    return best / 4_000 * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
