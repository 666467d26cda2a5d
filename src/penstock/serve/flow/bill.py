"""What a request that runs is charged while it runs: what it is about to receive, and not all of it at its beginning.

A long answer is received over a minute. Charged whole at its beginning, or, where it becomes longer than expected, at
its end, tenants of long answers get too much in one ten seconds and too little in the next. So a bill is for the prompt
and for `AHEAD_S` of the answer, and grows as the answer does. How fast answers grow is learned from those that ended;
until then all that is expected is charged at once.

Guarantees: each bill costs one look every `EVERY_S` while somebody waits, and nothing else; one that is over is dropped
at its next look, and holds no request. Pure; a meter belongs to one line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from penstock.serve.flow.queue import Account, FairQueue

__all__ = ["AHEAD_S", "EVERY_S", "Bill", "Meter"]

AHEAD_S = 2.0
"""Seconds of an answer that are charged before they are received. Chosen on three seeds of `python -m bench.fairness
shares`: work over any 10 s was off by 4.2 % at worst with 5 s, by 3.3 % with 2 s and with 1 s."""
EVERY_S = 0.5
"""Between two looks at what a request has received."""
LEARNED_FROM = 16
"""Tokens of an answer from which its pace counts."""
LEARNED_PART = 1 / 64
"""Weight of one answer in the usual pace."""


class Bill:
    """What one request that waited is charged. Owned by who holds its grant."""

    __slots__ = ("account", "began_at", "charged", "is_over", "output_tokens", "prompt_tokens", "queue")

    def __init__(self, queue: FairQueue, prompt_tokens: int, output_tokens: int) -> None:
        self.queue = queue
        self.account: Account | None = None
        """Set once the tenant was charged first."""
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        """Expected."""
        self.charged = 0
        self.began_at = -1.0
        """When its answer began; -1 while it has not, as far as is known."""
        self.is_over = False


class Meter:
    """Reads what runs of one model."""

    __slots__ = ("_looks", "_token_s")

    def __init__(self) -> None:
        self._token_s = 0.0
        """Seconds for a token of an answer, of late; 0 while not known."""
        self._looks: deque[tuple[float, Bill]] = deque()
        """When each is due, the next first."""

    def begin(self, bill: Bill, now: float) -> int:
        """What it is charged now, at its beginning."""
        ahead = bill.output_tokens if not self._token_s else min(bill.output_tokens, int(AHEAD_S / self._token_s))
        bill.charged = max(1, bill.prompt_tokens + ahead)
        self._looks.append((now + EVERY_S, bill))
        return bill.charged

    def grown(self, now: float) -> Iterator[tuple[Bill, int]]:
        """Bills of answers that have grown, with what is to be charged more: already in the bill's sum."""
        looks = self._looks
        while looks and looks[0][0] <= now:
            _, bill = looks.popleft()
            if bill.is_over:
                continue
            looks.append((now + EVERY_S, bill))
            if self._token_s and bill.began_at >= 0.0:
                made = (now - bill.began_at) / self._token_s
                soon = min(float(bill.output_tokens), made + AHEAD_S / self._token_s)
                more = bill.prompt_tokens + int(max(made, soon)) - bill.charged
                if more > 0:
                    bill.charged += more
                    yield bill, more

    def close(self, bill: Bill, output_tokens: int, now: float) -> None:
        """It is over; with so many tokens of answer, where they are known."""
        bill.is_over = True
        if output_tokens >= LEARNED_FROM and bill.began_at >= 0.0 and now > bill.began_at:
            token_s = (now - bill.began_at) / output_tokens
            self._token_s += (token_s - self._token_s) * LEARNED_PART if self._token_s else token_s
