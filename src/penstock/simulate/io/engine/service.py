"""What the routes of one engine share: its settings, the driver, the counts, the faults.

Guarantees: one place for the checks that every route makes (model name, ids). Leaves to others: HTTP and the answers.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from penstock.facts import Task
from penstock.simulate.engine.api.envelope import Envelope, model_card
from penstock.simulate.engine.api.errors import ApiError, model_not_found
from penstock.simulate.engine.api.exposition import CacheLabels, Gauges
from penstock.simulate.engine.api.faults import Fault, FaultBoard
from penstock.simulate.engine.api.metrics import HttpMetrics
from penstock.simulate.engine.api.prompt import PromptLimits
from penstock.simulate.engine.capacity import count_tokens
from penstock.simulate.engine.core import Engine, EngineConfig
from penstock.simulate.io.engine.driver import Driver
from penstock.simulate.io.engine.exchange import HttpExchange

__all__ = ["EngineService", "ServiceSettings", "random_id"]

VERSION = "0.32.0"


def random_id() -> str:
    """Sixteen hex digits, as vLLM's ids have."""
    return uuid.uuid4().hex[16:]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What an engine server is, beside the engine."""

    served_names: tuple[str, ...]
    """Names that requests may use; answers carry the first."""
    source: str
    """Hub name or folder, shown in `/v1/models`."""
    engine: EngineConfig
    task: Task = "generate"
    has_faults: bool = False
    """Serves `/fault`."""
    has_dev_routes: bool = False
    """Serves `/sleep`, `/wake_up`, `/is_sleeping`, `/reset_prefix_cache`, as vLLM with `VLLM_SERVER_DEV_MODE=1`."""


@dataclass(slots=True)
class EngineService:
    """Owned by the server. Mutable state is the driver's, the fault board's and the counts'."""

    settings: ServiceSettings
    clock: Callable[[], float]
    on_refuse: Callable[[bool], None]
    """Told to close the listener, or to open it again."""
    crash: Callable[[], None] = lambda: os._exit(1)
    """Ends the process at once, as a killed one ends."""
    faults: FaultBoard = field(default_factory=FaultBoard)
    http: HttpMetrics = field(default_factory=HttpMetrics)
    driver: Driver = field(init=False)
    limits: PromptLimits = field(init=False)
    fingerprint: str = field(init=False)
    created: float = field(default_factory=time.time)
    is_draining: bool = False
    in_flight: int = 0
    """HTTP requests that are being answered."""
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nothing is in flight."""
    _serial: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.quiet.set()
        engine = Engine(self.settings.engine)
        self.driver = Driver(engine, self.faults, self.clock)
        self.limits = PromptLimits(
            max_model_len=engine.max_model_len,
            served_name=self.name,
            task=self.settings.task,
            vocabulary=self.settings.engine.model.vocab,
        )
        digest = hashlib.sha256(repr(self.settings.engine).encode()).hexdigest()
        self.fingerprint = f"vllm-{VERSION}-{digest[:8]}"

    @property
    def name(self) -> str:
        return self.settings.served_names[0]

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Counts a request as in flight."""
        self.in_flight += 1
        self.quiet.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if self.in_flight == 0:
                self.quiet.set()

    def check_model(self, name: str | None) -> None:
        """Refuses a model that this engine does not serve; a request without one is answered, as in vLLM."""
        if name and name not in self.settings.served_names:
            raise model_not_found(name, self.settings.served_names)

    def check_open(self) -> None:
        """Refuses new work while the server drains, with what vLLM says then."""
        if self.is_draining:
            raise ApiError(500, "cannot schedule new futures after shutdown", "InternalServerError")

    def answer_id(self, prefix: str, exchange: HttpExchange, body_id: str | None) -> str:
        """The id of an answer: the client's `x-request-id`, else the body's `request_id`, else a random one."""
        return f"{prefix}{exchange.header('x-request-id') or body_id or random_id()}"

    def envelope(self, answer_id: str, prompt_ids: list[int] | None = None) -> Envelope:
        """The outside of an answer made now."""
        return Envelope(
            id=answer_id,
            created=int(time.time()),
            model=self.name,
            fingerprint=self.fingerprint,
            prompt_ids=prompt_ids,
        )

    def engine_id(self, answer_id: str, index: int) -> str:
        """An id that no other request inside the engine has: clients may use one id twice."""
        return f"{answer_id}-{index}-{next(self._serial)}"

    def model_cards(self) -> list[dict[str, object]]:
        """The entries of `/v1/models`."""
        now = int(time.time())
        return [
            model_card(
                name=name,
                root=self.settings.source,
                max_model_len=self.limits.max_model_len,
                created=now,
                permission_id=random_id(),
            )
            for name in self.settings.served_names
        ]

    def gauges(self) -> Gauges:
        """What `/metrics` shows of this moment."""
        config, stats = self.settings.engine, self.driver.engine.stats()
        return Gauges(
            model_name=self.name,
            stats=stats,
            sleep_level=self.driver.sleep_level,
            created=self.created,
            cache=CacheLabels(
                block_size=config.block_size,
                num_gpu_blocks=stats.num_gpu_blocks,
                num_gpu_blocks_override=config.num_gpu_blocks,
                gpu_memory_utilization=config.gpu_memory_utilization,
                max_model_len=self.limits.max_model_len,
                size_tokens=count_tokens(config, self.limits.max_model_len, stats.num_gpu_blocks),
                is_pooling=self.settings.task == "embed",
            ),
        )

    def arm(self, fault: Fault) -> None:
        """Arms a fault and makes it felt at once."""
        self.faults.arm(fault, self.clock())
        self.on_refuse(fault.mode == "refuse")
        self.driver.rouse()

    def heal(self) -> None:
        """Disarms a fault whose time is over."""
        if self.faults.heal(self.clock()):
            self.on_refuse(False)
            self.driver.rouse()
