"""What one model needs in a cluster: its plan and its file settled into numbers that manifests are made from. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from penstock.facts import Gpu
from penstock.plan.engine_flags import engine_flags
from penstock.plan.host import HostNeeds
from penstock.plan.sizing import ModelPlan
from penstock.spec import ModelSpec

__all__ = ["ModelNeeds", "needs_of"]

_ANSWER_TOKENS = 4096
"""Where clients bound answers at all, most bound them by this."""
_LONG_SHARE = 4
"""Of the mean: answers' lengths are spread widely, and more than four times as long as the mean are about one in fifty
where they are spread exponentially."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNeeds:
    """One model as planned."""

    spec: ModelSpec
    gpu: Gpu
    gpus: int
    """GPUs of one replica: tensor × pipeline × data."""
    tensor: int
    pipeline: int
    data: int
    replicas: int
    """Replicas as the file says; where it does not, as planned for the demand."""
    context: int
    """Longest prompt plus answer, tokens."""
    flags: Mapping[str, str]
    """Engine flags that make the plan true; what the engine does by itself is left out. `engine.args` stand over it."""
    host: HostNeeds
    source_bytes: int
    """Bytes of the model's files that serving needs."""
    kv_tokens: int
    """Tokens of KV cache of one replica."""
    concurrency: float
    """Requests in flight that one replica holds its objectives with: what autoscaling aims at."""
    is_demand_stated: bool
    answer_tokens: int
    """Length of the longest answer that a replica which stops is let finish; 0 where the model writes none."""
    answer_s: float
    """Seconds that it takes at the planned load, its prompt included."""

    @property
    def is_simulated(self) -> bool:
        """Whether no GPU is asked for: the file says `engine.type: simulated`."""
        return self.spec.engine.type == "simulated"


def needs_of(model: ModelSpec, plan: ModelPlan) -> ModelNeeds:
    """Settles what a model needs from its plan."""
    layout, choice = plan.choice.layout, plan.choice
    kv_tokens = choice.estimate.memory.kv_tokens
    context = _context(model, plan, kv_tokens)
    is_demand_stated = plan.ask.demand.requests_per_s > 0
    is_free = "replicas" not in model.model_fields_set and is_demand_stated
    point = choice.at_capacity
    running = point.running * layout.data
    answer = _longest_answer(plan)
    return ModelNeeds(
        spec=model,
        gpu=layout.gpu,
        gpus=layout.gpus,
        tensor=layout.tensor,
        pipeline=layout.pipeline,
        data=layout.data,
        replicas=choice.replicas if is_free else model.replicas,
        context=context,
        flags=_flags(plan, context),
        host=plan.host,
        source_bytes=choice.estimate.source_bytes,
        kv_tokens=kv_tokens * layout.data,
        concurrency=max(1.0, math.floor(running)),
        is_demand_stated=is_demand_stated,
        answer_tokens=answer,
        answer_s=point.ttft_p95_s + answer * point.tpot_p95_s if answer else point.e2e_p95_s,
    )


def _longest_answer(plan: ModelPlan) -> int:
    """Tokens: four times the mean of the demand, and not less than a long chat's."""
    if plan.ask.model.task == "embed":
        return 0
    return min(plan.context, max(_ANSWER_TOKENS, math.ceil(_LONG_SHARE * plan.ask.demand.output_tokens)))


def _context(model: ModelSpec, plan: ModelPlan, kv_tokens: int) -> int:
    """The context that is promised: as the file says; else the model's own longest, as far as its KV cache goes.

    What the plan proposes for the demand is advice: nobody's longer request is refused because of it.
    """
    is_said = model.context_length is not None or plan.ask.context is not None
    if is_said:
        return plan.context
    longest = plan.ask.model.context
    return longest if kv_tokens >= longest else max(plan.context, kv_tokens // 1024 * 1024)


def _flags(plan: ModelPlan, context: int) -> dict[str, str]:
    flags = engine_flags(plan)
    flags.pop("max-model-len", None)
    return flags if context == plan.ask.model.context else {"max-model-len": str(context), **flags}
