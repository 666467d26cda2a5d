"""The `cost` policy: the endpoint that is predicted to answer in the fewest seconds.

    seconds = prefill of what its cache lacks + what goes before + decode, slowed by what runs there
            + what that prefill takes from others

Each part is in seconds of that endpoint: the performance model's step times (named in the decision), times what its
own answers showed. There are no thresholds: a hot prefix goes where it is held until waiting there costs more than to
compute it elsewhere, and from then on two endpoints hold it.

Guarantees: equal endpoints get even work; an endpoint that restarts, loses its cache or slows down is known by its
counters and answers; memory is bounded. Nothing is asked of the endpoint. Formula and figures: `docs/routing.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf

from penstock.serve.routing.endpoints import Endpoint
from penstock.serve.routing.learned import LEVEL_WEIGHT, WORK_FADES_S, EndpointLearned, PoolLearned, Sent
from penstock.serve.routing.policy import UNKNOWN_NEED, Decision, Ended, Need, Weighed
from penstock.serve.routing.prefix import PrefixIndex
from penstock.serve.routing.rendezvous import MASK, ODD
from penstock.serve.routing.timing import UNKNOWN_TIMING, ModelTiming

__all__ = ["ADAPTER_LOAD_S", "BLOCKS_MAX", "CostPolicy"]

BLOCKS_MAX = 1_000_000
"""Default of `routing.prefixBlocksMax`."""
ADAPTER_LOAD_S = 0.5
"""Seconds that an adapter takes to load where it is not: some 100 MB from the page cache to the GPU."""
_UNPROVEN_S = 0.25
"""More for an endpoint that never answered, or failed last: it is taken when the others are busy for longer."""
_DECODE_WEIGHT = 0.1
"""Of a second spread over an answer against one before it begins: answers stream faster than they are read, and what
runs at the moment is gone before a long answer is through."""
_TAKEN = 3.0
"""Seconds that a second of prefill takes from others besides those that run: the GPU's second, and the cache's room, as
each token that is computed again evicts another one. Chosen on the recorded conversations: 1 to 4 do nearly as well."""
_AHEAD, _AHEAD_NEW = 0.02, 0.6
"""What a second counts that an endpoint was given more than its fellows in the last minutes: to a prompt that goes on
where it is held; and more to one whose beginning nobody holds, times the share of prompts that is found cached (not by
other gateways), as what follows it comes to the same place. So prompts that are free to go anywhere even out the
work, and those that would lose their cache need not. Where nothing is ever found again, nobody looks ahead."""
_OTHERS_MAX = 8.0
"""Most requests that a prefill is taken to delay: past it their tokens come from large steps, and an endpoint that is
crowded would look as if it had to stay so."""
_REBASE_S = 20 * WORK_FADES_S
"""After this the unit of work is drawn anew, or its numbers would grow without end."""
_UNKNOWN_PRIOR_S = 0.02
"""Seconds that an invented timing counts for against what is seen."""
NOTED_S = 0.01
"""Seconds between two decisions whose numbers are noted, as each candidate's cost a third of the choice itself: on a
quiet gateway every decision, on a busy one a hundred a second."""

_Ask = tuple[float, Sequence[int], int, float, float, Endpoint | None, float, str, float]
"""A request, as all candidates are asked for it: now, blocks, prompt tokens, tokens of a block, tokens behind what is
common to many, home, output tokens, adapter, what a unit of work costs. Plain, as one is made for each request."""


class CostPolicy:
    """Fewest predicted seconds. Owns what is learned of every endpoint (`Endpoint.learned`)."""

    name = "cost"

    def __init__(
        self,
        timing: Mapping[str, ModelTiming] | None = None,
        *,
        blocks_max: int = BLOCKS_MAX,
        kv_tokens: Mapping[str, int] | None = None,
        weighs: bool = True,
    ) -> None:
        """`timing`, `kv_tokens`: by model, where its hardware is known. `weighs`: decisions carry their numbers,
        at most one each `NOTED_S`."""
        self._timing = dict(timing or {})
        self._kv_tokens = dict(kv_tokens or {})
        self._weighs = weighs
        self._pools: dict[str, PoolLearned] = {}
        self.index = PrefixIndex(blocks_max)
        self._turn = 0
        self._noted_at = -inf
        self._epoch = 0.0
        """When a second of work counted one; it counts more since, so that what was before fades."""

    # The port --------------------------------------------------------------------------------------------------------

    def choose(self, candidates: Sequence[Endpoint], need: Need, *, now: float, explains: bool = False) -> Decision:
        """The candidate of the fewest seconds; equal ones in turn."""
        count = len(candidates)
        self._turn = turn = (self._turn + 1) % count
        first = candidates[turn]
        pool = (first.learned or self._met(first)).pool
        if explains or (self._weighs and not 0.0 <= now - self._noted_at < NOTED_S):
            return self._noted(candidates, need, pool, now, explains=explains)
        if count == 1:
            if need is not UNKNOWN_NEED:
                need.memo = first if need.blocks else None
            if first.learned.sample is not first.sample:
                self._look(first, first.learned, now)
        else:
            turned = [*candidates[turn:], *candidates[:turn]] if turn else candidates
            first = self._weigh(turned, pool, self._asked(pool, candidates, need, now), None)
        return Decision(first, self.name, (), (), pool.timing.name, False)

    def _noted(
        self, candidates: Sequence[Endpoint], need: Need, pool: PoolLearned, now: float, *, explains: bool
    ) -> Decision:
        """A choice with its numbers."""
        self._noted_at = now
        weighed: list[Weighed] = []
        turned, ask = (*candidates[self._turn :], *candidates[: self._turn]), self._asked(pool, candidates, need, now)
        best = self._weigh(turned, pool, ask, weighed)
        scores = tuple((one[0], one[1]) for one in weighed) if explains else ()
        return Decision(best, self.name, scores, weighed, pool.timing.name)

    def _asked(self, pool: PoolLearned, candidates: Sequence[Endpoint], need: Need, now: float) -> _Ask:
        """What is the same for all candidates."""
        blocks, prompt = need.blocks, need.prompt_tokens
        block_tokens, own_tokens, home, ahead = 0.0, float(prompt), None, _AHEAD
        if blocks:
            block_tokens = need.block_tokens or prompt / (len(blocks) + 0.5)
            own = self.index.shared.own(blocks)
            own_tokens = prompt - own * block_tokens
            first_own = blocks[own]
            home = self._home(first_own, candidates)
            for endpoint in candidates:
                if first_own in endpoint.learned.held.blocks:
                    break
            else:
                ahead += _AHEAD_NEW * pool.cached_share * (1.0 - pool.home_share)
        if need is not UNKNOWN_NEED:
            need.memo = home
        output = need.output_tokens or pool.output_tokens
        return now, blocks, prompt, block_tokens, own_tokens, home, output, need.adapter, ahead * self._fade(now)

    def _weigh(
        self, candidates: Sequence[Endpoint], pool: PoolLearned, ask: _Ask, weighed: list[Weighed] | None
    ) -> Endpoint:
        """The hot loop: plain arithmetic, no calls for a candidate of whom nothing special is known."""
        now, blocks, prompt, block_tokens, own_tokens, home, output, adapter, ahead_s = ask
        timing = pool.timing
        fixed_s, token_s, pair_s, steps_s = timing.fixed_s, timing.token_s, timing.pair_s, timing.steps_s
        last_step, seqs_max = steps_s[-1], len(steps_s) - 1
        first_block, last_block, block_count = (blocks[0], blocks[-1], len(blocks)) if blocks else (None, None, 0)
        others_s = (_TAKEN + pool.running) * token_s * pool.ratio
        weighed_output, level = _DECODE_WEIGHT * output, pool.work_level
        fresh, last_cached = float(prompt), 0.0
        plain_s = whole_s = fixed_s + fresh * (token_s + 0.5 * fresh * pair_s)
        taken_s = whole_taken_s = others_s * (fresh if fresh < own_tokens else own_tokens)
        best, best_s = candidates[0], inf
        for endpoint in candidates:
            learned = endpoint.learned
            if learned is None or learned.pool is not pool:
                learned = self._met(endpoint)
            if learned.sample is not endpoint.sample:
                self._look(endpoint, learned, now)
            cached = 0.0
            if block_count and (first_block in learned.held.blocks or endpoint is home):
                matched = block_count if last_block in learned.held.blocks else learned.held.match(blocks)
                cached = matched * block_tokens * learned.trust
                cached = cached if cached < prompt else prompt - 1.0
                if cached != last_cached or endpoint is home:  # else as the one before
                    fresh, last_cached = prompt - cached, cached
                    if endpoint is home:
                        fresh -= fresh * pool.home_share
                        last_cached = -1.0
                    plain_s = fixed_s + fresh * (token_s + (cached + 0.5 * fresh) * pair_s)
                    taken_s = others_s * (fresh if fresh < own_tokens else own_tokens)
            elif last_cached != 0.0:
                last_cached = 0.0
                fresh, plain_s, taken_s = float(prompt), whole_s, whole_taken_s
            ratio, in_flight = learned.ratio, endpoint.in_flight
            prefill_s = ratio * plain_s
            before_s = learned.busy_until - now
            before_s = learned.others_s + before_s if before_s > 0.0 else learned.others_s
            running = in_flight + learned.others + 1
            step_s = steps_s[running] if running <= seqs_max else last_step
            rest_s = weighed_output * learned.step_ratio * (step_s + learned.context_s) + taken_s
            rest_s += ahead_s * (learned.work - level)
            if prefill_s + before_s + rest_s >= best_s and weighed is None:
                continue  # what is left only adds
            if running > seqs_max or fresh + output > learned.room_tokens:
                before_s += self._room_s(learned, running, seqs_max, fresh + output)
            if adapter and adapter not in learned.adapters:
                prefill_s += ADAPTER_LOAD_S
            seconds = prefill_s + before_s + rest_s
            if endpoint.health != "ready":
                seconds += _UNPROVEN_S
            if seconds < best_s:
                best, best_s = endpoint, seconds
            if weighed is not None:
                weighed.append((endpoint.id, seconds, prefill_s, before_s, rest_s, cached, in_flight))
        return best

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        """Counts what the request takes there, and what it leaves in the cache."""
        learned = endpoint.learned or self._met(endpoint)
        pool, timing = learned.pool, learned.pool.timing
        blocks, matched, cached, prompt = need.blocks, 0, 0.0, need.prompt_tokens
        if blocks:
            matched = learned.held.match(blocks)
            block_tokens = need.block_tokens or prompt / (len(blocks) + 0.5)
            pool.block_tokens += (block_tokens - pool.block_tokens) * 0.01
            if matched:
                cached = max(0.0, min(matched * block_tokens * learned.trust, prompt - 1))
            pool.placed(cached / prompt if prompt else 0.0)
            if matched < len(blocks):
                self.index.shared.note(blocks, matched)
            learned.held.put(blocks)
        fresh = prompt - cached
        output = need.output_tokens or pool.output_tokens
        plain_s = timing.fixed_s + fresh * (timing.token_s + (cached + 0.5 * fresh) * timing.pair_s)
        prefill_s = plain_s * learned.ratio
        before_s = learned.busy_until - now
        before_s = max(before_s, 0.0)
        learned.busy_until = now + before_s + prefill_s
        learned.room_tokens -= fresh + output
        work_s = fresh * timing.token_s + output * pool.output_s
        unit = self._unit(now)
        learned.work += work_s * unit
        pool.work_level += (learned.work - pool.work_level) * LEVEL_WEIGHT
        pool.arrived(plain_s, min(_OTHERS_MAX, endpoint.in_flight + learned.others - 1.0))
        if need.adapter:
            learned.loaded(need.adapter)
        if need is not UNKNOWN_NEED:
            is_home, ttft_s = need.memo is endpoint, before_s / learned.ratio + plain_s
            need.memo = Sent(endpoint.id, is_home, matched, cached, fresh, output, prefill_s, ttft_s, work_s, unit)

    def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        """Compares what came with what was predicted."""
        learned, memo = endpoint.learned or self._met(endpoint), need.memo
        if outcome.is_ok:
            learned.pool.finished(outcome)
        if not isinstance(memo, Sent) or memo.endpoint_id != endpoint.id:
            return
        need.memo = None
        if outcome.ttft_s >= 0.0:
            if learned.is_news(outcome.now):
                learned.pool.took(outcome.ttft_s, memo.ttft_s, outcome.now)
                learned.took(outcome.ttft_s, memo.ttft_s, outcome.now)
                self._decoded(learned, endpoint, outcome)
        else:
            self._came_to_nothing(learned, need, memo, outcome)
        if outcome.cached_tokens >= 0 and outcome.is_ok:
            self._cached(learned, need, memo, outcome)

    def cache_seen(self, endpoint: Endpoint, tokens: int, is_lost: bool) -> None:
        """The engine's own events said how many tokens its cache holds (-1: not known), and whether what it held
        before is gone."""
        learned = self._met(endpoint)
        if is_lost:
            learned.held.forget()
        learned.cache_tokens = tokens

    # What is learned -------------------------------------------------------------------------------------------------

    def _decoded(self, learned: EndpointLearned, endpoint: Endpoint, outcome: Ended) -> None:
        """Seconds of the answer after its first token, against steps of as many requests as run there now."""
        if outcome.output_tokens > 1:
            steps = learned.pool.timing.steps_s
            running = min(endpoint.in_flight + learned.others + 1, len(steps) - 1)
            seen_s = max(0.0, outcome.now - outcome.sent_at - outcome.ttft_s)
            learned.decoded(seen_s, (outcome.output_tokens - 1) * (steps[running] + learned.context_s))

    def _came_to_nothing(self, learned: EndpointLearned, need: Need, memo: Sent, outcome: Ended) -> None:
        """No first token: its work is taken back, what it was to leave in the cache too. One that was waited for longer
        than predicted tells that the endpoint is slower, by as much at least."""
        waited_s = outcome.now - outcome.sent_at
        if waited_s > memo.ttft_s * learned.ratio:
            learned.took(waited_s, memo.ttft_s, outcome.now)
        learned.work = max(0.0, learned.work - memo.work_s * memo.unit)
        learned.busy_until = max(outcome.now, learned.busy_until - memo.prefill_s)
        learned.held.drop(need.blocks[memo.matched :])

    def _cached(self, learned: EndpointLearned, need: Need, memo: Sent, outcome: Ended) -> None:
        """The engine said how much it had: the index was right, or not; the work was more, or less."""
        timing, pool = learned.pool.timing, learned.pool
        more = outcome.cached_tokens - memo.cached
        learned.work = max(0.0, learned.work - more * timing.token_s * memo.unit)
        learned.reported(outcome.cached_tokens, memo.matched * (need.block_tokens or pool.block_tokens))
        if memo.is_home and memo.fresh > 0.0:
            pool.surprised(min(memo.fresh, max(0.0, more - pool.block_tokens)), memo.fresh)

    # Endpoints -------------------------------------------------------------------------------------------------------

    def _met(self, endpoint: Endpoint) -> EndpointLearned:
        """What is known of it; an endpoint that is new is given as much work as its fellows have on the mean, or it
        would get everything until it had caught up."""
        learned = endpoint.learned
        if isinstance(learned, EndpointLearned):
            return learned
        pool = self._pools.get(endpoint.model)
        if pool is None:
            timing = self._timing.get(endpoint.model)
            if timing is None:
                pool = PoolLearned(UNKNOWN_TIMING, prior_s=_UNKNOWN_PRIOR_S)
            else:
                pool = PoolLearned(timing)
            self._pools[endpoint.model] = pool
        endpoint.learned = learned = EndpointLearned(endpoint.id, pool, self.index.part(), pool.work_mean())
        pool.met(learned)
        kv_tokens = self._kv_tokens.get(endpoint.model, 0)
        if kv_tokens:
            learned.resize(kv_tokens, self.index.share)
        return learned

    def _look(self, endpoint: Endpoint, learned: EndpointLearned, now: float) -> None:
        if endpoint.sample is not None:
            learned.look(endpoint, endpoint.sample, self.index.share, now)

    def _room_s(self, learned: EndpointLearned, running: int, seqs_max: int, tokens: float) -> float:
        """Seconds until the engine has a place and KV for the request, as others end: by Little's law it gives back
        what it has in use within the time that a request takes."""
        e2e_s = learned.pool.e2e_s
        wait_s = (running - seqs_max) * e2e_s / seqs_max if running > seqs_max > 0 else 0.0
        short = tokens - learned.room_tokens
        if short > 0.0:
            in_use = max(1.0, learned.kv_tokens - learned.room_tokens)
            wait_s = max(wait_s, short / in_use * e2e_s)
        return wait_s

    def _home(self, own: int, candidates: Sequence[Endpoint]) -> Endpoint:
        """Where every gateway would send this conversation that knows nothing of it."""
        lots = [
            ((mixed := ((own ^ (e.learned or self._met(e)).seed) * ODD) & MASK) ^ (mixed >> 29)) * ODD & MASK
            for e in candidates
        ]  # `lot`, without a call for each
        return candidates[lots.index(max(lots))]

    def _fade(self, now: float) -> float:
        """What is left now of a unit of work, in seconds."""
        return exp((self._epoch - now) / WORK_FADES_S)

    def _unit(self, now: float) -> float:
        """What a second of work counts at this time."""
        if now - self._epoch > _REBASE_S:
            fade = exp((self._epoch - now) / WORK_FADES_S)
            self._epoch = now
            for pool in self._pools.values():
                pool.work_level *= fade
                for learned in pool.endpoints():
                    learned.work *= fade
        return exp((now - self._epoch) / WORK_FADES_S)
