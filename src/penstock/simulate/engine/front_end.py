"""The API server around the engine, in virtual time: one process that takes requests in and streams tokens out.

Everything it does takes its one core: reading a request (tokenizing, checks), then each token it sends, the first one
of a request more. So requests that come in wait behind tokens that go out, and past some ten thousand tokens a second
the stream falls behind the engine. Guarantees: work is done in the order it came; nothing is sent before it is there.
Pure: the caller gives the times and gets back when things are through.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.perf.overheads import FrontEndTime

__all__ = ["FrontEnd"]


class FrontEnd:
    """Owns the time at which the process is free. Call in order of time."""

    def __init__(self, time: FrontEndTime, *, speed: float = 1.0) -> None:
        self._time = time
        self._scale = 1.0 / speed
        self.free_at = 0.0

    def receive(self, prompt_tokens: int, now: float) -> float:
        """When the engine sees a request that comes at `now`."""
        self.free_at = max(self.free_at, now) + self._time.before(prompt_tokens) * self._scale
        return self.free_at

    def send(self, first_prompts: Sequence[int | None], now: float) -> list[float]:
        """When the client has each token of one engine step that ends at `now`.

        One entry for each token, in order: the prompt's length where it is a request's first, None where it is not.
        """
        at = max(self.free_at, now)
        sent: list[float] = []
        for prompt in first_prompts:
            cost = self._time.per_token_s if prompt is None else self._time.after(prompt)
            at += cost * self._scale
            sent.append(at)
        self.free_at = at
        return sent
