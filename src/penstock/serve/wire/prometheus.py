"""Reads the few lines that routing needs out of an engine's `/metrics` text.

Guarantees: never raises on any bytes; the cost is eleven searches, whatever the text holds (real vLLM sends 75 KB).
A value that is missing or not a finite number keeps what was known before. Several engines behind one port
(data parallel) are summed; their KV usage is averaged.
Leaves fetching to `io/scrape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from penstock.serve.routing.endpoints import EngineSample

__all__ = ["Places", "parse_engine_metrics"]

Places = dict[bytes, int]
"""Where each metric began in the last text of an engine."""

_RUNNING = b"vllm:num_requests_running"
_WAITING = b"vllm:num_requests_waiting"
_KV_USAGE = b"vllm:kv_cache_usage_perc"
_PROMPT_TOKENS = b"vllm:prompt_tokens_total"
_GENERATION_TOKENS = b"vllm:generation_tokens_total"
_PREFIX_QUERIES = b"vllm:prefix_cache_queries_total"
_PREFIX_HITS = b"vllm:prefix_cache_hits_total"
_PREEMPTIONS = b"vllm:num_preemptions_total"
_STEPS = b"vllm:iteration_tokens_total_count"
_CACHE = b"vllm:cache_config_info"
_ADAPTERS = b"vllm:lora_requests_info"
"""Names of vLLM 0.32's `/metrics`."""
_ADAPTERS_MAX = 64
"""Adapters of one engine that are followed."""
_DRIFT = 2048
"""Bytes that a line moves between two readings at most, as counters before it grow longer; else it is searched for."""
_LABELS_MAX = 1024
"""Lines of one info metric that are read."""


def parse_engine_metrics(
    text: bytes, at: float, previous: EngineSample | None = None, *, places: Places | None = None
) -> EngineSample | None:
    """The reading that `text` holds, taken at `at`; None where it holds nothing of an engine. `places`: of the same
    engine from one reading to the next; what is found near its old place costs no search."""
    places = places if places is not None else {}
    text = b"\n" + text
    running = _sum(text, places, _RUNNING)
    waiting = _sum(text, places, _WAITING)
    usages = list(_values(text, places, _KV_USAGE))
    generated = _sum(text, places, _GENERATION_TOKENS)
    if running is None and waiting is None and generated is None and not usages:
        return None
    old = previous or EngineSample(at=at)
    return EngineSample(
        at=at,
        running=_or(running, old.running),
        waiting=_or(waiting, old.waiting),
        tells_waiting=waiting is not None,
        kv_usage=min(1.0, max(0.0, sum(usages) / len(usages))) if usages else old.kv_usage,
        prompt_tokens_total=_or(_sum(text, places, _PROMPT_TOKENS), old.prompt_tokens_total),
        generation_tokens_total=_or(generated, old.generation_tokens_total),
        prefix_queries_total=_or(_sum(text, places, _PREFIX_QUERIES), old.prefix_queries_total),
        prefix_hits_total=_or(_sum(text, places, _PREFIX_HITS), old.prefix_hits_total),
        preemptions_total=_or(_sum(text, places, _PREEMPTIONS), old.preemptions_total),
        steps_total=_or(_sum_apart(text, _STEPS), old.steps_total),
        kv_tokens=old.kv_tokens or _kv_tokens(text),
        adapters=_adapters(text),
    )


def _kv_tokens(text: bytes) -> int:
    """Tokens that the KV cache holds: as the engine counts them, else its blocks times their size. Read once: it does
    not change while an engine runs."""
    total = 0
    for labels in _labels(text, _CACHE):
        whole = _label_number(labels, b"kv_cache_size_tokens")
        total += whole or _label_number(labels, b"num_gpu_blocks") * _label_number(labels, b"block_size")
    return total


def _adapters(text: bytes) -> tuple[str, ...]:
    """LoRA adapters that the engine runs or has waiting, by its latest line: each change is a new line there, and its
    value is the time of the change."""
    if _ADAPTERS not in text:
        return ()
    latest = b""
    newest = -1.0
    for labels in _labels(text, _ADAPTERS):
        at = _value(labels) or 0.0
        if at >= newest:
            newest, latest = at, labels
    names: set[str] = set()
    for name in (b"running_lora_adapters", b"waiting_lora_adapters"):
        names.update(part for part in _label(latest, name).decode("utf-8", "replace").split(",") if part)
    return tuple(sorted(names)[:_ADAPTERS_MAX])


def _labels(text: bytes, name: bytes) -> Iterator[bytes]:
    """The lines of an info metric from their labels on."""
    start = text.find(b"\n" + name + b"{")
    for _ in range(_LABELS_MAX):
        if start < 0:
            return
        end = text.find(b"\n", start + 1)
        yield text[start + 1 + len(name) : end if end >= 0 else len(text)]
        start = text.find(b"\n" + name + b"{", start + 1)


def _label(labels: bytes, name: bytes) -> bytes:
    """The value of one label; empty where it is not there."""
    for opening in (b"{" + name + b'="', b"," + name + b'="'):
        start = labels.find(opening)
        if start >= 0:
            begin = start + len(opening)
            end = labels.find(b'"', begin)
            return labels[begin:end] if end >= 0 else b""
    return b""


def _label_number(labels: bytes, name: bytes) -> int:
    value = _label(labels, name)
    return int(value) if value.isdigit() and len(value) < 16 else 0


def _or(value: float | None, known: int) -> int:
    return known if value is None else max(0, int(value))


def _sum(text: bytes, places: Places, name: bytes) -> float | None:
    values = list(_values(text, places, name))
    return sum(values) if values else None


def _sum_apart(text: bytes, name: bytes) -> float | None:
    """Of a histogram's counts, which stand apart where several engines share a port, each behind its buckets."""
    values = [value for labels in _labels(text, name) if (value := _value(labels)) is not None]
    return sum(values) if values else None


def _values(text: bytes, places: Places, name: bytes) -> Iterator[float]:
    """Finite values of the lines of `name`. A metric's lines stand together, so the search ends after the last one."""
    opening = b"\n" + name + b"{"
    near = max(0, places.get(name, 0) - _DRIFT)
    start = text.find(opening, near, near + 2 * _DRIFT + len(opening)) if name in places else -1
    if start < 0:
        start = text.find(b"\n" + name)
    is_found = False
    while start >= 0:
        begin = start + 1 + len(name)
        end = text.find(b"\n", begin)
        line = text[begin : end if end >= 0 else len(text)]
        if line[:1] in (b"{", b" ", b"\t"):
            if not is_found:
                places[name], is_found = start, True
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
