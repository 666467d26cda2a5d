"""One virtual TCP connection between a gateway and an engine; towards the gateway it is an asyncio transport. Pure.

Bytes arrive in order, late, and cut anywhere. A wire that went black passes nothing in either direction and says so to
nobody: a half-open connection. Guarantees: the gateway's side is told of the end once.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from penstock.simulate.system.clock import Clock

__all__ = ["EngineSide", "GatewaySide", "Wire"]

Enter = Callable[[Callable[[], None]], None]
"""Lets something happen in a gateway's event loop."""
_LATENCY_S = (0.0002, 0.004)
_CUT_SHARE = 0.15


class GatewaySide(Protocol):
    """The protocol of the gateway's end."""

    def data_received(self, data: bytes) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...


class EngineSide(Protocol):
    """The engine's end."""

    def read(self, wire: Wire, data: bytes) -> None: ...

    def gone(self, wire: Wire) -> None: ...


class Wire:
    """One connection."""

    __slots__ = (
        "_arrives_at", "_clock", "_engine", "_enter", "_held", "_is_paused", "_latency_s", "_leaves_at", "_random",
        "gateway_side", "is_aborted", "is_black", "is_ended",
    )  # fmt: skip

    def __init__(self, clock: Clock, random: Random, enter: Enter, engine: EngineSide) -> None:
        self._clock = clock
        self._random = random
        self._enter = enter
        self._engine = engine
        self._latency_s = random.uniform(*_LATENCY_S)
        self._arrives_at = self._leaves_at = 0.0
        self._is_paused = False
        self._held: list[bytes | Exception | None] = []
        self.gateway_side: GatewaySide | None = None
        self.is_black = False
        self.is_aborted = False
        """The gateway has cut it."""
        self.is_ended = False
        """The engine has closed it."""

    # ------------------------------------------------------------------ the engine's side

    def answer(self, data: bytes) -> None:
        """The engine sends."""
        if self.is_ended or self.is_aborted or self.is_black or not data:
            return
        if len(data) > 2 and self._random.random() < _CUT_SHARE:
            cut = self._random.randrange(1, len(data))
            self._arrive(data[:cut])
            data = data[cut:]
        self._arrive(data)

    def end(self, error: Exception | None = None) -> None:
        """The engine closes: in order, or with `error`, as the gateway's side sees it."""
        if self.is_ended or self.is_aborted:
            return
        self.is_ended = True
        if not self.is_black:
            self._arrive(error)

    def _arrive(self, what: bytes | Exception | None) -> None:
        self._arrives_at = max(self._arrives_at, self._clock.now + self._latency_s)
        self._clock.at(self._arrives_at, lambda: self._take(what))

    def _take(self, what: bytes | Exception | None) -> None:
        if self.is_black or self.is_aborted:
            return
        self._enter(lambda: self._deliver(what))

    def _deliver(self, what: bytes | Exception | None) -> None:
        if self._is_paused or self._held:
            self._held.append(what)
        else:
            self._hand_over(what)

    def _hand_over(self, what: bytes | Exception | None) -> None:
        side = self.gateway_side
        if side is None or self.is_aborted:
            return
        if isinstance(what, bytes):
            side.data_received(what)
        else:
            self.gateway_side = None
            side.connection_lost(what)

    # ------------------------------------------------------------------ the gateway's side: a transport

    def write(self, data: bytes) -> None:
        if self.is_aborted or self.is_black or self.is_ended:
            return
        self._leaves_at = max(self._leaves_at, self._clock.now + self._latency_s)
        self._clock.at(self._leaves_at, lambda: self._reach(data))

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.write(b"".join(parts))

    def _reach(self, data: bytes) -> None:
        if not (self.is_black or self.is_ended):
            self._engine.read(self, data)

    def abort(self) -> None:
        """Cuts the connection; the gateway's side is told in the loop's next turn."""
        if self.is_aborted:
            return
        self.is_aborted = True
        if not (self.is_black or self.is_ended):
            self._leaves_at = max(self._leaves_at, self._clock.now + self._latency_s)
            self._clock.at(self._leaves_at, lambda: self._engine.gone(self))
        side, self.gateway_side = self.gateway_side, None
        if side is not None:
            self._clock.at(self._clock.now, lambda: self._enter(lambda: side.connection_lost(None)))

    def is_closing(self) -> bool:
        return self.is_aborted

    @staticmethod
    def get_write_buffer_size() -> int:
        return 0

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        if self._held:
            self._clock.at(self._clock.now, lambda: self._enter(self._release))

    def _release(self) -> None:
        while self._held and not self._is_paused:
            self._hand_over(self._held.pop(0))
