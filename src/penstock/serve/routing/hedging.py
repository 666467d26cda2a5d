"""Whether a request whose answer is late to begin is sent to a second endpoint as well, and when to look. Pure.

Whichever begins first is kept (`serve.hedged`), the other cut. That shortens the tail where one endpoint is slow for a
moment, and costs a second prefill. Off unless the file asks for it. Guarantees: never more than the file's share of a
model's requests, plus `BALANCE_MAX` at once; each at most once; nothing before `SAMPLES_MIN` answers of its kind have
shown what is late. Nothing is polled: `wake` is called with the time at which `due` has something to tell.

Late is later than all but that share of the requests of the same kind lately: of one path, streamed or not (a plain
answer begins when it is whole), and of prompts of like length. One that was sent twice counts with all the time since
it was first sent, or what is late would creep down by what hedging saves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

__all__ = ["Hedge", "Hedging", "Kind", "Usual", "kind_of"]

SHARE = 0.05
"""Hedges for each request where the file says nothing: as Dean and Barroso, The Tail at Scale (CACM 56:2, 2013), have
it, where a request is sent again once it is later than 95 % and the load grows by 5 %."""
BALANCE_MAX = 5.0
SAMPLES_MAX = 256
"""Times to the beginning of an answer that are kept of each kind, the latest."""
SAMPLES_MIN = 50
FLOOR_S = 0.05
"""Seconds below which nothing is late: a second request costs more than that."""
TICK_S = 0.01
"""Seconds between two looks at least."""
KINDS_MAX = 128
"""Kinds of requests to one model; what exceeds them is not hedged."""
_LEARN_EVERY = 32

Kind = tuple[str, bool, int]
"""Path, whether a stream is wanted, and the prompt's length: bits of its count of tokens, two by two."""


class Usual:
    """How long requests of one kind take to begin, and those that have not. Owned by a `Hedge`."""

    __slots__ = ("_count", "_samples", "_share", "late_s", "waiting")

    def __init__(self, share: float = SHARE) -> None:
        self.late_s = inf
        """Seconds from which one is late."""
        self.waiting: OrderedDict[Any, float] = OrderedDict()
        """Requests that may become late, by when they were sent, or were looked at last."""
        self._samples: list[float] = []
        self._count = 0
        self._share = share

    def began(self, took_s: float) -> None:
        """An answer began so long after its request was first sent."""
        if len(self._samples) < SAMPLES_MAX:
            self._samples.append(took_s)
        else:
            self._samples[self._count % SAMPLES_MAX] = took_s
        self._count += 1
        if self._count >= SAMPLES_MIN and (self._count == SAMPLES_MIN or self._count % _LEARN_EVERY == 0):
            self.late_s = max(FLOOR_S, _percentile(self._samples, 1.0 - self._share))


class Hedge:
    """The hedging of one model. Owned by `Hedging`."""

    __slots__ = ("balance", "hedged_total", "kinds", "share")

    def __init__(self, share: float = SHARE) -> None:
        self.share = share
        self.balance = 0.0
        """Hedges that may be made now."""
        self.hedged_total = 0
        self.kinds: dict[Kind, Usual] = {}

    def request(self) -> None:
        """A request was sent for the first time."""
        balance = self.balance + self.share
        self.balance = balance if balance < BALANCE_MAX else BALANCE_MAX

    def usual(self, kind: Kind) -> Usual | None:
        """What is known of requests of that kind; None where there are too many kinds."""
        usual = self.kinds.get(kind)
        if usual is None and len(self.kinds) < KINDS_MAX:
            usual = self.kinds[kind] = Usual(self.share)
        return usual

    def take(self) -> bool:
        """Takes a hedge from the budget, if there is one."""
        if self.balance < 1.0:
            return False
        self.balance -= 1.0
        self.hedged_total += 1
        return True


class Hedging:
    """The hedging of one gateway. Owned by its core; called from the event loop."""

    __slots__ = ("_hedges", "share", "wake", "wakes_at")

    def __init__(self, share: float = SHARE) -> None:
        self.share = share
        self.wake: Callable[[float], None] = _nobody
        """Called with the time, monotonic seconds, at which `due` is to be asked, if nobody asks before."""
        self.wakes_at = inf
        """That time."""
        self._hedges: dict[str, Hedge] = {}

    def configure(self, share: float) -> None:
        """Takes the file's share; another one is learned for anew."""
        if share != self.share:
            self.share = share
            self._hedges.clear()

    def hedge(self, model: str) -> Hedge:
        """Of that model. Only for names of the configuration."""
        hedge = self._hedges.get(model)
        if hedge is None:
            hedge = self._hedges[model] = Hedge(self.share)
        return hedge

    def hedges(self) -> list[Hedge]:
        """Of every model that was asked for."""
        return list(self._hedges.values())

    def watch(self, usual: Usual, owner: Any, now: float) -> None:
        """A request was sent: `owner` is told of by `due` once it is late, until it is taken out of `usual.waiting`."""
        due = now + usual.late_s
        if due < inf:
            usual.waiting[owner] = now
            if due < self.wakes_at:
                self.wakes_at = due
                self.wake(due)

    def due(self, now: float) -> list[Any]:
        """Those that are late now, and for which there is a budget. They are told of again when as much time has passed
        once more, as there may be room for them then."""
        late: list[Any] = []
        next_at = inf
        for hedge in self._hedges.values():
            budget = int(hedge.balance)
            for usual in hedge.kinds.values():
                waiting, late_s = usual.waiting, usual.late_s
                while waiting:
                    owner, since = next(iter(waiting.items()))
                    if since + late_s > now:
                        next_at = min(next_at, since + late_s)
                        break
                    del waiting[owner]
                    waiting[owner] = now
                    if budget > 0:
                        late.append(owner)
        self.wakes_at = inf
        if next_at < inf:
            self.wakes_at = max(next_at, now + TICK_S)
            self.wake(self.wakes_at)
        return late


def kind_of(path: str, *, is_stream: bool, prompt_tokens: int) -> Kind:
    """The kind of a request."""
    return path, is_stream, (prompt_tokens.bit_length() + 1) >> 1


def _nobody(_at: float) -> None:
    """Nobody wants to be woken."""


def _percentile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
