"""What the engine counts: vLLM's counters and histograms, and the web framework's.

Guarantees: plain numbers, no lock; one token costs one bisect. Meaning and bounds are those of vLLM 0.32. Leaves to
others: gauges (they are read from the engine when asked for) and the text (`exposition.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.simulate.engine.core import RequestTimes, StepResult

__all__ = ["EngineMetrics", "FinishedRequest", "Histogram", "HttpMetrics", "token_bounds"]

_STEP_TOKENS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
_N = (1.0, 2.0, 5.0, 10.0, 20.0)
_FIRST = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_BETWEEN = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
_WHOLE = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_PREEMPTIONS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
_HTTP_FINE = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0),
    *(2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0),
)
_HTTP_COARSE = (0.1, 0.5, 1.0)


class Histogram:
    """Counts by bucket, not yet cumulated; the last bucket has no upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Counts a value; negative ones, which only clocks can make, count as zero."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRequest:
    """One engine request at its end."""

    reason: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    max_tokens: int | None
    """None for an embedding, which has no such parameter."""
    times: RequestTimes


def token_bounds(max_model_len: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, ... as far as the context goes."""
    bounds: list[float] = []
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale > max_model_len:
                return tuple(bounds)
            bounds.append(float(step * scale))
        scale *= 10


class EngineMetrics:
    """Everything under `vllm:` that only grows. Owned by the driver."""

    def __init__(self, max_model_len: int) -> None:
        tokens = token_bounds(max_model_len)
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.finished = dict.fromkeys(("stop", "length", "abort", "error", "repetition"), 0)
        self.tool_calls: dict[tuple[str, str], int] = {}
        """By `streaming` or `non_streaming` and `tool_call` or `no_tool_call`."""
        self.request_prompt_tokens = Histogram(tokens)
        self.request_generation_tokens = Histogram(tokens)
        self.iteration_tokens = Histogram(_STEP_TOKENS)
        self.max_generation_tokens = Histogram(tokens)
        self.params_n = Histogram(_N)
        self.params_max_tokens = Histogram(tokens)
        self.first_token = Histogram(_FIRST)
        self.between_tokens = Histogram(_BETWEEN)
        self.per_output_token = Histogram(_BETWEEN)
        self.end_to_end = Histogram(_WHOLE)
        self.queued = Histogram(_WHOLE)
        self.inference = Histogram(_WHOLE)
        self.prefill = Histogram(_WHOLE)
        self.decode = Histogram(_WHOLE)
        self.request_preemptions = Histogram(_PREEMPTIONS)
        self.prefill_computed = Histogram(tokens)

    def on_step(self, step: StepResult) -> None:
        """One engine step is over."""
        tokens = step.prefill_tokens + step.decode_tokens
        if tokens:
            self.iteration_tokens.observe(tokens)

    def on_first(self, prompt_tokens: int, cached_tokens: int, waited_s: float) -> None:
        """A request's prefill is complete."""
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += cached_tokens
        self.first_token.observe(waited_s)

    def on_group(self, n: int, output_tokens_max: int) -> None:
        """All choices of one API request have finished."""
        self.params_n.observe(n)
        self.max_generation_tokens.observe(output_tokens_max)

    def on_tool_parse(self, *, is_stream: bool, is_call: bool, times: int = 1) -> None:
        """The tool parser looked at output."""
        key = ("streaming" if is_stream else "non_streaming", "tool_call" if is_call else "no_tool_call")
        self.tool_calls[key] = self.tool_calls.get(key, 0) + times

    def on_finish(self, request: FinishedRequest) -> None:
        """A request has ended by itself; aborted ones are not counted, as in vLLM."""
        times = request.times
        self.finished[request.reason] = self.finished.get(request.reason, 0) + 1
        self.request_prompt_tokens.observe(request.prompt_tokens)
        self.request_generation_tokens.observe(request.output_tokens)
        self.prefill_computed.observe(request.prompt_tokens - request.cached_tokens)
        if request.max_tokens is not None:
            self.params_max_tokens.observe(request.max_tokens)
        decode_s = times.finished_at - times.first_token_at
        self.per_output_token.observe(decode_s / max(request.output_tokens - 1, 1))
        self.end_to_end.observe(times.finished_at - times.arrival)
        self.queued.observe(times.scheduled_at - times.arrival)
        self.inference.observe(times.finished_at - times.scheduled_at)
        self.prefill.observe(times.first_token_at - times.scheduled_at)
        self.decode.observe(decode_s)
        self.request_preemptions.observe(times.preemptions)


@dataclass(slots=True)
class _HttpSize:
    count: int = 0
    total: int = 0


@dataclass(slots=True)
class HttpMetrics:
    """Everything under `http_`. Owned by the server; `created` has the Unix time of each series' first request."""

    requests: dict[tuple[str, str, str], int] = field(default_factory=dict)
    request_bytes: dict[str, _HttpSize] = field(default_factory=dict)
    response_bytes: dict[str, _HttpSize] = field(default_factory=dict)
    fine: Histogram = field(default_factory=lambda: Histogram(_HTTP_FINE))
    coarse: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    created: dict[tuple[str, ...], float] = field(default_factory=dict)

    def observe(
        self,
        *,
        handler: str,
        method: str,
        status: int,
        sent: int,
        received: int,
        took_s: float,
        at: float,
    ) -> None:
        """One request is over. `handler` is the route, or `none` where none matched."""
        key = (handler, method, f"{status // 100}xx")
        self.requests[key] = self.requests.get(key, 0) + 1
        for sizes, length in ((self.request_bytes, received), (self.response_bytes, sent)):
            size = sizes.setdefault(handler, _HttpSize())
            size.count += 1
            size.total += length
        self.fine.observe(took_s)
        histogram = self.coarse.get((handler, method))
        if histogram is None:
            histogram = self.coarse[handler, method] = Histogram(_HTTP_COARSE)
        histogram.observe(took_s)
        self.created.setdefault(key, at)
        self.created.setdefault((handler,), at)
        self.created.setdefault((handler, method), at)
