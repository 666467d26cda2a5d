"""What `penstock simulate` runs: from a fleet file and options to scenarios and a workload.

Guarantees: options hold over the file; what is wrong is told at its line, or with the option's name, before anything
runs. Reads files (fleet, config.json, trace, calibrations); simulates nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from penstock.cli.bench_workload import Workload, WorkloadOptions, build_workload
from penstock.cli.calibrations import calibrations_of
from penstock.cli.files import architecture_of, read_text
from penstock.errors import SpecError, UsageError
from penstock.facts import Gpu, find_gpu
from penstock.plan import PRICE_WORDS, Ask, Refusal, ask_of_model, list_prices, plain_demand, unknown_model
from penstock.plan.checks import check
from penstock.serve.config import WAIT_S
from penstock.serve.flow import CLASSES, Capacity, QueueSettings
from penstock.serve.flow.scopes import scopes_of
from penstock.simulate.fleet import DEFAULT_POLICY, Scenario, TenantRules, engine_of, make_policy
from penstock.simulate.workload import Objectives
from penstock.spec import Fleet, GatewaySpec, HardwareSpec, ModelSpec
from penstock.spec.base import FieldPath
from penstock.spec.document import Document, parse_document
from penstock.spec.loader import load_fleet

__all__ = ["SimulateAsks", "SimulateOptions", "read_asks"]

_REPLICAS_MAX = 1000
_RUNS_MAX = 24
"""Runs in one call: more are not a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateOptions:
    """The command line; None or empty where not given."""

    file: str
    model: str | None = None
    replicas: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    gateways: int = 1
    has_queue: bool | None = None
    tenant: str = ""
    tensor: int | None = None
    ttft_ms: float | None = None
    itl_ms: float | None = None
    e2e_ms: float | None = None
    calibrations: tuple[str, ...] = ()
    trace: Path | None = None
    column: str = ""
    profile: str = ""
    rate: float | None = None
    duration_s: float | None = None
    requests: int | None = None
    input_tokens: str = ""
    output_tokens: str = ""
    speed: float = 1.0
    until_s: float | None = None
    seed: int = 0


@dataclass(kw_only=True)
class SimulateAsks:
    """Everything to run. `open_workload` gives the same requests each time."""

    fleet: str
    scenarios: list[Scenario]
    open_workload: Callable[[], Workload]
    workload: str
    """In words."""
    requests_known: int | None = None
    duration_s: float | None = None
    price_words: str = PRICE_WORDS
    notes: list[str] = field(default_factory=list)


def read_asks(options: SimulateOptions) -> SimulateAsks:
    """Reads the files and checks everything."""
    shown = "<stdin>" if options.file == "-" else options.file
    text = read_text(options.file)
    fleet = load_fleet(text, shown)
    place, model = _chosen(fleet, options, shown)
    folder = Path() if options.file == "-" else Path(options.file).parent
    reader = _Reader(parse_document(text, shown), place, model, options, folder)
    scenarios, notes = reader.scenarios(fleet)
    open_workload = _workload(model, options, folder)
    first = open_workload()
    own = fleet.spec.hardware.usd_per_gpu_hour
    return SimulateAsks(
        fleet=fleet.metadata.name,
        scenarios=scenarios,
        open_workload=_again(first, open_workload),
        workload=first.words.removesuffix(", open loop") + _end_words(options),
        requests_known=first.requests_known or first.requests,
        duration_s=first.duration_s,
        price_words="the fleet file's" if own else "on-demand list prices, 2025-06",
        notes=notes,
    )


def _end_words(options: SimulateOptions) -> str:
    """Where the workload is cut, so that the report says all that is needed to repeat it."""
    seconds = "" if options.duration_s is None else f", for {options.duration_s:,g} s"
    until = "" if options.until_s is None else f", ended at {options.until_s:,g} s"
    return f"{seconds}{'' if options.requests is None else f', {options.requests:,} at most'}{until}"


def _again(first: Workload, more: Callable[[], Workload]) -> Callable[[], Workload]:
    """The workload that is open already, then fresh ones: a day's trace is not read twice for one run."""
    ready = [first]
    return lambda: ready.pop() if ready else more()


