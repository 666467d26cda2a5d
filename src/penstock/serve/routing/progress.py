"""Whether an engine makes steps, as its own metrics tell from one reading to the next. Pure.

What moves with each step of vLLM 0.32 (`v1/metrics/loggers.py`, `record`): the gauges of running and waiting requests
and of KV usage are set after every step, also one that yields no token; token totals, prompt totals and the count of
`iteration_tokens_total` move with steps that yield output; prefix-cache queries when a request is first scheduled. A
prompt's tokens are counted when its prefill is complete, so in a long chunked prefill only KV usage moves, a chunk at a
time. A change of any of these between two readings is a step.

Guarantees: silence is summed only over the time that was looked at, at most `LOOK_S_MAX` a look, and a verdict needs
`LOOKS_MIN` silent looks in a row, so that neither a jump of the clock nor a gateway that slept makes an engine dead. A
counter that goes back is a restart, not a silence. The same readings tell whether a request may wait whose answer had
begun (`roomy_from`). What is not seen: one hung engine of several behind one port (data parallel), whose counters are
summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol

from penstock.serve.routing.pace import looks_deadline_s

__all__ = ["LOOKS_MIN", "LOOK_S_MAX", "ROOMY_BELOW", "Look", "Progress", "Reading"]

Look = Literal["moved", "restarted", "idle", "quiet"]
LOOK_S_MAX = 2.0
"""Seconds of silence that one look may add, beyond which it was the looking that stood still."""
LOOKS_MIN = 3
ROOMY_BELOW = 0.9
"""Share of KV blocks in use below which an engine preempts nothing: it does when it finds no free block, and a step
takes up a few in a hundred at most. For a request that was preempted and taken up again between two readings."""
_FADE = 0.999
"""By which the longest silence fades with each look that saw a step: half after some 3 minutes at four a second."""
_WEIGHT = 0.1
_INTERVALS = 4.0
"""Usual times between two readings after which a reading is missing."""


class Reading(Protocol):
    """What is read of an engine here."""

    @property
    def at(self) -> float: ...
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def tells_waiting(self) -> bool: ...
    @property
    def kv_usage(self) -> float: ...
    @property
    def prompt_tokens_total(self) -> int: ...
    @property
    def generation_tokens_total(self) -> int: ...
    @property
    def prefix_queries_total(self) -> int: ...
    @property
    def preemptions_total(self) -> int: ...
    @property
    def steps_total(self) -> int: ...


@dataclass(slots=True)
class Progress:
    """What the readings of one engine have shown. Owned by its endpoint's guard."""

    quiet_s: float = 0.0
    """Seconds looked at since the last step, while it had work."""
    quiet_looks: int = 0
    longest_s: float = 0.0
    """Longest silence lately that ended by itself; fades."""
    step_s: float = 0.0
    """Usual seconds of a step that yields output; 0 while not known."""
    interval_s: float = 0.0
    """Usual seconds between two readings."""
    is_prefill: bool = False
    """The last steps made no token."""
    is_doubted: bool = False
    """The counters stood still while it answered: they say nothing until they move."""
    moved_at: float = 0.0
    """Of the reading that showed its last step."""
    restarts: int = 0
    stepped_from: float = -inf
    stepped_at: float = -inf
    """Between these two readings its own counters moved the last time, whatever was heard of its streams."""
    roomy_from: float = inf
    """Of the first of the readings, up to the latest and without a gap, that all say that nothing waits and that the
    cache has room. An engine that preempts puts the request into the queue that it tells the length of, so a stream
    that was heard after this was not preempted. vLLM 0.32 counts a preemption when that request speaks again, and not
    before: that none was counted shows nothing of what waits."""

    def look(self, old: Reading, new: Reading, *, is_heard: bool) -> Look:
        """Takes the next reading. `is_heard`: streams of ours got something since the last one."""
        gone_s = max(0.0, new.at - old.at)
        self.interval_s = gone_s if self.interval_s <= 0 else self.interval_s + _WEIGHT * (gone_s - self.interval_s)
        is_restarted, is_gap = _went_back(old, new), self.is_missing(gone_s)
        self._look_for_room(new, is_new_run=is_restarted or is_gap or new.preemptions_total != old.preemptions_total)
        if is_restarted:
            self.restarts += 1
            self._moved(new.at)
            self.step_s = self.longest_s = 0.0
            return "restarted"
        has_moved = _has_moved(old, new)
        if has_moved:
            self.stepped_from, self.stepped_at = old.at, new.at
        if has_moved or is_heard:
            self._learn(old, new, gone_s)
            self.is_doubted = self.is_doubted and not has_moved
            self._moved(new.at)
            return "moved"
        if not (new.running or new.waiting):
            self._moved(self.moved_at)
            return "idle"
        self.quiet_s += min(gone_s, LOOK_S_MAX)
        self.quiet_looks += 1
        return "quiet"

    def deadline_s(self, itl_s: float) -> float:
        """Seconds of silence after which the engine hangs. `itl_s`: usual seconds between tokens, 0 if not known."""
        return looks_deadline_s(max(itl_s, self.step_s), longest_s=self.longest_s, is_prefill=self.is_prefill)

    def is_hung(self, itl_s: float) -> bool:
        """Whether the engine has had work and made no step for too long."""
        return self.quiet_looks >= LOOKS_MIN and not self.is_doubted and self.quiet_s > self.deadline_s(itl_s)

    def is_missing(self, age_s: float) -> bool:
        """Whether a reading of that age should have been followed by another."""
        return self.interval_s > 0 and age_s > _INTERVALS * self.interval_s

    def _learn(self, old: Reading, new: Reading, gone_s: float) -> None:
        self.longest_s = max(_FADE * self.longest_s, 0.0 if self.is_doubted else self.quiet_s)
        steps = new.steps_total - old.steps_total
        if steps > 0 and old.running and new.running:
            latest_s = gone_s / steps
            self.step_s = latest_s if self.step_s <= 0 else self.step_s + _WEIGHT * (latest_s - self.step_s)
        makes_tokens = new.generation_tokens_total != old.generation_tokens_total
        self.is_prefill = bool(new.running) and not makes_tokens

    def _look_for_room(self, new: Reading, *, is_new_run: bool) -> None:
        if new.waiting or not new.tells_waiting or new.kv_usage >= ROOMY_BELOW:
            self.roomy_from = inf
        elif is_new_run or self.roomy_from == inf:
            self.roomy_from = new.at

    def _moved(self, at: float) -> None:
        self.quiet_s, self.quiet_looks, self.moved_at = 0.0, 0, at


def _went_back(old: Reading, new: Reading) -> bool:
    return (
        new.generation_tokens_total < old.generation_tokens_total
        or new.prompt_tokens_total < old.prompt_tokens_total
        or new.steps_total < old.steps_total
    )


def _has_moved(old: Reading, new: Reading) -> bool:
    return (
        new.generation_tokens_total != old.generation_tokens_total
        or new.steps_total != old.steps_total
        or new.prompt_tokens_total != old.prompt_tokens_total
        or new.kv_usage != old.kv_usage
        or new.running != old.running
        or new.waiting != old.waiting
        or new.prefix_queries_total != old.prefix_queries_total
        or new.preemptions_total != old.preemptions_total
    )
