"""The load client: sends a workload at an endpoint and notes what each request saw.

Guarantees: in an open loop arrivals are honoured however slow the endpoint is, and every time is measured from the
moment a request was due; in a closed loop a fixed number of sessions is in flight. Requests in flight, their time and
the token gaps kept are bounded. It watches itself: event-loop lag, CPU and lateness go into the result.
Leaves to others: the workload (`workload.generators`, `workload.traces`), statistics (`workload.report`).
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import aiohttp
import orjson

from penstock.simulate.io.calls import Call, Target, call, open_session
from penstock.simulate.workload.prompts import PromptBook
from penstock.simulate.workload.report import ClientHealth, Sample, Spread
from penstock.simulate.workload.request import Session, TraceRequest

__all__ = ["LoadPlan", "LoadRun", "RequestShape", "run_load"]

# Open sockets of one client: over this, arrivals wait and are counted late. Linux gives a process 1,024 files by
# default and the CLI raises that to its hard limit.
_IN_FLIGHT_MAX = 4_096
# Token gaps kept for exact ITL percentiles: 5 M are 40 MB; later streams keep all figures but their gaps.
_GAPS_MAX = 5_000_000
_LAG_EVERY_S = 0.02

_ROUTES = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """How each request is put. `ignores_eos` asks for exactly the wanted output: a vLLM extension."""

    api: Literal["chat", "completions"] = "chat"
    is_stream: bool = True
    ignores_eos: bool = True
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to send. With `concurrency` the loop is closed (times in the workload are ignored), else open.

    `duration_s` ends the sending, not the answers; `requests_max` counts turns.
    """

    sessions: Iterator[Session]
    model: str
    seed: int = 0
    words_per_token: float = 1.0
    shape: RequestShape = RequestShape()
    concurrency: int | None = None
    duration_s: float | None = None
    requests_max: int | None = None
    in_flight_max: int = _IN_FLIGHT_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """What came of it. `unfinished`: requests in flight when the run was stopped."""

    samples: list[Sample]
    client: ClientHealth
    unfinished: int


