"""What `penstock plan` plans for: from a fleet file, or from options alone, to one ask for each model.

Guarantees: options hold over the file; what is wrong is told at its place, which is a line of the file or an option.
Reads files (fleet, config.json, traces, calibrations); sizes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from penstock.cli.calibrations import calibrations_of
from penstock.cli.files import architecture_of, read_text
from penstock.cli.output import print_error, say
from penstock.errors import Problem, SpecError, UsageError
from penstock.facts import Gpu, find_gpu
from penstock.perf import Calibration
from penstock.plan import (
    PRICE_WORDS,
    Ask,
    Demand,
    Objectives,
    Refusal,
    ask_of_model,
    demand_of_rates,
    demand_of_requests,
    list_prices,
    plain_demand,
    priced_gpus,
    unknown_model,
)
from penstock.simulate.io.tracefile import load_trace
from penstock.simulate.workload import RateTable
from penstock.spec import Fleet, ModelSpec
from penstock.spec.base import FieldPath
from penstock.spec.document import Document, parse_document
from penstock.spec.loader import load_fleet

__all__ = ["Asked", "Asks", "PlanOptions", "fleet_asks", "model_asks", "traced_demand"]

_BY_NAME_ONLY = re.compile(r"^(RTX-|MI)")
"""GPUs that are never chosen unless named: the licence of GeForce drivers keeps those cards out of data centres, and
AMD's need another image of the engine."""
_OPTION_OF = {
    "gpu": "--gpu",
    "count": "--count",
    "tensor": "--tp",
    "pipeline": "--pp",
    "data": "--dp",
    "quantization": "--quantization",
    "kv_dtype": "--kv-cache-dtype",
    "context": "--context",
    "max_num_seqs": "--concurrency",
    "demand": "--rate",
    "ttft": "--objective ttft",
    "itl": "--objective itl",
    "e2e": "--objective e2e",
    "source": "--model",
}
_TIME = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """The command line; None or empty where not given."""

    model: str | None = None
    gpus: tuple[str, ...] = ()
    count: int | None = None
    tensor: int | None = None
    pipeline: int | None = None
    data: int | None = None
    quantization: str | None = None
    kv_dtype: str | None = None
    context: int | None = None
    max_num_seqs: int | None = None
    rate: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_share: float | None = None
    objectives: tuple[str, ...] = ()
    trace: Path | None = None
    column: str = ""
    prices: tuple[str, ...] = ()
    calibrations: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One model's ask, or why there is none; `problem` places a refusal."""

    ask: Ask
    refusals: list[Refusal]
    problem: Callable[[Refusal], Problem]


