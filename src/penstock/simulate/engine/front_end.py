"""The API server around the engine, in virtual time: one process that takes requests in and streams tokens out.

Everything it does takes its one core: reading a request (tokenizing, checks), then each token it sends. What the first
token of a request costs more comes before any token of its step is sent: the recorded gaps of those that decode beside
a prompt of 2,048 are longer by it. So requests that come in wait behind tokens that go out, and past some ten thousand
tokens a second the stream falls behind the engine. Guarantees: work is done in the order it came; nothing is sent
before it is there.
Pure: the caller gives the times and gets back when things are through.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.perf.overheads import FrontEndTime
from penstock.simulate.engine.pace import Pace

__all__ = ["FrontEnd"]

_APART = 0.37
"""It is slow at other times than the engine's process."""


class FrontEnd:
    """Owns the time at which the process is free. Call in order of time. `phase` sets when it is slow."""

    def __init__(self, time: FrontEndTime, *, speed: float = 1.0, phase: float = 0.0) -> None:
        self._time = time
        self._scale = 1.0 / speed
        self._pace = Pace(time.slowest, phase=phase + _APART, speed=speed)
        self.free_at = 0.0

    def scale_at(self, now: float) -> float:
        """What its times are to be multiplied by at this time."""
        return self._scale * self._pace.at(now)

    def receive(self, prompt_tokens: int, now: float) -> float:
        """When the engine sees a request that comes at `now`."""
        begins = max(self.free_at, now)
        self.free_at = begins + self._time.before(prompt_tokens) * self.scale_at(begins)
        return self.free_at

    def send(self, first_prompts: Sequence[int | None], now: float) -> list[float]:
        """When the client has each token of one engine step that ends at `now`.

        One entry for each token, in order: the prompt's length where it is a request's first, None where it is not.
        """
        at = max(self.free_at, now + len(first_prompts) * self._time.transit_token_s * self.scale_at(now))
        scale = self.scale_at(at)
        at += sum(self._time.after(prompt) for prompt in first_prompts if prompt is not None) * scale
        sent: list[float] = []
        for prompt in first_prompts:
            if prompt is None:
                at += self._time.per_token_s * scale
            sent.append(at)
        self.free_at = at
        return sent
