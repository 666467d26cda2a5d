"""What is simulated: one model's replicas, how requests are routed to them, what they cost and what is promised.

Guarantees: plain values; a fleet file's model becomes one here, refused in words where the simulation would lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from penstock.facts import Gpu, engine_defaults
from penstock.plan import Ask, Refusal
from penstock.plan.quantization import native, quantized
from penstock.serve.config import WAIT_S
from penstock.serve.flow import Capacity, QueueSettings
from penstock.serve.flow.quota import Scope
from penstock.simulate.engine.messages import EngineConfig
from penstock.simulate.fleet.policies import DEFAULT_POLICY
from penstock.simulate.workload.report import Objectives
from penstock.spec import LimitsSpec, ModelSpec, RoutingSpec, TimeoutsSpec, TrafficClass

__all__ = ["Scenario", "TenantRules", "engine_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRules:
    """What the gateway holds a tenant to. The defaults: one that the file does not name."""

    weight: float = 1.0
    traffic_class: TrafficClass = "interactive"
    scopes: tuple[Scope, ...] = ()
    """Its limits; none where nothing limits it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run. Same scenario and workload, same bytes out."""

    model: str
    engine: EngineConfig
    """Of each replica; of each of its data-parallel copies, where it has several."""
    replicas: int
    engines_per_replica: int = 1
    policy: str = DEFAULT_POLICY
    gateways: int = 1
    """Each takes an equal share of the requests, and knows of the others' only what engines show."""
    usd_micro_per_gpu_hour: int | None = None
    objectives: Objectives = field(default_factory=Objectives)
    queue: QueueSettings = field(default_factory=QueueSettings)
    """Where requests wait; off: they go to the engines at once."""
    capacity: Capacity = field(default_factory=Capacity)
    """What gateways are told of an engine beforehand; its KV tokens they read."""
    wait_s: Mapping[TrafficClass, float] = field(default_factory=lambda: MappingProxyType({**WAIT_S}))
    """Longest wait in a gateway's queue, by class."""
    tenants: Mapping[str, TenantRules] = field(default_factory=lambda: MappingProxyType({}))
    """By name, as the workload says it."""
    tenant: str = ""
    """Whose the requests are that name nobody."""
    has_shared_limits: bool = False
    """All gateways count the tenants' limits in one place; else each by itself."""
    output_tokens_default: int | None = None
    """Of an answer that the client does not bound, as no trace says its bounds: what limits reserve."""
    scrape_s: float = RoutingSpec().scrape_ms / 1000.0
    """Between two readings of an engine's metrics."""
    in_flight_max: int = LimitsSpec().in_flight_max
    """Each gateway's bound; past it 503."""
    first_byte_s: float = TimeoutsSpec().first_byte_s
    """The gateway's patience; past it 504, and the engine forgets the request."""
    until_s: float | None = None
    """When the simulation ends, whatever is unfinished; None: when everything is answered."""
    seed: int = 0

    @property
    def endpoints(self) -> int:
        return self.replicas * self.engines_per_replica

    @property
    def gpus(self) -> int:
        """Of all replicas."""
        return self.endpoints * self.engine.tensor_parallel

    @property
    def words(self) -> str:
        """`8 × H100, least-load`."""
        size = self.gpus // self.replicas
        each = f" of {size} {self.engine.gpu.name}" if size > 1 else f" × {self.engine.gpu.name}"
        through = f" in {self.gateways} gateways" if self.gateways > 1 else ""
        queue = "" if self.queue.is_on else ", no queue"
        return f"{self.replicas}{each}, {self.policy}{through}{queue}"

    def rules_of(self, tenant: str) -> TenantRules:
        """What holds for a tenant by its name."""
        return self.tenants.get(tenant, _PLAIN)


_PLAIN = TenantRules()


def engine_of(model: ModelSpec, ask: Ask, gpu: Gpu) -> EngineConfig | Refusal:
    """The engine that the file asks for, on this GPU: what it says, and the engine's own defaults for the rest."""
    if ask.pipeline > 1:
        return Refusal(
            about="pipeline",
            message=f"{ask.pipeline} pipeline stages: the simulated engine has tensor parallelism only",
            hint="give --tp N to simulate the same GPUs so",
        )
    defaults = engine_defaults(gpu)
    is_embedding = ask.model.task == "embed"
    flags = _Flags(model)
    batched = ask.batched_tokens or max(defaults.max_num_batched_tokens, ask.max_num_seqs or 0)
    return EngineConfig(
        model=quantized(ask.model, ask.quantization or native(ask.model)),
        gpu=gpu,
        max_model_len=ask.context,
        max_num_seqs=ask.max_num_seqs or defaults.max_num_seqs,
        max_num_batched_tokens=batched,
        block_size=flags.number("block-size") or defaults.block_size,
        num_gpu_blocks=flags.number("num-gpu-blocks-override"),
        gpu_memory_utilization=ask.utilization or defaults.gpu_memory_utilization,
        tensor_parallel=ask.tensor or max(1, (ask.count or 1) // ask.data),
        policy=flags.policy(),
        enable_prefix_caching=flags.switch("enable-prefix-caching", default=defaults.enable_prefix_caching),
        enable_chunked_prefill=flags.switch("enable-chunked-prefill", default=defaults.enable_chunked_prefill),
        kv_dtype=ask.kv_dtype,
        enforce_eager=flags.switch("enforce-eager", default=False),
        async_scheduling=not is_embedding and flags.switch("async-scheduling", default=True),
        calibration=ask.calibrations.get(gpu.name) or ask.calibrations.get(gpu.slice_of),
    )


class _Flags:
    """Engine flags that change the simulation and that no field of the file says."""

    def __init__(self, model: ModelSpec) -> None:
        self._args: dict[str, Any] = {name.replace("_", "-"): value for name, value in model.engine.args.items()}

    def number(self, name: str) -> int | None:
        value = self._args.get(name)
        return int(value) if isinstance(value, int | str) and str(value).isdigit() and int(value) > 0 else None

    def switch(self, name: str, *, default: bool) -> bool:
        if self._args.get(f"no-{name}") is True:
            return False
        value = self._args.get(name)
        return value if isinstance(value, bool) else default

    def policy(self) -> Literal["fcfs", "priority"]:
        return "priority" if self._args.get("scheduling-policy") == "priority" else "fcfs"