@dataclass(kw_only=True)
class Asks:
    """Everything to plan for."""

    fleet: str
    models: list[Asked] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Models that run elsewhere."""
    price_words: str = PRICE_WORDS

    def print_refusals(self, problems: Sequence[Problem]) -> None:
        """Says on stderr what cannot work."""
        if any(problem.line for problem in problems):
            print_error(SpecError(problems))
            return
        for problem in problems:
            where = f"{problem.field}: " if problem.field else ""
            print_error(UsageError(f"{where}{problem.message}", hint=problem.hint))


def fleet_asks(file: str, options: PlanOptions) -> Asks:
    """The asks of a fleet file, or of one model of it."""
    shown = "<stdin>" if file == "-" else file
    text = read_text(file)
    fleet = load_fleet(text, shown)
    prices = _prices(fleet.spec.hardware.usd_per_gpu_hour, options)
    document = parse_document(text, shown)
    gpus = _fleet_gpus(fleet, document, prices)
    folder = Path() if file == "-" else Path(file).parent
    asks = Asks(fleet=fleet.metadata.name, price_words=_price_words(fleet.spec.hardware.usd_per_gpu_hour, options))
    calibrations = calibrations_of(options.calibrations, options.gpus, fleet=fleet, folder=folder)
    market = _Market(gpus=gpus, prices=prices, words=asks.price_words, calibrations=calibrations)
    names = [model.name for model in fleet.spec.models]
    if options.model is not None and options.model not in names:
        raise UsageError(f"{shown} has no model {options.model!r}", hint=f"it has {', '.join(names)}")
    for place, model in enumerate(fleet.spec.models):
        if options.model not in (None, model.name):
            continue
        if model.endpoints is not None:
            asks.skipped.append(model.name)
            continue
        at: FieldPath = ("spec", "models", place)
        asks.models.append(_asked(model, market, options, _placer(document, at), folder))
    for name in asks.skipped:
        say(f"{name}: runs elsewhere (`endpoints`), nothing to plan")
    return asks


def model_asks(options: PlanOptions) -> Asks:
    """The ask of `--model`, without a file."""
    assert options.model is not None
    prices = _prices({}, options)
    gpus = _known(options.gpus) or _default_gpus(prices)
    asks = Asks(fleet="", price_words=_price_words({}, options))
    calibrations = calibrations_of(options.calibrations, options.gpus)
    market = _Market(gpus=gpus, prices=prices, words=asks.price_words, calibrations=calibrations)

    def problem(refusal: Refusal) -> Problem:
        option = _OPTION_OF.get(refusal.about, "")
        is_given = refusal.at and str(refusal.at[0]).startswith("--")
        shown = str(refusal.at[0]) if is_given else option
        return Problem(file="", line=0, column=0, field=shown, message=refusal.message, hint=refusal.hint or None)

    try:
        model = ModelSpec(name=options.model)
    except ValueError as error:
        raise UsageError(f"--model {options.model!r} is not a name of a model") from error
    asks.models.append(_asked(model, market, options, problem, Path()))
    return asks


def _placer(document: Document, at: FieldPath) -> Callable[[Refusal], Problem]:
    """Places refusals in the file below a model; those about an option at the option."""

    def problem(refusal: Refusal) -> Problem:
        if refusal.at and str(refusal.at[0]).startswith("--"):
            field_name = str(refusal.at[0])
            return Problem(
                file="", line=0, column=0, field=field_name, message=refusal.message, hint=refusal.hint or None
            )
        return document.problem((*at, *refusal.at), refusal.message, refusal.hint or None)

    return problem


@dataclass(frozen=True, slots=True, kw_only=True)
class _Market:
    """GPUs to choose among where a model names none, and what they cost."""

    gpus: tuple[Gpu, ...]
    prices: Mapping[str, int]
    words: str
    calibrations: Mapping[str, Calibration]


def _asked(
    model: ModelSpec, market: _Market, options: PlanOptions, problem: Callable[[Refusal], Problem], folder: Path
) -> Asked:
    architecture = architecture_of(model.source_or_name)
    refusals: list[Refusal] = []
    if architecture.is_guess:
        refusals.append(replace(unknown_model(model.source_or_name), at=("source",) if model.source else ("name",)))
    found = ask_of_model(
        model,
        architecture,
        demand=traced_demand(model, options, folder),
        gpus=market.gpus,
        prices=market.prices,
        price_words=market.words,
        calibrations=market.calibrations,
    )
    if isinstance(found, list):
        empty = Ask(name=model.name, source=model.source_or_name, model=architecture, demand=plain_demand(0.0), gpus=())
        return Asked(ask=empty, refusals=[*refusals, *found], problem=problem)
    return Asked(ask=_overridden(found, options), refusals=refusals, problem=problem)


def _overridden(ask: Ask, options: PlanOptions) -> Ask:
    """The ask with what the command line says over it, and where that was said."""
    values: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("count", "tensor", "pipeline", "data", "kv_dtype", "context", "max_num_seqs")
        if getattr(options, name) is not None
    }
    if options.gpus:
        chosen = _known(options.gpus)
        values |= {
            "gpus": chosen,
            "is_gpu_given": True,
            "rivals": tuple(g for g in ask.gpus + ask.rivals if g not in chosen),
        }
        values["rivals"] += tuple(g for g in _default_gpus(ask.prices) if g not in (*chosen, *values["rivals"]))
    if options.quantization is not None:
        is_any = options.quantization == "any"
        values |= {"quantization": None if is_any else options.quantization, "is_any_quantization": is_any}
    said = {name for name in values if name in _OPTION_OF}
    objectives, names = _objectives(ask.objectives, options.objectives)
    said |= names | ({"gpu"} if options.gpus else set())
    demand = _demand(ask.demand, options)
    if demand is not ask.demand:
        said.add("demand")
    places = {**ask.places, **{name: (_OPTION_OF[name],) for name in said}}
    return replace(ask, objectives=objectives, demand=demand, places=places, **values)


def _demand(demand: Demand, options: PlanOptions) -> Demand:
    is_traced = options.trace is not None or bool(demand.timeline)
    if is_traced or (options.rate, options.input_tokens, options.output_tokens, options.cached_share) == (None,) * 4:
        return demand if options.cached_share is None else replace(demand, cached_share=options.cached_share)
    rate = demand.requests_per_s if options.rate is None else options.rate
    cached = demand.cached_share if options.cached_share is None else options.cached_share
    prompt, output = options.input_tokens, options.output_tokens
    if demand.is_stated:
        prompt, output = prompt or round(demand.prompt_tokens), output or round(demand.output_tokens)
    return plain_demand(rate, prompt, output, cached_share=cached)


def _objectives(stated: Objectives, given: Sequence[str]) -> tuple[Objectives, set[str]]:
    """`ttft=500ms` over what the file promises; and which were given."""
    names: set[str] = set()
    for text in given:
        name, _, time = text.partition("=")
        match = _TIME.match(time.strip())
        if name.strip().lower() not in ("ttft", "itl", "e2e") or match is None or not float(match.group(1)):
            raise UsageError(f"--objective {text}: not an objective", hint="as in ttft=500ms, itl=50ms or e2e=10s")
        names.add(name.strip().lower())
        ms = float(match.group(1)) * (1000 if match.group(2) == "s" else 1)
        stated = replace(stated, **{f"{name.strip().lower()}_ms": ms})
    return stated, names


def traced_demand(model: ModelSpec, options: PlanOptions, folder: Path) -> Demand | None:
    """The demand of a trace; None where there is none."""
    said = model.demand
    path = options.trace
    if path is None and said is not None and said.trace is not None:
        path = folder / said.trace
    if path is None:
        return None
    if options.trace is not None and (options.rate is not None or options.input_tokens or options.output_tokens):
        content = load_trace(path)
        if not isinstance(content, RateTable):
            raise UsageError("--trace has its own rate and lengths", hint="leave --rate and token options out")
    cached = options.cached_share if options.cached_share is not None else (said.cached_share if said else 0.0)
    content = load_trace(path)
    if isinstance(content, RateTable):
        lengths = plain_demand(0.0, options.input_tokens, options.output_tokens, cached_share=cached)
        return demand_of_rates(content.column(options.column or None), lengths, words=f"rates of {path.name}")
    rows = ((r.at_s, r.prompt_tokens, r.output_tokens) for r in content)
    return demand_of_requests(rows, cached_share=cached, words=f"trace {path.name}")


def _known(names: Sequence[str]) -> tuple[Gpu, ...]:
    return tuple(dict.fromkeys(find_gpu(name) for name in names))


def _default_gpus(prices: Mapping[str, int]) -> tuple[Gpu, ...]:
    return tuple(gpu for gpu in priced_gpus(prices) if not _BY_NAME_ONLY.match(gpu.name))


def _fleet_gpus(fleet: Fleet, document: Document, prices: Mapping[str, int]) -> tuple[Gpu, ...]:
    named = fleet.spec.hardware.gpus
    if named is None:
        return _default_gpus(prices)
    found: list[Gpu] = []
    problems: list[Problem] = []
    for place, name in enumerate(named):
        try:
            found.append(find_gpu(name))
        except UsageError as error:
            problems.append(document.problem(("spec", "hardware", "gpus", place), error.message, error.hint))
    if problems:
        raise SpecError(problems)
    return tuple(dict.fromkeys(found))


def _prices(stated: Mapping[str, float], options: PlanOptions) -> dict[str, int]:
    own = dict(stated)
    for text in options.prices:
        name, _, usd = text.partition("=")
        try:
            own[name] = float(usd.strip().lstrip("$"))
        except ValueError:
            own[name] = 0.0
        if not 0 < own[name] < 10_000:
            raise UsageError(
                f"--price {text}: not a price", hint="as in --price H100=2.50, US dollars for one GPU-hour"
            )
    return list_prices(own)


def _price_words(stated: Mapping[str, float], options: PlanOptions) -> str:
    own = sorted(
        {*(find_gpu(name).name for name in stated), *(find_gpu(t.partition("=")[0]).name for t in options.prices)}
    )
    return f"{', '.join(own)}: as you say; others {PRICE_WORDS}" if own else PRICE_WORDS
