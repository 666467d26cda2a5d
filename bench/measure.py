"""Measures one load on several gateways: starts all of them, lets them take turns, reads what each cost.

Guarantees that whatever it starts is ended when it returns, and that a gateway never shares its core with the load
where there are two cores. Leaves to `report` what the samples mean.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.peers import BUILD, CannotRunError, Peer, Place
from bench.processes import (
    CpuReading,
    cpu_reading,
    cpu_seconds_between,
    machine_cpu_s,
    own_ticks_s,
    rss_bytes,
    tree,
)
from bench.workloads import MODEL, WORKLOADS, Workload, request_body

__all__ = ["Cores", "Sample", "run_workload"]

UPSTREAMS = 2
START_S = 60.0
STOP_S = 5.0
Sample = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Which core the gateway has, and which one everything else."""

    gateway: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        usable = sorted(os.sched_getaffinity(0))
        return cls(gateway=usable[0], load=usable[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway that answers. `pid` is None for the direct way."""

    peer: Peer
    port: int
    pid: int | None


def free_port() -> int:
    """A port that nothing has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(command: Sequence[str | Path], core: int, log: Path) -> subprocess.Popen[str]:
    """Starts a process pinned to `core`, in a group of its own, its words in `log`."""
    with log.open("w") as sink:
        return subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[str]) -> None:
    """Ends a process and its group."""
    pids = tree(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def ask(port: int, path: str, body: bytes | None = None, headers: Sequence[str] = ()) -> int:
    """Status of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    sent = dict(header.split(": ", 1) for header in headers)
    try:
        connection.request("GET" if body is None else "POST", path, body, {"content-type": "application/json", **sent})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def wait_until(is_ready: Callable[[], bool], process: subprocess.Popen[str], what: str, log: Path) -> None:
    """Returns when `is_ready`.

    Raises:
        CannotRunError: the process ended or `START_S` went by.
    """
    end = time.monotonic() + START_S
    reason = f"did not answer in {START_S:.0f} s"
    while time.monotonic() < end:
        if process.poll() is not None:
            reason = f"ended with {process.returncode}"
            break
        try:
            if is_ready():
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    raise CannotRunError(f"{what} {reason}; its last words: {' / '.join(log.read_text().splitlines()[-3:])} ({log})")


def _says_port(log: Path) -> bool:
    return log.read_text().startswith("port ")


@contextmanager
def upstreams(folder: Path, core: int) -> Iterator[list[int]]:
    """The fake engines; gives their ports."""
    with ExitStack() as stack:
        ports: list[int] = []
        for number in range(UPSTREAMS):
            log = folder / f"upstream-{number}.log"
            process = start([BUILD / "upstream", "--port", "0", "--model", MODEL], core, log)
            stack.callback(stop, process)
            wait_until(partial(_says_port, log), process, "the fake upstream", log)
            ports.append(int(log.read_text().split()[1]))
        yield ports


@contextmanager
def gateway(peer: Peer, upstream_ports: Sequence[int], folder: Path, core: int) -> Iterator[Running]:
    """A gateway that answers, until the block ends."""
    if peer.command is None:
        yield Running(peer=peer, port=upstream_ports[0], pid=None)
        return
    place = Place(port=free_port(), spare_port=free_port(), upstream_ports=upstream_ports, folder=folder)
    log = folder / f"{peer.name}.log"
    process = start(peer.command(place), core, log)
    try:
        body = request_body(WORKLOADS[0])
        path = "/v1/chat/completions"
        wait_until(lambda: ask(place.port, path, body, peer.headers) == 200, process, peer.name, log)
        yield Running(peer=peer, port=place.port, pid=process.pid)
    finally:
        stop(process)


def load_command(workload: Workload, running: Running, body_file: Path) -> list[str]:
    """The load generator's command line."""
    command = [str(BUILD / "load"), "--port", str(running.port), "--body", str(body_file)]
    times = running.peer.slowness
    command += ["--connections", str(workload.connections), "--warm", str(workload.warm_s * times)]
    command += ["--seconds", str(workload.seconds * times), "--ramp", str(workload.ramp_s)]
    for header in running.peer.headers:
        command += ["--header", header]
    if workload.is_stream:
        command += ["--tokens", str(workload.tokens), "--usage"]
    return command


def measure(workload: Workload, running: Running, body_file: Path, upstream_pids: Sequence[int]) -> Sample:
    """One repeat of a load on one gateway."""
    cpu: list[CpuReading] = []
    others_s: list[float] = []
    with subprocess.Popen(load_command(workload, running, body_file), stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        ours = [load.pid, *upstream_pids, os.getpid(), *([running.pid] if running.pid else [])]
        for word in ("begin", "end"):
            if load.stdout.readline().strip() != word:
                raise CannotRunError(f"the load generator did not say {word!r} on {running.peer.name}")
            if running.pid:
                cpu.append(cpu_reading(running.pid))
            others_s.append(machine_cpu_s() - sum(own_ticks_s(pid) for pid in ours))
        rss = rss_bytes(running.pid) / 1e6 if running.pid else None
        result = json.loads(load.stdout.readline())
    sample = _head(workload, running) | _rates(workload, result)
    sample["rss_mb"] = rss
    sample["others_cpu_pct"] = max(0.0, 100 * (others_s[1] - others_s[0]) / result["window_s"])
    if cpu:
        cpu_s = cpu_seconds_between(cpu[0], cpu[1])
        sample["gateway_cpu_pct"] = 100 * cpu_s / result["window_s"]
        sample["cpu_us_per_request"] = cpu_s * 1e6 / result["requests"] if result["requests"] else None
        sample["cpu_us_per_token"] = cpu_s * 1e6 / result["tokens"] if result["tokens"] else None
    return sample


def _head(workload: Workload, running: Running) -> Sample:
    return {"peer": running.peer.name, "workload": workload.name, "figure": workload.figure, "failures": {}}


def _rates(workload: Workload, result: Mapping[str, Any]) -> Sample:
    """What the load generator's result says, per second and by percentile."""
    rates: Sample = {"failures": result["failures"], "failure_sample": result["failure_sample"]}
    rates["requests_per_s"] = result["requests"] / result["window_s"]
    rates["tokens_per_s"] = result["tokens"] / result["window_s"]
    if workload.offered_tokens_per_s:
        rates["held_pct"] = 100 * rates["tokens_per_s"] / workload.offered_tokens_per_s
    for kind in ("total", "ttft", "transit"):
        for percentile, value in (result[f"{kind}_us"] or {}).items():
            rates[f"{kind}_{percentile}_us"] = value
    return rates


def measure_idle(workload: Workload, running: Running, pid: int, body_file: Path) -> Sample:
    """Memory that a gateway takes per open stream."""
    before = rss_bytes(pid)
    command = [*load_command(workload, running, body_file), "--hold"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        assert load.stdin is not None
        load.stdout.readline()
        after = rss_bytes(pid)
        load.stdin.close()
    return _head(workload, running) | {
        "kb_per_stream": (after - before) / 1000 / workload.connections,
        "rss_mb": after / 1e6,
    }


def run_workload(
    workload: Workload, peers: Sequence[Peer], *, repeats: int, cores: Cores, folder: Path, tell: Callable[[str], None]
) -> list[list[Sample]]:
    """All repeats of one load on all peers, taking turns; the samples of each peer.

    Raises:
        CannotRunError: a gateway did not start.
    """
    body_file = folder / f"{workload.name}.json"
    body_file.write_bytes(request_body(workload))
    samples: dict[str, list[Sample]] = {peer.name: [] for peer in peers}
    with ExitStack() as stack:
        ports = stack.enter_context(upstreams(folder, cores.load))
        upstream_pids = [pid for pid in tree(os.getpid()) if _is_upstream(pid)]
        running = [stack.enter_context(gateway(peer, ports, folder, cores.gateway)) for peer in peers]
        for port in ports:
            ask(port, f"/bench/set?gap_us={workload.gap_us}")
        # memory is measured once: the second time, a gateway has what the first left it
        for _ in range(1 if workload.is_idle else repeats):
            for one in running:
                tell(f"{workload.name}: {one.peer.name}")
                if not workload.is_idle:
                    samples[one.peer.name].append(measure(workload, one, body_file, upstream_pids))
                elif one.pid is not None:
                    samples[one.peer.name].append(measure_idle(workload, one, one.pid, body_file))
    return [taken for taken in samples.values() if taken]


def _is_upstream(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "upstream"
    except OSError:
        return False
