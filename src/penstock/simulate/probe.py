"""What to ask of a live engine to learn how fast it is, and what its answers say. Pure: no clock, no socket.

A probe is a few rounds: single prompts of several lengths (prefill), then groups of requests that decode together.
Each round becomes a measured point; the points move a calibration as far as they show (`perf.fitting`), and the
distance of what remains says how far off it is. Guarantees: prompts are unique token ids, so that no prefix cache
answers them; the same seed asks the same. Leaves to others: sending (`simulate.io.probe`), printing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from random import Random
from typing import Literal

from penstock.errors import PenstockError
from penstock.facts import Architecture, Gpu
from penstock.perf import Calibration, FrontEndTime, Regime, default_calibration
from penstock.perf.fitting import DECODE_OVERHEADS, PREFILL_OVERHEADS, Point, fit_points, predict

__all__ = ["Fit", "Measured", "Probed", "Round", "Seen", "calibrate", "measure", "plan_rounds", "prompt_ids"]

_PREFILL_TOKENS = (128, 512, 2048, 6144)
_PREFILL_REPEATS = 4
"""Of which the median counts: the first one of a length may compile kernels."""
_DECODE_REQUESTS = (1, 4, 16, 48, 96)
_DECODE_PROMPT_TOKENS = 64
_DECODE_TOKENS = 96
_LONG_REQUESTS, _LONG_PROMPT_TOKENS = 8, 3072
"""One group with a long context shows what reading the cache costs."""
_FIRST_ID, _IDS_MAX = 1000, 30_000
"""Ordinary tokens stand here in every vocabulary that is known; smaller vocabularies are used whole."""
_WINDOW_TOKENS_MIN = 16
_FRONT_SHARES = (0.2, 5.0)
"""How far the front end's time may move from where it was: beyond that something else is slow."""
_TRUST = 0.3
"""Weight of the start against one point: measured rounds are medians, so worth more than one row each."""
_FAR = math.e
"""Times slower than the GPU's figures say from which it is another machine: its rates are looked for first."""
_RATES = ("bandwidth_share", "kv_bandwidth_share", "matmul_share", "attention_share", "expert_matmul_share")
"""What a slower device has less of; the host's times are fitted from where they were."""
_RATE_MAX = 1e5
_FAR_REACH = 6.0
"""Logarithm of the factor by which each figure of another machine may move from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Requests that are sent at the same time."""

    kind: Literal["prefill", "decode"]
    requests: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One answer, in seconds of the prober's clock: when it was sent, and when each token came."""

    sent_s: float
    first_s: float
    gaps_s: tuple[float, ...]
    prompt_tokens: int
    """As the engine counted them."""

    @property
    def times_s(self) -> list[float]:
        """When each token came."""
        return list(accumulate((self.first_s, *self.gaps_s)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one round showed: a decode step's time, or the time to first token of one prompt alone."""

    kind: Literal["prefill", "decode"]
    requests: int
    tokens: int
    """Prompt tokens of a prefill; mean context of a decode."""
    seconds: float
    is_engine: bool = False
    """By the engine's own clock: a first token without what the API server adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What was probed, as far as the times depend on it."""

    model: Architecture
    gpu: Gpu
    tensor_parallel: int = 1
    kv_dtype: str | None = None
    batched_tokens: int = 8192
    engine: str = ""
    """Engine and version, for the record."""
    machine: str = ""
    made_on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A calibration, and each measured round beside what was and is now predicted."""

    calibration: Calibration
    rows: tuple[tuple[Measured, float, float], ...] = field(default=())
    """Measured, seconds predicted before, seconds predicted after."""

    @property
    def slowness(self) -> float:
        """Times slower than predicted before: the median of the rounds."""
        return statistics.median(m.seconds / before for m, before, _ in self.rows) if self.rows else 1.0

    @property
    def is_far(self) -> bool:
        """Slower than any GPU of this name: its rates were not those of the data sheet."""
        return self.slowness > _FAR

    @property
    def error_before(self) -> float:
        """Median distance of prediction from measurement, as a share."""
        return _median_error([(m.seconds, before) for m, before, _ in self.rows])

    @property
    def error_after(self) -> float:
        return _median_error([(m.seconds, after) for m, _, after in self.rows])


def plan_rounds(context: int, max_num_seqs: int | None = None) -> list[Round]:
    """Rounds that an engine of this context can answer, the light ones first. The first one only warms up."""
    rounds = [Round(kind="prefill", requests=1, prompt_tokens=min(128, context // 2), output_tokens=8)]
    for tokens in sorted({min(tokens, context - 1) for tokens in _PREFILL_TOKENS}):
        if tokens > 0:
            single = Round(kind="prefill", requests=1, prompt_tokens=tokens, output_tokens=1)
            rounds += [single] * _PREFILL_REPEATS
    for requests in _DECODE_REQUESTS:
        if max_num_seqs is None or requests <= max_num_seqs:
            rounds.append(_decode_round(requests, _DECODE_PROMPT_TOKENS, context))
    if context >= _LONG_PROMPT_TOKENS + _DECODE_TOKENS:
        rounds.append(_decode_round(_LONG_REQUESTS, _LONG_PROMPT_TOKENS, context))
    return rounds


def _decode_round(requests: int, prompt_tokens: int, context: int) -> Round:
    output = max(2, min(_DECODE_TOKENS, context - prompt_tokens))
    return Round(kind="decode", requests=requests, prompt_tokens=prompt_tokens, output_tokens=output)


def prompt_ids(rng: Random, tokens: int, vocab: int) -> list[int]:
    """A prompt that nobody sent before."""
    first = _FIRST_ID if vocab > 2 * _FIRST_ID else 0
    last = min(vocab - 1, _IDS_MAX)
    return [rng.randint(first, last) for _ in range(tokens)]


def measure(rounds: Sequence[tuple[Round, Sequence[Seen]]]) -> list[Measured]:
    """What the rounds showed, those of one kind and size as one; the first, which warmed up, left out.

    Raises:
        PenstockError: nothing can be read off them.
    """
    found: list[Measured] = []
    firsts: dict[int, list[float]] = {}
    for asked, answers in rounds[1:]:
        if not answers:
            continue
        if asked.kind == "prefill":
            firsts.setdefault(answers[0].prompt_tokens, []).extend(a.first_s - a.sent_s for a in answers)
        elif (step := _decode_step(answers)) is not None:
            found.append(step)
    singles = [
        Measured(kind="prefill", requests=1, tokens=tokens, seconds=statistics.median(times))
        for tokens, times in sorted(firsts.items())
    ]
    if not singles or not found:
        raise PenstockError(
            "the probe showed too little: no group of requests decoded together, or no prompt was answered",
            hint="probe an engine that is otherwise idle; `penstock smoke URL` tells whether it answers",
        )
    return [*singles, *found]


def _decode_step(answers: Sequence[Seen]) -> Measured | None:
    """One step's time while all of a group decode: from the last first token to the first last one."""
    times = [answer.times_s for answer in answers]
    start, end = max(t[0] for t in times), min(t[-1] for t in times)
    inside = [sum(start < at <= end for at in t) for t in times]
    if end <= start or min(inside) < _WINDOW_TOKENS_MIN:
        return None
    seen_before = [sum(at <= start for at in t) for t in times]
    contexts = [a.prompt_tokens + b + n / 2 for a, b, n in zip(answers, seen_before, inside, strict=True)]
    return Measured(
        kind="decode",
        requests=len(answers),
        tokens=round(statistics.fmean(contexts)),
        seconds=(end - start) / statistics.fmean(inside),
    )


def calibrate(
    measured: Sequence[Measured], probed: Probed, *, name: str, how: str = "probe", start: Calibration | None = None
) -> Fit:
    """The calibration that explains what was measured, as near to the start (the GPU's default) as that allows."""
    given = start or default_calibration(probed.gpu)
    first, reach = given, 1.0
    if measured and statistics.median(m.seconds / _predicted(m, probed, given) for m in measured) > _FAR:
        first, reach = _slower(given, measured, probed), _FAR_REACH
    decodes = [_point(m, probed) for m in measured if m.kind == "decode"]
    singles = [m for m in measured if m.kind == "prefill"]
    fitted = fit_points(decodes, first, DECODE_OVERHEADS, trust=_TRUST, reach=reach)
    for _ in range(3):  # engine and front end share what a prefill took: each is fitted to what the other leaves
        front = fitted.front_end
        engine = [
            replace(_point(m, probed), seconds=max(0.3 * m.seconds, m.seconds - _front_s(front, m))) for m in singles
        ]
        fitted = fit_points(
            [*decodes, *engine], fitted, (*DECODE_OVERHEADS, *PREFILL_OVERHEADS), trust=_TRUST, reach=reach
        )
        fitted = _with_front_end(fitted, first, singles, probed)
    fitted = replace(
        fitted,
        name=name,
        source=f"{how} by `penstock calibrate`, {len(measured)} figures, from {given.name}",
        machine=probed.machine,
        engine=probed.engine,
        made_on=probed.made_on,
    )
    rows = tuple((m, _predicted(m, probed, given), _predicted(m, probed, fitted)) for m in measured)
    return Fit(calibration=_with_intervals(fitted, rows), rows=rows)


def _slower(given: Calibration, measured: Sequence[Measured], probed: Probed) -> Calibration:
    """All rates divided by one number, such that half of what is predicted is above what was measured: from there a
    fit finds each. Far from it nothing would show which rate decides."""
    low, high = 1.0, _RATE_MAX
    for _ in range(40):
        ratio = math.sqrt(low * high)
        scaled = {name: getattr(given.overheads, name) / ratio for name in _RATES}
        slower = replace(given, overheads=replace(given.overheads, **scaled))
        is_slow = statistics.median(m.seconds / _predicted(m, probed, slower) for m in measured) < 1.0
        low, high = (low, ratio) if is_slow else (ratio, high)
    return slower


def _point(measured: Measured, probed: Probed) -> Point:
    is_decode = measured.kind == "decode"
    return Point(
        kind=measured.kind,
        model=probed.model,
        gpu=probed.gpu,
        seconds=measured.seconds,
        requests=measured.requests,
        context=measured.tokens if is_decode else 0,
        prompt_tokens=0 if is_decode else measured.tokens,
        max_num_batched_tokens=probed.batched_tokens,
        tensor_parallel=probed.tensor_parallel,
        kv_dtype=probed.kv_dtype,
    )


def _predicted(measured: Measured, probed: Probed, calibration: Calibration) -> float:
    """Seconds that a client would see."""
    engine = predict(_point(measured, probed), calibration)
    if measured.kind == "decode":
        return engine
    return engine + _front_s(calibration.front_end, measured)


def _front_s(front: FrontEndTime, measured: Measured) -> float:
    """What the API server adds to a first token, as far as it is in what was measured."""
    return 0.0 if measured.is_engine else front.before(measured.tokens) + front.after(measured.tokens)


def _with_front_end(now: Calibration, first: Calibration, singles: Sequence[Measured], probed: Probed) -> Calibration:
    """The front end scaled to what the engine leaves of the first tokens' times."""
    outside = [m for m in singles if not m.is_engine]
    if not outside:
        return now
    left = [m.seconds - predict(_point(m, probed), now) for m in outside]
    expected = [_front_s(first.front_end, m) for m in outside]
    ratio = statistics.median(max(0.0, seen) / said for seen, said in zip(left, expected, strict=True))
    low, high = _FRONT_SHARES
    return replace(now, front_end=first.front_end.scaled(min(high, max(low, ratio))))


_REGIMES: tuple[tuple[str, tuple[Regime, ...]], ...] = (
    ("decode", ("decode", "itl", "throughput")),
    ("prefill", ("prefill", "ttft")),
)


def _with_intervals(fitted: Calibration, rows: Sequence[tuple[Measured, float, float]]) -> Calibration:
    """Intervals as wide as what is left unexplained, never narrower than those of a GPU that was measured at length.

    A handful of rounds fits itself; what other loads add on top is known from the H200 only.
    """
    errors = dict(Calibration(name="", source="").errors)
    for kind, regimes in _REGIMES:
        ratios = [measured.seconds / after for measured, _, after in rows if measured.kind == kind]
        for regime in regimes:
            low, high = errors[regime]
            errors[regime] = (min(low, *ratios), max(high, *ratios))
    return replace(fitted, errors=errors, carried=1.0)


def _median_error(pairs: Sequence[tuple[float, float]]) -> float:
    return statistics.median(abs(math.log(said / seen)) for seen, said in pairs) if pairs else 0.0
