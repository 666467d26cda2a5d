"""Faults on demand: what goes wrong, when, and for how many requests.

Guarantees: the decision for each request and token is a plain function of the armed fault and its counts. Leaves to
others: doing it (exit, cut, silence), and who may ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

__all__ = ["FAULT", "Action", "Fault", "FaultBoard", "FaultMode"]

FaultMode = Literal["none", "crash", "hang", "slow", "drop", "error500", "refuse"]
Action = Literal["go", "crash", "hang", "drop", "error500"]


class Fault(BaseModel):
    """What is armed. The body of `POST /fault`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: FaultMode
    """`crash`: the process exits at once. `hang`: no progress while sockets stay open. `slow`: steps take `factor`
    times as long. `drop`: a connection is cut in mid-stream. `error500`: a request, or a stream under way, fails as
    when vLLM's engine core dies. `refuse`: new connections are refused. `none`: all is well again."""
    at_token: Annotated[int, Field(ge=0)] | None = None
    """Output token of a request after which it happens. None: at once; for `drop` after the first."""
    count: Annotated[int, Field(ge=1)] | None = None
    """Requests that it happens to, for `drop` and `error500`. None: all."""
    factor: Annotated[float, Field(gt=0)] = 10.0
    """For `slow`."""
    for_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds until it heals by itself. None: when `none` is posted."""


FAULT = TypeAdapter(Fault)
_NONE = Fault(mode="none")


@dataclass(slots=True)
class FaultBoard:
    """The armed fault. Owned by the server; asked once for each request and token."""

    fault: Fault = _NONE
    happened: int = 0
    """Requests it has happened to since it was armed."""
    until: float | None = None

    def arm(self, fault: Fault, now: float) -> None:
        """Replaces the fault that was armed."""
        self.fault = fault
        self.happened = 0
        self.until = None if fault.for_s is None else now + fault.for_s

    def heal(self, now: float) -> bool:
        """Disarms a fault whose time is over; true if it did."""
        if self.until is None or now < self.until:
            return False
        self.arm(_NONE, now)
        return True

    @property
    def is_hanging(self) -> bool:
        """True while no engine step may run."""
        return self.fault.mode == "hang" and (self.fault.at_token is None or self.happened > 0)

    @property
    def step_factor(self) -> float:
        """How many times longer a step takes."""
        return self.fault.factor if self.fault.mode == "slow" else 1.0

    @property
    def watches_tokens(self) -> bool:
        """True where `on_tokens` can do anything: spares healthy streams the question."""
        return self.fault.mode == "drop" or (self.fault.mode != "none" and self.fault.at_token is not None)

    def on_request(self) -> Action:
        """A generation request has come."""
        fault = self.fault
        if fault.at_token is not None:
            return "go"
        if fault.mode == "error500" and self._has_turns():
            self.happened += 1
            return "error500"
        return "go"

    def on_tokens(self, tokens: int) -> Action:
        """A request has given out `tokens` so far. Each request whose action is not `go` is asked no further."""
        fault = self.fault
        at = fault.at_token if fault.at_token is not None else (1 if fault.mode == "drop" else None)
        if at is None or tokens < at or not self._has_turns():
            return "go"
        match fault.mode:
            case "crash" | "hang" | "drop" | "error500":
                self.happened += 1
                return fault.mode
            case _:
                return "go"

    def state(self, now: float) -> dict[str, Any]:
        """The armed fault as JSON, with what it has done."""
        left = None if self.until is None else max(0.0, self.until - now)
        return {**self.fault.model_dump(), "happened": self.happened, "heals_in_s": left}

    def _has_turns(self) -> bool:
        return self.fault.count is None or self.happened < self.fault.count
