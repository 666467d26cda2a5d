"""Why a plan is as it is, what the runners-up would do, and what would change the choice: in words, with the numbers.

Every sentence is made from the plan's own figures; nothing here decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from penstock.facts import engine_defaults
from penstock.plan.options import HEADROOM, Option
from penstock.plan.quantization import native, needs_float16, needs_own_source, words_of
from penstock.plan.sizing import ModelPlan, has_allowed_weights

__all__ = ["changes", "dollars", "figure", "gib", "notes", "reasons", "shown_runners_up", "verdict"]

_RUNNERS_UP_SHOWN = 6
_IMPOSSIBLE_SHOWN = 2


def gib(size: float) -> str:
    """Bytes as `15.3 GiB`."""
    return f"{size / (1 << 30):,.1f}".removesuffix(".0") + " GiB"


def dollars(micros: float) -> str:
    """Millionths of a dollar as `$3.90`."""
    amount = micros / 1e6
    return f"${amount:,.2f}" if amount >= 0.1 else f"${amount:.3f}"


def figure(value: float) -> str:
    """Three digits, whole thousands written out."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _rate(requests_per_s: float) -> str:
    return f"{figure(requests_per_s)} requests/s"


def _more(ratio: float) -> str:
    """A ratio above 1 as `47% over` or `13 times`."""
    return f"{ratio - 1:.0%} over" if ratio < 3 else f"{ratio:,.0f} times"


def reasons(plan: ModelPlan) -> tuple[str, ...]:
    """Why this choice."""
    return (*_why_it_fits(plan), *_why_so_many(plan), *_why_this_one(plan), *_why_these_settings(plan))


def _why_it_fits(plan: ModelPlan) -> Iterator[str]:
    choice, memory = plan.choice, plan.choice.estimate.memory
    layout = choice.layout
    how = words_of(choice.ask.model, layout.quantization)
    each = " on each GPU" if layout.gpus > 1 else ""
    text = f"Weights in {how} take {gib(memory.weights)}{each} of {gib(memory.total)}"
    if not memory.kv_tokens:
        yield f"{text}; the model keeps no KV cache."
        return
    full = memory.full_requests
    yield (
        f"{text}; {gib(memory.kv_cache)} are left for the KV cache: {memory.kv_tokens:,} tokens,"
        f" {full:.1f} requests of {plan.context:,} tokens at once, or"
        f" {choice.engine.kv_requests_max:,.0f} of the demand's mean length."
    )


def _why_so_many(plan: ModelPlan) -> Iterator[str]:
    choice, demand = plan.choice, plan.ask.demand
    limit = HEADROOM * choice.saturation
    if choice.capacity >= limit * 0.999:
        bound = f"{HEADROOM:.0%} of its saturation at {_rate(choice.saturation)}, where {choice.engine.bound}"
    else:
        bound = f"beyond that {_binding(choice)} would not hold"
    yield f"One replica takes {_rate(choice.capacity)}: {bound}."
    if demand.requests_per_s:
        exact = demand.requests_per_s / choice.capacity
        yield (
            f"The demand's {_rate(demand.requests_per_s)} over that is {exact:.2g}, so {_replicas(choice.replicas)};"
            f" each runs at {demand.requests_per_s / choice.replicas / choice.saturation:.0%} of saturation."
        )
    else:
        yield f"No rate is said, so {_replicas(choice.replicas)} and nothing is sized for load."


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _binding(option: Option) -> str:
    """The objectives that end an option's capacity: the first that do not hold beyond it."""
    engine, end = option.engine, option.engine.saturation()
    rates = (min(end, option.engine_capacity * step) for step in (1.02, 1.1, 1.3, 2.0, math.inf))
    points = (point for rate in rates if (point := engine.at_rate(rate)) is not None)
    missed = next((names for point in points if (names := option.missed(point))), ())
    limits = dict(option.ask.objectives.named)
    return " and ".join(f"{name} ≤ {limits[name]:g} ms" for name in missed)


def _why_this_one(plan: ModelPlan) -> Iterator[str]:
    choice = plan.choice
    if choice.price is None:
        yield f"No price is known for {choice.layout.gpu.name}, so it is not compared by cost."
        return
    rivals = [o for o in plan.runners_up if o.capacity > 0 and o.price is not None and _is_allowed(plan, o)]
    if plan.considered == 1 or not rivals:
        if plan.considered == 1:
            yield "It is the only configuration that the file allows and that runs the model."
        return
    nearest = rivals[0]
    assert nearest.price is not None
    if nearest.price > choice.price:
        what = f"{dollars(nearest.price - choice.price)} an hour more"
    else:
        what = "the same"
    holds = " that holds the objectives" if plan.ask.objectives.named else ""
    yield (
        f"Of {plan.considered} configurations that run the model this is the cheapest{holds}:"
        f" {dollars(choice.price)} an hour; the next, {_replicas(nearest.replicas)} of {nearest.layout.words},"
        f" would cost {what}."
    )