def _chosen(fleet: Fleet, options: SimulateOptions, shown: str) -> tuple[int, ModelSpec]:
    models = fleet.spec.models
    names = ", ".join(model.name for model in models)
    if options.model is None:
        if len(models) > 1:
            raise UsageError(f"{shown} has {len(models)} models, and a trace is for one", hint=f"--model: {names}")
        return 0, models[0]
    for place, model in enumerate(models):
        if options.model in model.names:
            return place, model
    raise UsageError(f"{shown} has no model {options.model!r}", hint=f"it has {names}")


def _workload(model: ModelSpec, options: SimulateOptions, folder: Path) -> Callable[[], Workload]:
    trace = options.trace
    is_generated = bool(options.profile) or options.rate is not None
    if trace is None and not is_generated and model.demand is not None and model.demand.trace is not None:
        trace = folder / model.demand.trace
    if trace is None and not is_generated:
        raise UsageError(
            f"there is no traffic to simulate for {model.name!r}",
            hint="give --trace FILE, or --profile NAME with --rate R and --duration SECONDS",
        )
    asked = WorkloadOptions(
        trace=trace,
        column=options.column,
        profile=options.profile,
        rate=options.rate,
        duration_s=options.duration_s,
        requests=options.requests,
        input_tokens=options.input_tokens,
        output_tokens=options.output_tokens,
        speed=options.speed,
        seed=options.seed,
    )
    return lambda: build_workload(asked)


class _Reader:
    """One model of the file, to scenarios; knows where each thing stands."""

    def __init__(
        self, document: Document, place: int, model: ModelSpec, options: SimulateOptions, folder: Path
    ) -> None:
        self._document = document
        self._folder = folder
        self._at: FieldPath = ("spec", "models", place)
        self._model = model
        self._options = options

    def scenarios(self, fleet: Fleet) -> tuple[list[Scenario], list[str]]:
        """One for each combination that is asked for."""
        ask, notes = self._ask(fleet), self._notes()
        gpus = self._gpus(ask)
        policies = self._options.policies or (DEFAULT_POLICY,)
        for name in policies:
            make_policy(name, Random(0))  # refuses what there is not
        found = [
            self._scenario(fleet, ask, gpu, replicas, policy)
            for gpu, replicas, policy in product(gpus, self._replicas(), policies)
        ]
        if len(found) > _RUNS_MAX:
            raise UsageError(
                f"{len(gpus)} GPUs × {len(found) // len(gpus) // len(policies)} replicas × {len(policies)} policies are"
                f" {len(found)} runs, more than {_RUNS_MAX}",
                hint="compare fewer at once",
            )
        return found, notes

    def _notes(self) -> list[str]:
        model, notes = self._model, []
        if model.endpoints is not None:
            hardware = "--gpu" if self._options.gpus else "the file"
            notes.append(f"{model.name} runs elsewhere (`endpoints`): simulated on what {hardware} says")
        if model.hardware is not None and model.hardware.data_parallel > 1:
            count = model.hardware.data_parallel
            notes.append(f"each replica's {count} data-parallel engines are simulated as endpoints of their own")
        return notes

    def _ask(self, fleet: Fleet) -> Ask:
        model, options = self._model, self._options
        if model.endpoints is not None and not options.gpus:
            raise self._refused(
                Refusal(
                    about="gpu",
                    message="runs elsewhere, on hardware that the file does not name: there is nothing to simulate",
                    hint="say which hardware to assume: --gpu H100, and --tp N for several GPUs",
                    at=("endpoints",),
                )
            )
        architecture = architecture_of(model.source_or_name)
        if architecture.is_guess:
            at: FieldPath = ("source",) if model.source else ("name",)
            unknown = unknown_model(model.source_or_name)
            hint = unknown.hint if model.source else f"say under `source` which model it is; {unknown.hint}"
            raise self._refused(replace(unknown, at=at, hint=hint))
        given = tuple(find_gpu(name) for name in options.gpus)
        found = ask_of_model(
            model,
            architecture,
            demand=plain_demand(0.0, 1, 1),  # a trace may hold anything; what is too long is counted
            gpus=given or (find_gpu(HardwareSpec().gpu),),
            prices=list_prices(fleet.spec.hardware.usd_per_gpu_hour),
            calibrations=calibrations_of(options.calibrations, options.gpus, fleet=fleet, folder=self._folder),
        )
        if isinstance(found, list):
            raise self._refused(*found)
        if options.tensor is not None:
            found = replace(found, tensor=options.tensor, count=None, pipeline=1, places=_without_tensor(found))
        refusals = check(replace(found, gpus=given or found.gpus))
        if refusals:
            raise self._refused(*refusals)
        return found

    def _gpus(self, ask: Ask) -> tuple[Gpu, ...]:
        return tuple(dict.fromkeys(find_gpu(name) for name in self._options.gpus)) or ask.gpus[:1]

    def _replicas(self) -> list[int]:
        model = self._model
        if not self._options.replicas:
            said = len(model.endpoints) if model.endpoints is not None else model.replicas
            if said == 0:
                message = "is 0: no replica answers anything"
                hint = "give --replicas N to simulate some"
                raise self._refused(Refusal(about="replicas", message=message, hint=hint, at=("replicas",)))
            return [said]
        return [_count(text) for text in self._options.replicas]

    def _scenario(self, fleet: Fleet, ask: Ask, gpu: Gpu, replicas: int, policy: str) -> Scenario:
        model, options, gateway = self._model, self._options, fleet.spec.gateway
        engine = engine_of(model, ask, gpu)
        if isinstance(engine, Refusal):
            raise self._refused(replace(engine, at=ask.places.get(engine.about, ())))
        said = model.objectives
        return Scenario(
            model=model.name,
            engine=engine,
            replicas=replicas,
            engines_per_replica=ask.data,
            policy=policy,
            gateways=options.gateways,
            usd_micro_per_gpu_hour=ask.prices.get(gpu.name),
            objectives=Objectives(
                ttft_ms=_first(options.ttft_ms, said.ttft_ms),
                itl_ms=_first(options.itl_ms, said.itl_ms),
                e2e_ms=_first(options.e2e_ms, said.e2e_ms),
            ),
            **gateway_of(gateway, model, options),
            in_flight_max=gateway.limits.in_flight_max,
            first_byte_s=gateway.timeouts.first_byte_s,
            until_s=options.until_s,
            seed=options.seed,
        )

    def _refused(self, *refusals: Refusal) -> UsageError:
        """At its place in the file; at its option where it was said there."""
        at_option = [r for r in refusals if r.at and str(r.at[0]).startswith("--")]
        if at_option:
            first = at_option[0]
            return UsageError(f"{first.at[0]}: {first.message}", hint=first.hint or None)
        return SpecError([self._document.problem((*self._at, *r.at), r.message, r.hint or None) for r in refusals])


