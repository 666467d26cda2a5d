"""What a live engine's own metrics say of its steps, read while it serves real traffic. Pure: text and times in.

Between two readings in which no prompt was prefilled, the mean gap between tokens is the time of a decode step with as
many requests as run. Where at most one request runs, the mean prefill time is that of a prompt alone. Everything in
between is a mixture and is left out. Guarantees: a metric that is missing is an error in words, not a zero; several
engines behind one port are refused, since their sums are nobody's steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from penstock.errors import PenstockError
from penstock.simulate.probe import Measured

__all__ = ["Reading", "measured_of", "read_metrics"]

_PREFIX = "vllm:"
_COUNTERS = (
    "generation_tokens_total",
    "prompt_tokens_total",
    "inter_token_latency_seconds_sum",
    "inter_token_latency_seconds_count",
    "request_prefill_time_seconds_sum",
    "request_prefill_time_seconds_count",
    "iteration_tokens_total_sum",
    "iteration_tokens_total_count",
)
_GAUGES = ("num_requests_running", "kv_cache_usage_perc")
_LINE = re.compile(rf"^{_PREFIX}({'|'.join((*_COUNTERS, *_GAUGES))})(?:{{[^\n]*}})?[ \t]+(\S+)", re.MULTILINE)
_CACHE = re.compile(rf'^{_PREFIX}cache_config_info{{[^\n]*?\bkv_cache_size_tokens="(\d+)"', re.MULTILINE)
_BLOCKS = re.compile(
    rf'^{_PREFIX}cache_config_info{{(?=[^\n]*?\bblock_size="(\d+)")[^\n]*?\bnum_gpu_blocks="(\d+)"', re.MULTILINE
)
_GAPS_MIN = 8
"""Gaps between two readings from which their mean is taken for a step's time."""
_PURE = 0.05
"""How far the tokens of a step may be from the requests that run for it to be decodes only."""
_POINTS_MIN = 3
_SIZES_MAX = 24
"""Batch sizes kept: each is the median of its readings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at an engine's metrics."""

    values: dict[str, float]
    kv_tokens: int
    """Tokens that its cache holds; 0 where it does not say."""

    def __getitem__(self, name: str) -> float:
        return self.values[name]


def read_metrics(text: str) -> Reading:
    """The figures that tell steps apart.

    Raises:
        PenstockError: some are missing, or there are several engines.
    """
    values: dict[str, float] = {}
    for name, value in _LINE.findall(text):
        if name in values:
            raise PenstockError(
                "these metrics are of several engines at once (data parallel, or a gateway's)",
                hint="watch one engine, or probe it without --watch",
            )
        values[name] = float(value)
    missing = [name for name in (*_COUNTERS, *_GAUGES) if name not in values]
    if missing:
        raise PenstockError(
            f"the metrics have no {_PREFIX}{missing[0]}: this is no vLLM of a version that is known",
            hint="give the engine's own address; without --watch only its API is needed",
        )
    return Reading(values=values, kv_tokens=_kv_tokens(text))


def _kv_tokens(text: str) -> int:
    found = _CACHE.search(text)
    if found is not None:
        return int(found.group(1))
    blocks = _BLOCKS.search(text)
    return int(blocks.group(1)) * int(blocks.group(2)) if blocks is not None else 0


def measured_of(readings: Sequence[Reading]) -> list[Measured]:
    """Steps that can be told apart in successive readings.

    Raises:
        PenstockError: there are too few.
    """
    decodes: dict[int, list[Measured]] = {}
    prefills: dict[int, list[Measured]] = {}
    for before, after in pairwise(readings):
        for found in _between(before, after):
            kept, size = (decodes, found.requests) if found.kind == "decode" else (prefills, found.tokens)
            kept.setdefault(size, []).append(found)
    points = [*_medians(decodes), *_medians(prefills)]
    if len(decodes) < _POINTS_MIN:
        raise PenstockError(
            f"only {len(decodes)} batch sizes were seen decoding by themselves: too few to learn from",
            hint="watch for longer, or at a time when traffic rises and falls; or probe an idle engine without --watch",
        )
    return points


def _between(before: Reading, after: Reading) -> Iterator[Measured]:
    change = {name: after[name] - before[name] for name in _COUNTERS}
    if min(change.values()) < 0:  # the engine was restarted
        return
    running = after["num_requests_running"]
    is_steady = running == before["num_requests_running"]
    steps, gaps = change["iteration_tokens_total_count"], change["inter_token_latency_seconds_count"]
    prefilled = change["request_prefill_time_seconds_count"]
    if is_steady and running >= 1 and steps and gaps >= _GAPS_MIN and not change["prompt_tokens_total"]:
        if abs(change["iteration_tokens_total_sum"] / steps / running - 1) <= _PURE:
            usage = (before["kv_cache_usage_perc"] + after["kv_cache_usage_perc"]) / 2
            yield Measured(
                kind="decode",
                requests=int(running),
                tokens=round(usage * after.kv_tokens / running),
                seconds=change["inter_token_latency_seconds_sum"] / gaps,
            )
    elif max(running, before["num_requests_running"]) <= 1 and prefilled == 1 and change["prompt_tokens_total"]:
        yield Measured(
            kind="prefill",
            requests=1,
            tokens=int(change["prompt_tokens_total"]),
            seconds=change["request_prefill_time_seconds_sum"],
            is_engine=True,
        )


def _medians(groups: dict[int, list[Measured]]) -> list[Measured]:
    """One of each size; of many sizes those seen most."""
    most = sorted(groups, key=lambda size: (-len(groups[size]), size))[:_SIZES_MAX]
    return [sorted(groups[size], key=lambda m: m.seconds)[len(groups[size]) // 2] for size in sorted(most)]