def _is_allowed(plan: ModelPlan, option: Option) -> bool:
    ask, layout = plan.ask, option.layout
    return (
        layout.gpu in ask.gpus
        and has_allowed_weights(ask, option)
        and ask.tensor in (None, layout.tensor)
        and ask.count in (None, layout.gpus)
    )


def _why_these_settings(plan: ModelPlan) -> Iterator[str]:
    choice, ask = plan.choice, plan.ask
    layout = choice.layout
    default = engine_defaults(layout.gpu)
    if ask.utilization is None and layout.utilization < default.gpu_memory_utilization:
        memory = choice.estimate.memory
        yield (
            f"gpu-memory-utilization is {layout.utilization:g}, not {default.gpu_memory_utilization:g}: CUDA graphs and"
            f" kernels ({gib(memory.graphs + memory.non_torch)}) come on top of it."
        )
    if ask.context is None:
        yield (
            f"Context is planned as {plan.context:,} tokens: no length is said, and the longest request expected has"
            f" {min(ask.demand.longest_tokens, ask.model.context):,}."
        )
    if ask.max_num_seqs is None and layout.max_num_seqs < default.max_num_seqs:
        why = "as many as the objectives allow" if ask.objectives.named else "as many as the KV cache holds"
        yield f"max-num-seqs is {layout.max_num_seqs}: {why}; others wait where they can still be re-routed."


def notes(plan: ModelPlan) -> tuple[str, ...]:
    """What a person should know before they use the plan."""
    return tuple(_notes(plan))


def _notes(plan: ModelPlan) -> Iterator[str]:
    ask, choice = plan.ask, plan.choice
    layout, how = choice.layout, choice.layout.quantization
    if ask.replicas is not None and ask.demand.requests_per_s and ask.replicas != choice.replicas:
        each = ask.demand.requests_per_s / max(1, ask.replicas)
        load = each / choice.saturation
        if ask.replicas < choice.replicas:
            yield f"`replicas: {ask.replicas}` is too few for the demand: each would be at {load:.0%} of saturation"
        else:
            yield f"`replicas: {ask.replicas}` is {ask.replicas - choice.replicas} more than the demand needs"
    if how != native(ask.model) or (ask.kv_dtype or "auto") != "auto":
        yield "quantization changes answers a little: compare them on your own prompts before you rely on it"
    if how in ("fp8", "fp8-weights") and layout.gpu.fp8_flops is None:
        yield f"{layout.gpu.name} has no FP8 units: weights are read as FP8 and computed in 16 bits"
    if (ask.kv_dtype or "").startswith("fp8") and layout.gpu.fp8_flops is None:
        yield f"an FP8 KV cache on {layout.gpu.name} needs vLLM's FlashInfer backend"
    if needs_float16(ask.model, layout.gpu) and ask.dtype is None:
        yield f"{layout.gpu.name} has no bfloat16: the engine needs `dtype: float16`"
    if ask.demand.is_recorded and ask.demand.longest_tokens > plan.context:
        yield (
            f"of the recorded requests 1 % have {ask.demand.longest_tokens:,} tokens or more, which is over the context"
            f" of {plan.context:,}: they will be refused"
        )
    if layout.pipeline > 1 and layout.gpus > 8:
        yield f"{layout.gpus} GPUs are more than one machine has: the replica spans several"
    if ask.model.is_guess:
        yield f"nothing is known of {ask.source} but its name: {ask.model.source}"


def shown_runners_up(plan: ModelPlan) -> tuple[Option, ...]:
    """The runners-up worth a line: one for each GPU, shape or quantization, then the cheapest that cannot run."""
    shown = [*plan.runners_up[:_RUNNERS_UP_SHOWN]]
    quantized = [
        o for o in plan.runners_up[_RUNNERS_UP_SHOWN:] if o.layout.quantization != plan.choice.layout.quantization
    ]
    shown += quantized[:1]
    seen = {option.layout.gpu.name for option in (plan.choice, *plan.runners_up)}
    cheap: list[Option] = []
    for option in sorted(plan.impossible, key=lambda o: (o.replica_price is None, o.replica_price or 0)):
        if option.layout.gpu.name not in seen:
            seen.add(option.layout.gpu.name)
            cheap.append(option)
    return (*shown, *cheap[:_IMPOSSIBLE_SHOWN])