def gateway_of(gateway: GatewaySpec, model: ModelSpec, options: SimulateOptions) -> dict[str, Any]:
    """What gateways do with requests before they route them, as fields of a scenario."""
    queue, classes = gateway.queue, gateway.classes
    tenants = {
        tenant.name: TenantRules(
            weight=tenant.weight,
            traffic_class=tenant.traffic_class or CLASSES[0],
            scopes=scopes_of(tenant.name, tenant.limits),
        )
        for tenant in gateway.tenants
    }
    if options.tenant and options.tenant not in tenants:
        named = ", ".join(tenants) or "none"
        raise UsageError(f"--tenant {options.tenant}: the file has no such tenant", hint=f"it has {named}")
    own, default = model.requests.output_tokens_default, gateway.requests.output_tokens_default
    return {
        "queue": QueueSettings(
            is_on=queue.is_on if options.has_queue is None else options.has_queue,
            requests_max=queue.requests_max,
            bytes_max=queue.bytes_max,
            tenant_share_max=queue.tenant_share_max,
            starvation_s=queue.starvation_s,
        ),
        "capacity": Capacity(requests_max=model.concurrency),
        "wait_s": {name: getattr(classes, name).wait_s or WAIT_S[name] for name in CLASSES},
        "tenants": tenants,
        "tenant": options.tenant,
        "has_shared_limits": gateway.limits.url is not None,
        "output_tokens_default": default if own is None else own,
        "scrape_s": gateway.routing.scrape_ms / 1000.0,
    }


def _without_tensor(ask: Ask) -> dict[str, FieldPath]:
    return {**ask.places, "tensor": ("--tp",)}


def _first(option: float | None, said: float | None) -> float | None:
    return said if option is None else option


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= _REPLICAS_MAX:
        what = "no replica answers anything" if text == "0" else f"a whole number from 1 to {_REPLICAS_MAX} is needed"
        raise UsageError(f"--replicas {text}: {what}", hint="as in --replicas 8, or --replicas 6,8 to compare")
    return int(text)
