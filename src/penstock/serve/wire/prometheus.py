"""Reads the few lines that routing needs out of an engine's `/metrics` text.

Guarantees: never raises on any bytes; the cost is eight searches, whatever else the text holds (real vLLM sends 75 KB).
A value that is missing or not a finite number keeps what was known before. Several engines behind one port
(data parallel) are summed; their KV usage is averaged.
Leaves fetching to `io/scrape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from penstock.serve.routing.endpoints import EngineSample

__all__ = ["parse_engine_metrics"]

_RUNNING = b"vllm:num_requests_running"
_WAITING = b"vllm:num_requests_waiting"
_KV_USAGE = b"vllm:kv_cache_usage_perc"
_PROMPT_TOKENS = b"vllm:prompt_tokens_total"
_GENERATION_TOKENS = b"vllm:generation_tokens_total"
_PREFIX_QUERIES = b"vllm:prefix_cache_queries_total"
_PREFIX_HITS = b"vllm:prefix_cache_hits_total"
_PREEMPTIONS = b"vllm:num_preemptions_total"
"""Names of vLLM 0.32's `/metrics`."""


def parse_engine_metrics(text: bytes, at: float, previous: EngineSample | None = None) -> EngineSample | None:
    """The reading that `text` holds, taken at `at`; None where it holds nothing of an engine."""
    text = b"\n" + text
    running = _sum(text, _RUNNING)
    waiting = _sum(text, _WAITING)
    usages = list(_values(text, _KV_USAGE))
    generated = _sum(text, _GENERATION_TOKENS)
    if running is None and waiting is None and generated is None and not usages:
        return None
    old = previous or EngineSample(at=at)
    return EngineSample(
        at=at,
        running=_or(running, old.running),
        waiting=_or(waiting, old.waiting),
        kv_usage=min(1.0, max(0.0, sum(usages) / len(usages))) if usages else old.kv_usage,
        prompt_tokens_total=_or(_sum(text, _PROMPT_TOKENS), old.prompt_tokens_total),
        generation_tokens_total=_or(generated, old.generation_tokens_total),
        prefix_queries_total=_or(_sum(text, _PREFIX_QUERIES), old.prefix_queries_total),
        prefix_hits_total=_or(_sum(text, _PREFIX_HITS), old.prefix_hits_total),
        preemptions_total=_or(_sum(text, _PREEMPTIONS), old.preemptions_total),
    )


def _or(value: float | None, known: int) -> int:
    return known if value is None else max(0, int(value))


def _sum(text: bytes, name: bytes) -> float | None:
    values = list(_values(text, name))
    return sum(values) if values else None


def _values(text: bytes, name: bytes) -> Iterator[float]:
    """Finite values of the lines of `name`. A metric's lines stand together, so the search ends after the last one."""
    start = text.find(b"\n" + name)
    while start >= 0:
        begin = start + 1 + len(name)
        end = text.find(b"\n", begin)
        line = text[begin : end if end >= 0 else len(text)]
        if line[:1] in (b"{", b" ", b"\t"):
            value = _value(line)
            if value is not None:
                yield value
            if end < 0 or not text.startswith(name, end + 1):
                return
            start = end
        else:  # a longer name that begins alike
            start = text.find(b"\n" + name, begin)


def _value(line: bytes) -> float | None:
    """The number behind the labels; a timestamp may follow it. A label's value may hold any character but a newline."""
    fields = line[line.rfind(b"}") + 1 :].split(None, 1)
    try:
        value = float(fields[0])
    except (ValueError, IndexError):
        return None
    return value if isfinite(value) else None
