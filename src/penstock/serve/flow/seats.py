"""How many requests an engine runs at once, where nobody told: learned from what runs and what waits in it.

vLLM says both in its metrics, four times a second to us, and not its `max_num_seqs`. Each reading moves the size:

    all of it is used, none waits, it never shrank  ──▶ grow by a quarter; also with first tokens, between readings
    requests stay waiting in the engine             ──▶ shrink to the most that it ran of late, and, where it seems to
                                                        be prompts and not seats that they wait for, a few more
    it shrank, and somebody was held back           ──▶ after a pause, try one in 32 more for a second:
         the engine ran more than it was sure of    ──▶     be sure of that, and try twice as many more
         it did not                                 ──▶     back, and a pause twice as long

So they are known once requests have stayed waiting, whatever bounds the engine; where they wait for moments only, they
are not. To stay means in two readings in a row: the least of a queue over an interval is what stands in it, as CoDel
argues (RFC 8289, section 3.1); what comes in bursts and goes again is no reason to hold anything back.

Guarantees: at least 1; an engine that has no metrics is given `UNKNOWN_REQUESTS`. Pure; owned by a window.
"""

from __future__ import annotations

from collections import deque

from penstock.serve.routing.endpoints import EngineSample

__all__ = ["FIRST_REQUESTS", "PROMPTS_PART", "UNKNOWN_REQUESTS", "Seats"]

UNKNOWN_REQUESTS = 1024
"""Requests of an engine that is not known: vLLM's own largest default of `max_num_seqs`, so that none is throttled."""
FIRST_REQUESTS = 64
"""Requests with which each gateway begins at an engine whose metrics are read, but whose seats are not known: so few
that an engine of few seats is not given a whole flood, so many that most are never held back while it is learned."""
GROWN_PART = 4
"""The size grows by one in so many at most: with each reading, and until it shrank with the first tokens of as many
requests as fill it. From 64 to 256 in half a second, and past what the engine runs by no more than that."""
SPARE_PART = 64
"""Of so many that run one more may wait in the engine: about as many as end in a step, at answers of 64 tokens."""
PROMPTS_PART = 8
"""The same of prompts that wait for their turn in a step: no seats are missing then."""
PINNED_PART = 32
"""What runs differs by no more between two readings where all seats are taken."""
RAN_READINGS = 8
"""Readings, two seconds of them, whose most is what an engine runs: one may fall between an end and the next."""
TRIED_PART = 32
"""One more in so many is tried first: as many as one sees in the readings."""
TRIED_READINGS = 4
"""For so many readings, a second."""
PAUSE = 8
"""Readings before a trial, of those at which somebody is held back; twice as many after each that failed. One where it
was prompts that stayed waiting."""
PAUSE_MAX = 64
"""At most: each trial costs a request that waits, and for a second the seats that are kept."""


class Seats:
    """Those of one engine, of all gateways together."""

    __slots__ = ("_is_used", "_pause", "_quiet", "_ran", "_step", "_tries", "_was_filled", "gateways", "size", "sure")

    def __init__(self, gateways: int = 1) -> None:
        self.gateways = gateways
        self.size = float(UNKNOWN_REQUESTS)
        """Requests that it is given."""
        self.sure = 0.0
        """What it shrank to, or what the engine ran since; 0 while it never shrank."""
        self._ran: deque[int] = deque(maxlen=RAN_READINGS)
        """Requests that the engine ran, in the last readings."""
        self._is_used = False
        """All of it was used at the last reading."""
        self._step = 0.0
        """By how many more are tried."""
        self._tries = 0
        """Readings for which a trial goes on."""
        self._was_filled = False
        """All of what is tried was used at one of its readings."""
        self._pause = PAUSE
        self._quiet = 0
        """Readings until the next trial."""

    @property
    def are_known(self) -> bool:
        """Whether the engine runs `size` requests, and no more as far as is known."""
        return self.sure > 0.0 and not self._tries

    @property
    def on_trial(self) -> bool:
        """Whether more than `sure` are given, to see whether they run."""
        return self._tries > 0

    def began(self) -> None:
        """A first token came while all of it was used."""
        if not self.sure and self._ran:
            self.size += 1.0 / GROWN_PART

    def read(self, sample: EngineSample, before: EngineSample | None, *, was_full: bool, is_full: bool) -> None:
        """Takes a reading. `before`: the one before, if it was not missed; else all is learned anew. `was_full`:
        somebody was held back since; `is_full`: all of it is used."""
        if before is None or not self._ran:
            self.size, self.sure, self._tries = float(max(FIRST_REQUESTS * self.gateways, sample.running)), 0.0, 0
            self._ran.clear()
        self._ran.append(sample.running)
        was_used, self._is_used = self._is_used, is_full
        are_taken = was_used and is_full and before is not None and self._is_pinned(sample, before)
        spare = max(self._ran) // SPARE_PART if are_taken else max(2, sample.running // PROMPTS_PART)
        stays = before is not None and min(sample.waiting, before.waiting) > spare
        if 0.0 < self.sure < sample.running and not self._tries:  # others that share it have shown that it does
            self.size = self.sure = float(sample.running)
        elif self._tries:
            self._judge(sample.running, is_full=is_full, stays=stays)
        elif stays:
            self._shrink(spare, PAUSE if are_taken else 1)
        elif was_full and sample.waiting <= spare:
            self._grow(is_full=is_full)

    def _is_pinned(self, sample: EngineSample, before: EngineSample) -> bool:
        """Whether what runs does not change, as where all seats are taken. Where prompts wait for their turn in a step
        it does."""
        top = max(self._ran)
        return min(sample.running, before.running) >= top - 1 - top // PINNED_PART

    def _shrink(self, spare: int, pause: int) -> None:
        size = float(max(1, *self._ran) + spare)
        if size < self.size or (size == self.size and not self.sure):
            self.size = self.sure = size
            self._quiet = self._pause = pause

    def _grow(self, *, is_full: bool) -> None:
        if not self.sure:
            if is_full:
                self.size += max(1.0, self.size / GROWN_PART)
        elif self._quiet:
            self._quiet -= 1
        else:
            self._try(max(1.0, self.size / TRIED_PART))

    def _try(self, step: float) -> None:
        self._step, self.size = step, self.sure + step
        self._tries, self._was_filled = TRIED_READINGS, False

    def _judge(self, running: int, *, is_full: bool, stays: bool) -> None:
        """A reading while more is tried."""
        self._was_filled = self._was_filled or is_full
        if running > self.sure:
            self.sure = float(running)
            self._try(max(1.0, min(2 * self._step, self.sure / GROWN_PART)))
            return
        self._tries -= 1
        if stays or not self._tries:
            self.size, self._tries = self.sure, 0
            if self._was_filled:
                self._pause = min(2 * self._pause, PAUSE_MAX)
            self._quiet = self._pause
