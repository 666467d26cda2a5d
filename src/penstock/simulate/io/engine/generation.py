"""Runs one API request through the engine: every choice of every prompt, from submit to the last piece.

Guarantees: whatever ends it (last token, stop string, client gone, fault, cancellation), nothing of it stays in the
engine. Leaves to others: the shape of the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from penstock.simulate.engine.api.errors import engine_dead
from penstock.simulate.engine.api.sampling import Sampling
from penstock.simulate.engine.api.sequence import OutputSequence, Piece
from penstock.simulate.engine.core import EngineRequest
from penstock.simulate.io.engine.driver import ClientGone, Mailbox
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.service import EngineService

__all__ = ["Generation", "Job", "generate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One prompt of a request. `sampling` is fitted to it."""

    prompt_ids: Sequence[int]
    sampling: Sampling
    forced_ids: tuple[int, ...] | None = None
    """Output that a constraint or a tool call fixes beforehand."""


class Generation:
    """Choices of one API request, choice `i` of prompt `p` at index `p * n + i`. Owned by the task that answers."""

    def __init__(self, service: EngineService, exchange: HttpExchange, answer_id: str, jobs: Sequence[Job]) -> None:
        self._service = service
        self._exchange = exchange
        self._mailbox = Mailbox()
        self._is_watched = True
        self._ids: list[str] = []
        self._requests: list[EngineRequest] = []
        self._tokens = 0
        self.sequences: list[OutputSequence] = []
        self.prompt_tokens = sum(len(job.prompt_ids) for job in jobs)
        self._n = jobs[0].sampling.n
        for job in jobs:
            for choice in range(job.sampling.n):
                self._add(job, choice, answer_id)
        self._left = len(self.sequences)

    def _add(self, job: Job, choice: int, answer_id: str) -> None:
        sampling = job.sampling
        index = len(self.sequences)
        seed = (sampling.seed or 0) + choice
        request = EngineRequest(
            id=self._service.engine_id(answer_id, index),
            prompt_ids=job.prompt_ids,
            max_tokens=sampling.max_tokens or 1,
            min_tokens=sampling.min_tokens,
            ignore_eos=sampling.ignore_eos,
            stop_token_ids=sampling.stop_token_ids,
            seed=seed,
            priority=sampling.priority,
            forced_ids=job.forced_ids,
            cache_salt=sampling.cache_salt,
        )
        self._requests.append(request)
        engine_seed = seed + self._service.settings.engine.seed
        self.sequences.append(OutputSequence(index, job.prompt_ids, sampling, engine_seed))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Submits everything; on the way out takes back what has not finished."""
        driver = self._service.driver
        with self._exchange.on_disconnect(lambda: self._mailbox.fail(ClientGone())):
            try:
                for index, request in enumerate(self._requests):
                    driver.submit(request, self._mailbox, index)
                yield
            finally:
                for request in self._requests:
                    driver.abort(request.id)

    @property
    def completion_tokens(self) -> int:
        return sum(len(sequence.token_ids) for sequence in self.sequences)

    async def next_pieces(self) -> list[Piece]:
        """Pieces that are new, by choice; empty when every choice has finished."""
        if self._left == 0:
            return []
        pieces: list[Piece] = []
        for index, output in sorted((await self._mailbox.take()).items()):
            sequence = self.sequences[index]
            if sequence.finish_reason is not None:
                continue
            piece = sequence.push(output)
            self._tokens += len(output.token_ids)
            pieces.append(piece)
            if piece.finish_reason is not None:
                self._left -= 1
                if output.finish_reason is None:
                    self._service.driver.stop_early(self._requests[index].id)
        if self._left == 0:
            self._count_group()
        return pieces

    async def finish(self) -> None:
        """Waits for every choice, for an answer that is sent whole."""
        while await self.next_pieces():
            self.check_faults()

    def check_faults(self) -> None:
        """Does what an armed fault wants after the tokens given out so far."""
        faults = self._service.faults
        if not self._is_watched or not faults.watches_tokens:
            return
        action = faults.on_tokens(self._tokens)
        if action == "go":
            return
        self._is_watched = False
        if action == "crash":
            self._service.crash()
        if action == "drop":
            self._exchange.cut()
            raise ClientGone
        if action == "error500":
            raise engine_dead()
        self._service.driver.rouse()

    def _count_group(self) -> None:
        for start in range(0, len(self.sequences), self._n):
            group = self.sequences[start : start + self._n]
            self._service.driver.metrics.on_group(self._n, max(len(s.token_ids) for s in group))


@asynccontextmanager
async def generate(
    service: EngineService, exchange: HttpExchange, answer_id: str, jobs: Sequence[Job]
) -> AsyncIterator[Generation]:
    """A running generation. Refuses to start one where a fault or a shutdown says so."""
    service.check_open()
    if service.faults.on_request() == "error500":
        raise engine_dead()
    generation = Generation(service, exchange, answer_id, jobs)
    with generation.running():
        yield generation
