"""Sizes one model: of every option the cheapest that holds the objectives at the demand, and what the others would do.

    size(ask) -> ModelPlan, or the reasons why there is none

Guarantees: the same ask gives the same plan; the choice misses no objective at the pessimistic end of its interval;
nothing is chosen that the ask rules out, though it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from penstock.facts import GPUS
from penstock.plan.ask import Ask
from penstock.plan.checks import check
from penstock.plan.estimate import fits
from penstock.plan.host import HostNeeds, host_needs
from penstock.plan.options import REGIMES, Option, options_of, tuned
from penstock.plan.quantization import Quantization, native, needs_own_source, words_of
from penstock.plan.refusal import Refusal
from penstock.plan.serving import OperatingPoint

__all__ = ["ModelPlan", "has_allowed_weights", "size"]

_DEARER_MAX = 3.0
"""Options whose least price is more than this many times the best one's are not worked out further."""
_CURVE_SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Of saturation: the loads that the curve is shown at."""


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """What one model should run on, and all that is known of it.

    What it is compared with, and the curve, are worked out when first asked for: who only wants to know what to run
    does not wait for them.
    """

    ask: Ask
    choice: Option
    found: tuple[Option, ...] = field(repr=False)
    """The best of each GPU that the ask allows."""
    allowed: tuple[Option, ...] = field(repr=False)
    """Everything that it allows, possible or not."""

    @property
    def context(self) -> int:
        return self.choice.context

    @property
    def considered(self) -> int:
        """Options that the ask allows and that can run."""
        return sum(option.is_possible for option in self.allowed)

    @cached_property
    def runners_up(self) -> tuple[Option, ...]:
        """What else would do, best first: other shapes on the same GPU, the best of each other GPU and quantization."""
        ask, choice = self.ask, self.choice
        limit = None if choice.price is None else choice.price * _DEARER_MAX
        runners = [option for option in self.found if option.layout_alike != choice.layout_alike]
        groups = _grouped(self._rivals, lambda o: (o.layout.quantization, o.layout.gpu.name if _is_own(ask, o) else ""))
        for group in groups:
            runners += _best(group, limit)[:1]
        return tuple(sorted(runners, key=_rank))

    @cached_property
    def impossible(self) -> tuple[Option, ...]:
        """What cannot run, each with the reason."""
        return tuple(option for option in (*self.allowed, *self._rivals) if not option.is_possible)

    @cached_property
    def host(self) -> HostNeeds:
        """What a replica needs of its machine."""
        return host_needs(self.choice.estimate)

    @cached_property
    def curve(self) -> tuple[OperatingPoint, ...]:
        """One engine from light load to saturation."""
        engine = self.choice.engine
        points = (engine.at_rate(engine.saturation() * share) for share in _CURVE_SHARES)
        return tuple(point for point in points if point is not None)

    @cached_property
    def _rivals(self) -> tuple[Option, ...]:
        return tuple(_rivals(self.ask, self.allowed))


def size(ask: Ask) -> ModelPlan | list[Refusal]:
    """The plan of one model, or everything that stands in its way."""
    refusals = check(ask)
    if refusals:
        return refusals
    allowed = tuple(option for option in options_of(ask, is_allowed=partial(_is_allowed, ask)))
    groups = _grouped(allowed, lambda o: o.layout.gpu.name)
    found = groups[0] if [len(group) for group in groups] == [1] else _best_of_each(groups)
    best = min(found, key=_rank) if len(found) > 1 else next(iter(found), None)
    if best is None or best.capacity <= 0:
        refusal = _unattainable(ask, found) if found else _impossible(ask, allowed, _rivals(ask, allowed))
        return [replace(refusal, at=ask.places.get(refusal.about, ()))]
    return ModelPlan(ask=ask, choice=tuned(best), found=tuple(found), allowed=allowed)


def _rivals(ask: Ask, allowed: Sequence[Option]) -> list[Option]:
    """Options that the ask does not allow, to compare with."""
    rivals = list(options_of(ask, is_allowed=lambda how: not _is_allowed(ask, how)))
    if ask.rivals or ask.count or ask.tensor:
        free = replace(ask, gpus=ask.gpus + ask.rivals, count=None, tensor=None, pipeline=1, data=1)
        known = {option.layout_alike for option in (*allowed, *rivals)}
        own = options_of(free, is_allowed=partial(_is_own_weights, ask))
        rivals += [option for option in own if option.layout_alike not in known]
    return rivals


def has_allowed_weights(ask: Ask, option: Option) -> bool:
    """Whether the ask lets the weights be so: as the source has them, or in any way that the engine makes itself."""
    return _is_allowed(ask, option.layout.quantization)


def _is_allowed(ask: Ask, how: Quantization) -> bool:
    is_free = ask.is_any_quantization and not needs_own_source(ask.model, how)
    return is_free or _is_own_weights(ask, how)


def _is_own_weights(ask: Ask, how: Quantization) -> bool:
    """Whether the weights are as asked for, or else as the source has them."""
    return how == (ask.quantization or native(ask.model))


def _is_own(ask: Ask, option: Option) -> bool:
    return _is_own_weights(ask, option.layout.quantization)


def _grouped(options: Sequence[Option], key: Callable[[Option], Hashable]) -> list[list[Option]]:
    """Options that can run, by key, in the order in which the keys come."""
    groups: dict[Hashable, list[Option]] = {}
    for option in options:
        if option.is_possible:
            groups.setdefault(key(option), []).append(option)
    return list(groups.values())


def _best_of_each(groups: Sequence[list[Option]]) -> list[Option]:
    """What is worth working out of each group, the cheapest groups first: far dearer ones are left out whole."""
    found: list[Option] = []
    limit: float | None = None
    for group in sorted(groups, key=lambda group: min(option.price_floor for option in group)):
        best = _best(group, limit)
        found += best
        if best and best[0].capacity > 0 and best[0].price is not None:
            limit = min(limit or math.inf, best[0].price * _DEARER_MAX)
    return found


def _best(options: Sequence[Option], limit: float | None) -> list[Option]:
    """The best ones of a group, best first: what cannot be better than the best, or costs over `limit`, is not worked
    out."""
    worked: list[Option] = []
    for option in sorted(options, key=lambda option: (option.price_floor, option.layout.gpus)):
        if limit is not None and option.price_floor > limit:
            break
        worked.append(option)
        if option.capacity > 0 and option.price is not None:
            limit = option.price if limit is None else min(limit, option.price)
    return sorted(worked, key=_rank)


def _rank(option: Option) -> tuple[object, ...]:
    """Objectives first, then money, then fewer GPUs, then the order of the tables."""
    price = option.price
    place = next((n for n, gpu in enumerate(GPUS) if gpu.name == option.layout.gpu.name), len(GPUS))
    replicas = max(1, option.replicas)
    return (
        option.capacity <= 0,
        price is None,
        price or 0,
        option.layout.gpus * replicas,
        place,
        option.layout.gpus,
        option.layout.quantization,
    )


def _unattainable(ask: Ask, options: Sequence[Option]) -> Refusal:
    """Everything runs, and nothing holds the objectives, not even for one request at a time."""
    limits = dict(ask.objectives.named)

    def excess(option: Option) -> float:
        return max(_high_ms(option, name) / limit for name, limit in limits.items())

    best = min(options, key=excess)
    name = max(limits, key=lambda name: _high_ms(best, name) / limits[name])
    shown, high = _ms(best, name), _high_ms(best, name)
    return Refusal(
        about=name.lower(),
        message=f"{name} of {limits[name]:g} ms cannot be promised: the fastest that may be used, {best.layout.words},"
        f" takes {shown:.3g} ms at the 95th percentile with one request at a time, {high:.3g} at the end of the 90 %"
        " interval",
        hint=f"promise {_round_up(high):g} ms or more, or allow faster GPUs",
    )


def _ms(option: Option, name: str) -> float:
    alone = option.alone
    return {"TTFT": alone.ttft_p95_s, "ITL": alone.tpot_p95_s, "E2E": alone.e2e_p95_s}[name] * 1000


def _high_ms(option: Option, name: str) -> float:
    return option.estimate.interval(_ms(option, name), REGIMES[name]).high


def _round_up(ms: float) -> float:
    step = 5.0 if ms < 100 else 50.0 if ms < 1000 else 500.0
    return -(-ms // step) * step


def _impossible(ask: Ask, allowed: Sequence[Option], rivals: Sequence[Option]) -> Refusal:
    """Nothing that may be used can run the model: why the largest of them cannot, and what could."""
    largest = max(allowed, key=lambda o: (o.layout.gpus * o.layout.gpu.memory_bytes, -o.layout.pipeline))
    is_room = "KV cache" in largest.why_not or "room for" in largest.why_not
    about = "count" if ask.count else "tensor" if ask.tensor else "gpu"
    if largest.layout.gpu.slice_of:
        about = "mig"
    if is_room and ask.context:
        about = "context"
    if about == "gpu" and not ask.is_gpu_given:
        about = "source"
    hints = [_would_do(ask, option) for option in _remedies(ask, rivals)]
    if is_room and (tokens := _tokens_left(largest)):
        hints.append(f"a context of {tokens:,} would fit")
    message = f"{largest.layout.words}: {largest.why_not}"
    return Refusal(about=about, message=message, hint="; ".join(hints) or "use a smaller model, or a quantized one")


def _tokens_left(option: Option) -> int:
    """Context for which there would be room, to the last whole 1,024."""
    if fits(option.estimate) is not None:
        return 0
    return option.estimate.memory.kv_tokens // 1024 * 1024


def _remedies(ask: Ask, rivals: Sequence[Option]) -> list[Option]:
    """The best shape on the same GPU, and the best of all others; of other weights only where nothing else runs."""
    own = [option for option in rivals if _is_own(ask, option)]
    same = _possible([option for option in own if option.layout.gpu in ask.gpus])
    others = _possible([option for option in own if option.layout.gpu not in ask.gpus])
    return [*same[:1], *others[:1]] or _possible(rivals)[:1]


def _would_do(ask: Ask, option: Option) -> str:
    if _is_own(ask, option):
        return f"{option.layout.words} would do"
    how = option.layout.quantization
    if needs_own_source(ask.model, how):
        return f"{option.layout.words} would do with a `source` in {words_of(ask.model, how)}"
    return f"{option.layout.words} would do with `quantization: {how}`"


def _possible(options: Sequence[Option]) -> list[Option]:
    return [o for o in _best([o for o in options if o.is_possible], None) if o.capacity > 0]
