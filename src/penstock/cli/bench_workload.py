"""What `penstock bench` sends: from its options to a workload.

Guarantees: options that contradict one another are a `UsageError` before anything is sent. Reads the trace file;
touches no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import UsageError
from penstock.simulate.io.tracefile import load_trace
from penstock.simulate.workload import (
    PROFILES,
    Lengths,
    RateTable,
    Session,
    TraceRequest,
    faster,
    generate,
    generate_rates,
    parse_lengths,
    sessions_of,
)

__all__ = ["Workload", "WorkloadOptions", "build_workload"]

_DURATION_S = 30.0
_CONCURRENCY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadOptions:
    """The options as given; `None` or empty where not."""

    trace: Path | None = None
    column: str = ""
    profile: str = ""
    rate: float | None = None
    concurrency: int | None = None
    duration_s: float | None = None
    requests: int | None = None
    input_tokens: str = ""
    output_tokens: str = ""
    speed: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is sent, in one line of words, and where it ends. `requests` is a bound, `requests_known` an exact count."""

    sessions: Iterator[Session]
    words: str
    concurrency: int | None
    duration_s: float | None
    requests: int | None
    requests_known: int | None = None


def build_workload(options: WorkloadOptions) -> Workload:
    """The workload that the options ask for."""
    if options.rate is not None and options.rate <= 0:
        raise UsageError(f"--rate {options.rate:g} sends nothing", hint="give requests per second, above 0")
    if options.rate is not None and options.concurrency is not None:
        raise UsageError(
            "--rate and --concurrency contradict one another",
            hint="--rate sends on time however slow the answers are; --concurrency keeps a number in flight",
        )
    if options.trace is not None:
        if options.profile:
            raise UsageError("--trace and --profile contradict one another", hint="choose one of them")
        return _of_trace(options, options.trace)
    if options.column:
        raise UsageError("--column names a column of a trace of rates", hint="give the file with --trace")
    return _of_profile(options)


def _of_trace(options: WorkloadOptions, path: Path) -> Workload:
    content = load_trace(path)
    if isinstance(content, RateTable):
        return _of_rates(options, content, path)
    for name, value in (
        ("--rate", options.rate),
        ("--input-tokens", options.input_tokens),
        ("--output-tokens", options.output_tokens),
        ("--column", options.column),
    ):
        if value:
            raise UsageError(f"{name} does not go with a trace of requests: {path} has its own", hint="use --speed")
    known = _known(content, options)
    words = f"trace {path.name}, {len(content)} requests{_at_speed(options)}"
    return _workload(options, sessions_of(content), words, known=known)


def _known(content: list[TraceRequest], options: WorkloadOptions) -> int:
    in_time = sum(options.duration_s is None or r.at_s / options.speed < options.duration_s for r in content)
    if options.concurrency is not None:
        in_time = len(content)
    return in_time if options.requests is None else min(in_time, options.requests)


def _of_rates(options: WorkloadOptions, table: RateTable, path: Path) -> Workload:
    steps = table.column(options.column or None)
    mean = sum(rate for _, rate in steps) / len(steps) if steps else 0.0
    if not mean:
        raise UsageError(f"{path}: the column has no traffic", hint=f"columns: {', '.join(table.rates)}")
    scale = 1.0 if options.rate is None else options.rate / mean
    chat = PROFILES["chat"]
    prompt, output = _lengths(options)
    sessions = generate_rates(
        tuple((at_s, rate * scale) for at_s, rate in steps),
        seed=options.seed,
        prompt=prompt or chat.prompt,
        output=output or chat.output,
    )
    words = f"rates of {path.name}, mean {mean * scale:.3g} requests/s{_at_speed(options)}"
    return _workload(options, sessions, words)


def _of_profile(options: WorkloadOptions) -> Workload:
    name = options.profile or ("constant" if options.rate is None else "poisson")
    prompt, output = _lengths(options)
    sessions = generate(name, seed=options.seed, rate=options.rate, prompt=prompt, output=output)
    concurrency = options.concurrency
    if not options.profile and options.rate is None and concurrency is None:
        concurrency = _CONCURRENCY
    profile = PROFILES[name]
    per_s = f", {options.rate or profile.rate:.3g} {'sessions' if name == 'agent' else 'requests'}/s"
    words = f"profile {name}{per_s if concurrency is None else ''}{_at_speed(options)}"
    duration_s = options.duration_s
    if duration_s is None and options.requests is None:
        duration_s = _DURATION_S
    return Workload(
        sessions=faster(sessions, options.speed) if options.speed != 1.0 else sessions,
        words=_with_loop(words, concurrency),
        concurrency=concurrency,
        duration_s=duration_s,
        requests=options.requests,
    )


def _workload(
    options: WorkloadOptions, sessions: Iterator[Session], words: str, *, known: int | None = None
) -> Workload:
    return Workload(
        sessions=faster(sessions, options.speed) if options.speed != 1.0 else sessions,
        words=_with_loop(words, options.concurrency),
        concurrency=options.concurrency,
        duration_s=options.duration_s,
        requests=options.requests,
        requests_known=known,
    )


def _lengths(options: WorkloadOptions) -> tuple[Lengths | None, Lengths | None]:
    return (
        parse_lengths(options.input_tokens, option="--input-tokens") if options.input_tokens else None,
        parse_lengths(options.output_tokens, option="--output-tokens") if options.output_tokens else None,
    )


def _at_speed(options: WorkloadOptions) -> str:
    return "" if options.speed == 1.0 else f", {options.speed:g} times as fast"


def _with_loop(words: str, concurrency: int | None) -> str:
    return f"{words}, open loop" if concurrency is None else f"{words}, closed loop of {concurrency}"