async def run_load(
    plan: LoadPlan,
    target: Target,
    *,
    stop: asyncio.Event,
    on_sample: Callable[[Sample], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> LoadRun:
    """Run the plan to its end, or until `stop` is set: then what is in flight is dropped and the rest reported."""
    cpu_s = time.process_time()
    async with open_session(connections_max=plan.in_flight_max, timeout_s=plan.shape.timeout_s) as session:
        run = _Run(plan=plan, target=target, session=session, on_sample=on_sample, clock=clock, start_at=clock())
        async with asyncio.TaskGroup() as group:
            drive = group.create_task(run.drive())
            watch = group.create_task(run.watch_lag())
            halt = group.create_task(_halt(stop, drive))
            await asyncio.wait({drive})
            watch.cancel()
            halt.cancel()
    wall_s = max(clock() - run.start_at, 1e-9)
    health = ClientHealth(
        cpu_share=round((time.process_time() - cpu_s) / wall_s, 3),
        lag_ms=Spread.of(run.lag_ms),
        late_ms=Spread.of((s.sent_s - s.due_s) * 1000.0 for s in run.samples),
    )
    return LoadRun(samples=run.samples, client=health, unfinished=run.unfinished)


async def _halt(stop: asyncio.Event, drive: asyncio.Task[None]) -> None:
    await stop.wait()
    drive.cancel()


@dataclass(slots=True, kw_only=True)
class _Run:
    """The state of one run. Owner: `run_load`."""

    plan: LoadPlan
    target: Target
    session: aiohttp.ClientSession
    on_sample: Callable[[Sample], None]
    clock: Callable[[], float]
    start_at: float
    samples: list[Sample] = field(default_factory=list)
    lag_ms: array[float] = field(default_factory=lambda: array("d"))
    unfinished: int = 0
    sent: int = 0
    gaps: int = 0
    book: PromptBook = field(init=False)
    serials: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.book = PromptBook(self.plan.seed, words_per_token=self.plan.words_per_token)

    async def drive(self) -> None:
        """Send everything and wait for the answers."""
        if self.plan.concurrency is None:
            await self._drive_open()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.plan.concurrency):
                    group.create_task(self._work())

    async def watch_lag(self) -> None:
        """How late the event loop wakes us: its own delay is in every figure."""
        while True:
            due_at = self.clock() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.lag_ms.append(max(0.0, (self.clock() - due_at) * 1000.0))

    async def _drive_open(self) -> None:
        room = asyncio.Semaphore(self.plan.in_flight_max)
        async with asyncio.TaskGroup() as group:
            for session in self.plan.sessions:
                if self._is_over(session.at_s):
                    break
                # a sleep of 0 lets requests under way move when we are behind
                await asyncio.sleep(max(0.0, self.start_at + session.at_s - self.clock()))
                await room.acquire()
                group.create_task(self._play(session, room))

    async def _work(self) -> None:
        for session in self.plan.sessions:
            if self._is_over(self.clock() - self.start_at):
                return
            await self._play(session, None)

    async def _play(self, session: Session, room: asyncio.Semaphore | None) -> None:
        """All turns of a session. The first is due when the workload says (open loop), later ones after their pause."""
        due_s = session.at_s if room is not None else self.clock() - self.start_at
        try:
            for turn in session.turns:
                if turn is not session.turns[0]:
                    await asyncio.sleep(turn.gap_s)
                    due_s = self.clock() - self.start_at
                if self._is_over(due_s):
                    return
                self.sent += 1
                if await self._send(turn, due_s):
                    return  # a session whose answer failed does not go on
        finally:
            if room is not None:
                room.release()

    def _is_over(self, at_s: float) -> bool:
        plan = self.plan
        is_late = plan.duration_s is not None and at_s >= plan.duration_s
        return is_late or (plan.requests_max is not None and self.sent >= plan.requests_max)

    async def _send(self, turn: TraceRequest, due_s: float) -> bool:
        """Send one request and keep its sample; true when it failed."""
        body = self._body(turn)
        self.unfinished += 1  # stays so when we are cancelled
        route = _ROUTES[self.plan.shape.api]
        seen = await call(self.session, self.target, route, body, clock=self.clock, is_stream=self.plan.shape.is_stream)
        self.unfinished -= 1
        sample = self._sample(turn, due_s, seen)
        self.samples.append(sample)
        self.on_sample(sample)
        return seen.failure is not None

    def _body(self, turn: TraceRequest) -> bytes:
        text = self.book.text(turn, next(self.serials))
        asked: dict[str, object] = {
            "model": self.plan.model,
            "max_tokens": max(1, turn.output_tokens),
            "temperature": 0,
        }
        if self.plan.shape.api == "chat":
            asked["messages"] = [{"role": "user", "content": text}]
        else:
            asked["prompt"] = text
        if self.plan.shape.ignores_eos:
            asked["ignore_eos"] = True
        if self.plan.shape.is_stream:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        return orjson.dumps(asked)

    def _sample(self, turn: TraceRequest, due_s: float, seen: Call) -> Sample:
        has_room = self.gaps + len(seen.gaps_s) <= _GAPS_MAX
        self.gaps += len(seen.gaps_s)
        return Sample(
            due_s=due_s,
            sent_s=seen.sent_at - self.start_at,
            done_s=seen.done_at - self.start_at,
            first_s=None if seen.first_at is None else seen.first_at - self.start_at,
            last_s=None if seen.last_at is None else seen.last_at - self.start_at,
            events=seen.events,
            gaps_s=seen.gaps_s if has_room else array("d"),
            prompt_tokens_wanted=turn.prompt_tokens,
            output_tokens_wanted=turn.output_tokens,
            answer=seen.answer,
            failure=seen.failure,
        )