def verdict(plan: ModelPlan, option: Option) -> str:
    """Why a runner-up is not the choice."""
    if not option.is_possible:
        return option.why_not
    limits = dict(plan.ask.objectives.named)
    if option.capacity <= 0:
        missed = option.missed(option.alone)
        return (
            f"misses {' and '.join(f'{name} ≤ {limits[name]:g} ms' for name in missed)} even with one request at a time"
        )
    parts = []
    if option.price is not None and plan.choice.price:
        parts.append(_costs(option.price / plan.choice.price))
    if option.layout.quantization != plan.choice.layout.quantization:
        parts.append("changes the weights")
    elif not _is_allowed(plan, option):
        parts.append(_asked_for(plan, option))
    return "; ".join(parts)


def _costs(ratio: float) -> str:
    if abs(ratio - 1) < 0.005:
        return "costs the same"
    if ratio >= 3:
        return f"costs {ratio:.0f} times as much"
    return f"costs {abs(ratio - 1):.0%} {'more' if ratio > 1 else 'less'}"


def _asked_for(plan: ModelPlan, option: Option) -> str:
    """Which word of the ask rules an option out."""
    ask = plan.ask
    if option.layout.gpu not in ask.gpus:
        return f"{' or '.join(gpu.name for gpu in ask.gpus)} is asked for"
    if ask.tensor is not None:
        return f"a tensor-parallel size of {ask.tensor} is asked for"
    return f"{ask.count} GPU{'' if ask.count == 1 else 's'} for each replica are asked for"


def changes(plan: ModelPlan) -> tuple[str, ...]:
    """What would change the choice."""
    return tuple(_changes(plan))


def _changes(plan: ModelPlan) -> Iterator[str]:
    choice, ask = plan.choice, plan.ask
    rate = ask.demand.requests_per_s
    if rate:
        top = choice.capacity * choice.replicas
        will_do = f"{_replicas(choice.replicas)} will do"
        yield f"Demand: up to {_rate(top)}, {_more(top / rate)} what is asked, {will_do}."
        without = math.ceil(rate / (HEADROOM * _unpromised(choice).saturation) - 1e-9)
        if ask.objectives.named and without < choice.replicas:
            yield f"Objectives: without {_binding(choice)}, {_replicas(without)} would do."
    yield from _weights_change(plan)
    yield from _price_change(plan)
    full = ask.model.context
    memory = choice.estimate.memory
    if full > plan.context and memory.kv_tokens >= full:
        yield (
            f"Context: the model's full {full:,} tokens fit too, {memory.kv_tokens / full:.1f} such requests at once:"
            f" write `contextLength: {full}`."
        )
    elif full > plan.context and memory.kv_tokens:
        yield f"Context: more than {memory.kv_tokens // 1024 * 1024:,} tokens needs more memory than this."
    if rate and ask.demand.timeline and choice.replicas > 1:
        mean = sum(_needed(choice, r) for r in ask.demand.timeline) / len(ask.demand.timeline)
        yield (
            f"Scaling: following the record with one replica at least takes {mean:.2f} replicas on average,"
            f" {1 - mean / choice.replicas:.0%} less than {choice.replicas} all the time."
        )


def _needed(option: Option, rate: float) -> int:
    return max(1, math.ceil(rate / option.capacity - 1e-9))


def _unpromised(option: Option) -> Option:
    """The same with as many requests at once as the engine takes by itself."""
    seqs = option.ask.max_num_seqs or engine_defaults(option.layout.gpu).max_num_seqs
    return replace(option, layout=replace(option.layout, max_num_seqs=seqs))


def _weights_change(plan: ModelPlan) -> Iterator[str]:
    """What the cheapest of each other kind of weights would save."""
    choice, seen = plan.choice, {plan.choice.layout.quantization}
    for option in plan.runners_up:
        how = option.layout.quantization
        if how in seen or option.capacity <= 0:
            continue
        if option.price is None or choice.price is None or option.price >= choice.price:
            continue
        seen.add(how)
        named, price = words_of(plan.ask.model, how), dollars(option.price)
        is_made = needs_own_source(plan.ask.model, how)
        way = f"name a `source` in {named}" if is_made else f"write `quantization: {how}`"
        yield (
            f"Weights: in {named}, {_replicas(option.replicas)} of {option.layout.words} would cost {price} an hour:"
            f" {way} if its answers to your prompts stay good."
        )


def _price_change(plan: ModelPlan) -> Iterator[str]:
    """The price at which the best of another GPU would win."""
    choice = plan.choice
    if choice.price is None:
        return
    for option in plan.runners_up:
        gpu = option.layout.gpu
        if gpu == choice.layout.gpu or option.capacity <= 0 or option.price is None:
            continue
        if not _is_allowed(plan, option):
            continue
        needed = dollars(choice.price / (option.layout.gpus * option.replicas))
        now = dollars(plan.ask.prices[gpu.name])
        what = f"{_replicas(option.replicas)} of {option.layout.words}"
        yield f"Price: {what} would win below {needed} per GPU-hour, now {now}."
        return
