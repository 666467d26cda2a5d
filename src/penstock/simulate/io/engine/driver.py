"""Runs the simulated engine in real time: one step after the other, each delivered when it is over.

Guarantees: no polling: the loop sleeps until the step ends, or until there is work. All outputs of a step are delivered
in one pass. Time lost to a late wake-up is made up by the next steps, so that the engine keeps its pace. Leaves to
others: what a step is (`core.py`), the text, and sending it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.faults import FaultBoard
from penstock.simulate.engine.api.metrics import EngineMetrics, FinishedRequest
from penstock.simulate.engine.core import Engine, EngineRequest, RequestTimes, StepResult, TokenOutput

__all__ = ["ClientGone", "Driver", "Mailbox"]

_LAG_MAX_S = 0.05
"""Lateness that is made up; more (a stopped process, a slow machine) is lost, lest steps come in a burst."""


class ClientGone(Exception):
    """The client of a request has closed its connection, or the server is stopping: nobody waits for the answer."""


class Mailbox:
    """Where the driver leaves outputs of one API request. Outputs that nobody took yet are joined, by choice."""

    __slots__ = ("_failure", "_items", "_waiter")

    def __init__(self) -> None:
        self._items: dict[int, TokenOutput] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None

    def put(self, index: int, output: TokenOutput) -> None:
        """Leaves an output of choice `index`."""
        earlier = self._items.get(index)
        if earlier is not None:
            output = output._replace(
                token_ids=earlier.token_ids + output.token_ids,
                first=earlier.first,
                cached_tokens=earlier.cached_tokens,
            )
        self._items[index] = output
        self._rouse()

    def fail(self, failure: Exception) -> None:
        """Makes `take` raise, now and from now on."""
        self._failure = self._failure or failure
        self._rouse()

    async def take(self) -> dict[int, TokenOutput]:
        """All outputs so far, by choice; waits for the first."""
        while not self._items:
            if self._failure is not None:
                raise self._failure
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        items, self._items = self._items, {}
        return items

    def _rouse(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@dataclass(slots=True)
class _Live:
    """One request inside the engine."""

    request: EngineRequest
    mailbox: Mailbox
    index: int
    arrival: float
    scheduled_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0
    cached_tokens: int = 0
    output_tokens: int = 0


class Driver:
    """Owns the engine, its clock and its metrics. `run` is the only task that steps it."""

    def __init__(self, engine: Engine, faults: FaultBoard, clock: Callable[[], float]) -> None:
        self.engine = engine
        self.metrics = EngineMetrics(engine.max_model_len)
        self.sleep_level = 0
        self._faults = faults
        self._clock = clock
        self._live: dict[str, _Live] = {}
        self._wake = asyncio.Event()
        self._is_stopped = False
        self._caught_up_to = 0.0

    @property
    def is_idle(self) -> bool:
        return not self._live

    def submit(self, request: EngineRequest, mailbox: Mailbox, index: int) -> None:
        """Gives a request to the engine; its outputs go to `mailbox` as choice `index`."""
        if self._is_stopped:
            raise ApiError(500, "cannot schedule new futures after shutdown", "InternalServerError")
        now = self._clock()
        self.engine.submit(request, now)
        self._live[request.id] = _Live(request, mailbox, index, now)
        self._wake.set()

    def abort(self, request_id: str) -> None:
        """Forgets a request whose client has gone; not counted, as in vLLM."""
        if self._live.pop(request_id, None) is not None:
            self.engine.abort(request_id, self._clock())

    def stop_early(self, request_id: str) -> None:
        """Ends a request whose text has reached a stop string: for the engine an abort, for the counts a success."""
        live = self._live.pop(request_id, None)
        if live is not None:
            self.engine.abort(request_id, self._clock())
            self._count_finish(live, "stop", None)

    def rouse(self) -> None:
        """Looks again whether a step may run: a fault was changed, or the engine woken."""
        self._wake.set()

    def stop(self) -> None:
        """Fails every request and takes no more."""
        self._is_stopped = True
        for live in list(self._live.values()):
            self.engine.abort(live.request.id, self._clock())
            live.mailbox.fail(ClientGone())
        self._live.clear()

    async def run(self) -> None:
        """Steps the engine for ever; cancel it to end."""
        while True:
            if not self.engine.has_work or self._is_held():
                self._wake.clear()
                await self._wake.wait()
                self._caught_up_to = self._clock()
                continue
            starts_at = max(self._caught_up_to, self._clock() - _LAG_MAX_S)
            step = self.engine.step(starts_at)
            ends_at = starts_at + (step.ends_at - starts_at) * self._faults.step_factor
            await asyncio.sleep(max(0.0, ends_at - self._clock()))
            while self._is_held():
                self._wake.clear()
                await self._wake.wait()
            self._caught_up_to = ends_at
            self._deliver(step, ends_at)

    def _is_held(self) -> bool:
        return self._faults.is_hanging or self.sleep_level > 0

    def _deliver(self, step: StepResult, at: float) -> None:
        """Hands out everything that a step gave."""
        metrics = self.metrics
        metrics.on_step(step)
        for output in step.outputs:
            live = self._live.get(output.request_id)
            if live is None:
                continue
            count = len(output.token_ids)
            if output.first:
                live.scheduled_at, live.first_token_at = step.starts_at, at
                live.cached_tokens = output.cached_tokens
                metrics.on_first(len(live.request.prompt_ids), output.cached_tokens, at - live.arrival)
            elif count:
                metrics.between_tokens.observe(at - live.last_token_at)
            live.last_token_at = at
            live.output_tokens += count
            metrics.generation_tokens += count
            if output.finish_reason is not None:
                del self._live[output.request_id]
                self._count_finish(live, output.finish_reason, output.times)
            live.mailbox.put(live.index, output)

    def _count_finish(self, live: _Live, reason: str, times: RequestTimes | None) -> None:
        request = live.request
        self.metrics.on_finish(
            FinishedRequest(
                reason=reason,
                prompt_tokens=len(request.prompt_ids),
                cached_tokens=live.cached_tokens,
                output_tokens=live.output_tokens,
                max_tokens=None if request.task == "embed" else request.max_tokens,
                times=times
                or RequestTimes(
                    arrival=live.arrival,
                    scheduled_at=live.scheduled_at,
                    first_token_at=live.first_token_at,
                    finished_at=self._clock(),
                    preemptions=0,
                ),
            )
        )
