"""Which request computes how many tokens in the next step: continuous batching as vLLM V1 does it.

One token budget for all. Running requests first, in their order: a decode asks for one token, a prefill for what is
left of its prompt, up to the budget. When KV memory is short the last one running is preempted: its blocks are freed,
and it waits in front to be computed again. Then waiting requests, as long as budget, `max_num_seqs` and blocks for
their whole prompt last, and nobody was preempted. Tokens of a cached prefix cost nothing; the last token of a prompt
is always computed.

Guarantees: tokens of a step never exceed the budget, running never exceeds `max_num_seqs`, no request is passed over
by a later one of the same priority. Time, text and outputs are not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from penstock.simulate.engine.blocks import BlockPool, chained_hashes, next_hash
from penstock.simulate.engine.waiting import Waiting

__all__ = ["Batch", "Limits", "PrefixCounts", "Scheduler", "Sequence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one engine."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    enable_chunked_prefill: bool = True
    by_priority: bool = False
    full_groups: int = 1
    """Groups of layers that take a block each for the same tokens."""
    sliding_groups: int = 0
    """Groups of sliding-window layers, which hold the blocks of the window only."""
    window: int = 0

    def more_blocks(self, computed: int, end: int) -> int:
        """Blocks that a request holds beside those that are known by their contents, once tokens up to `end` have
        theirs: those of further groups, sliding ones without what the `computed` tokens are through with."""
        size = self.block_size
        whole = -(-end // size)
        more = (self.full_groups - 1) * whole
        if self.sliding_groups:
            more += self.sliding_groups * (whole - max(0, computed - self.window + 1) // size)
        return more


class Sequence:
    """One request's tokens, or only their number, and the blocks that hold them. Owned by the `Scheduler`."""

    __slots__ = (
        "arrival", "blocks", "cached_tokens", "computed", "hashes", "id", "ids", "is_ended", "is_running",
        "is_waiting", "length", "more_blocks", "number", "preemptions", "priority", "prompt_tokens", "remembered",
        "root",
    )  # fmt: skip

    def __init__(
        self,
        *,
        request_id: str,
        number: int,
        tokens: list[int] | int,
        arrival: float,
        priority: int = 0,
        root: int = 0,
        hashes: Iterable[int] = (),
    ) -> None:
        self.id = request_id
        self.number = number
        """Order of submission."""
        self.ids = None if isinstance(tokens, int) else tokens
        """Prompt, then generated; None where only their number is known."""
        self.length = tokens if isinstance(tokens, int) else len(tokens)
        """Prompt and generated tokens."""
        self.prompt_tokens = self.length
        self.arrival = arrival
        self.priority = priority
        self.root = root
        self.computed = 0
        """Tokens whose KV is in `blocks`."""
        self.blocks: list[int] = []
        self.more_blocks: list[int] = []
        """Of further groups of layers; never shared."""
        self.hashes: list[int] = list(hashes)
        """Of each full block of tokens, as far as needed yet."""
        self.remembered = 0
        """Leading blocks that the pool knows by hash."""
        self.cached_tokens = -1
        """Prompt tokens found cached at first scheduling; -1 before."""
        self.preemptions = 0
        self.is_waiting = False
        self.is_running = False
        self.is_ended = False
        """Its last token is decided and on its way: it computes nothing more, and holds its blocks until then."""

    @property
    def rank(self) -> tuple[int, float, int]:
        """Who goes first under the priority policy: lower first."""
        return (self.priority, self.arrival, self.number)

    def append(self, token: int) -> None:
        """One more generated token."""
        if self.ids is not None:
            self.ids.append(token)
        self.length += 1

    def hash_blocks(self, full: int, size: int) -> None:
        """Makes the hashes of the first `full` blocks known. Without ids a block is like no other."""
        hashes = self.hashes
        done = len(hashes)
        if done >= full:
            return
        parent = hashes[-1] if done else self.root
        if self.ids is not None:
            hashes.extend(chained_hashes(self.ids[done * size : full * size], size, parent))
            return
        for place in range(done, full):
            parent = next_hash(parent, (-1, self.number, place))
            hashes.append(parent)


@dataclass(slots=True, kw_only=True)
class Batch:
    """What one step computes. Filled by the scheduler, read by the engine, then dropped."""

    shares: list[tuple[Sequence, int]] = field(default_factory=list)
    """Each request with the tokens it computes."""
    fresh: list[Sequence] = field(default_factory=list)
    """Those that run for the first time."""
    prefill_tokens: int = 0
    decode_tokens: int = 0
    decode_context: int = 0
    """Sum of the context lengths of the decodes."""
    prefill_pairs: float = 0.0
    """Sum over prefills of n * (start + n / 2): query-key pairs."""
    prefill_requests: int = 0
    preempted: int = 0


@dataclass(slots=True)
class PrefixCounts:
    """Prefix cache totals in tokens; preempted requests that come back are not counted, as in vLLM."""

    queries: int = 0
    hits: int = 0
    preemptions: int = 0


class Scheduler:
    """Owns the waiting and running order, and the block pool."""

    def __init__(self, limits: Limits, pool: BlockPool) -> None:
        self.limits = limits
        self.pool = pool
        self.running: list[Sequence] = []
        self.waiting: Waiting[Sequence] = Waiting(by_priority=limits.by_priority)
        self.counts = PrefixCounts()
        self._is_grouped = limits.full_groups > 1 or limits.sliding_groups > 0
        self.groups = limits.full_groups + limits.sliding_groups
        """Blocks that a decode takes at most where it needs new ones."""

    def add(self, sequence: Sequence) -> None:
        """A new request waits."""
        self.waiting.push(sequence)

    def remove(self, sequence: Sequence) -> None:
        """A request is gone: finished or aborted. Its blocks are free, their contents stay cached."""
        if sequence.is_waiting:
            self.waiting.remove(sequence)
        elif sequence.is_running:
            sequence.is_running = False
            self.running.remove(sequence)
        self._free(sequence)

    def remove_finished(self, sequences: list[Sequence]) -> None:
        """Many running ones at once."""
        for sequence in sequences:
            sequence.is_running = False
            self._free(sequence)
        self.running = [s for s in self.running if s.is_running]

    def _free(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        if sequence.more_blocks:
            self.pool.release(sequence.more_blocks)
            sequence.more_blocks = []
        sequence.blocks = []
        sequence.remembered = 0

    def schedule(self) -> Batch:
        """Decides the next step; computed counts move when `finish` is called."""
        batch = Batch()
        budget = self._schedule_running(batch, self.limits.max_num_batched_tokens)
        if not batch.preempted:
            self._schedule_waiting(batch, budget)
        return batch

    def _schedule_running(self, batch: Batch, budget: int) -> int:
        block_size = self.limits.block_size
        index = 0
        while index < len(self.running) and budget > 0:
            sequence = self.running[index]
            if sequence.is_ended:
                index += 1
                continue
            count = min(sequence.length - sequence.computed, budget)
            if self._is_grouped or sequence.computed + count > len(sequence.blocks) * block_size:
                while not self._grow(sequence, count):
                    victim, given_back = self._preempt(batch)
                    budget += given_back
                    if victim is sequence:
                        return budget
                    index -= given_back > 0
            if (sequence.computed + count) // block_size > sequence.remembered:
                self.remember(sequence, sequence.computed + count)
            batch.shares.append((sequence, count))
            budget -= count
            index += 1
        return budget

    def _grow(self, sequence: Sequence, count: int) -> bool:
        """Blocks for `count` more tokens; False, and nothing taken, where there are too few."""
        end = sequence.computed + count
        missing = -(-end // self.limits.block_size) - len(sequence.blocks)
        more = self._let_go(sequence, end) if self._is_grouped else 0
        if missing + more > self.pool.free:
            return False
        if missing > 0:
            sequence.blocks.extend(self.pool.take(missing))
        if more:
            sequence.more_blocks.extend(self.pool.take(more))
        return True

    def _let_go(self, sequence: Sequence, end: int) -> int:
        """Frees what has left the window; how many blocks of further groups are missing for tokens up to `end`."""
        wanted = self.limits.more_blocks(sequence.computed, end) - len(sequence.more_blocks)
        if wanted < 0:
            self.pool.release(sequence.more_blocks[:-wanted])
            del sequence.more_blocks[:-wanted]
        return max(0, wanted)

    def hold_computed(self, sequence: Sequence) -> None:
        """Brings the blocks of a decoding request up to what it has computed, as step by step would have."""
        if self._is_grouped or sequence.computed > len(sequence.blocks) * self.limits.block_size:
            sequence.computed -= 1
            self._grow(sequence, 1)
            sequence.computed += 1

    def _preempt(self, batch: Batch) -> tuple[Sequence, int]:
        """Sends one running request back to wait; also the tokens it had been given in this step already.

        A block that those tokens would have filled is announced as cached though it is not computed now. It is the
        victim's last, freed first, and the request that wants it gets more blocks than were free before: it is taken.
        """
        if self.limits.by_priority:
            victim = max((s for s in self.running if not s.is_ended), key=lambda s: s.rank)
            self.running.remove(victim)
        else:
            victim = self.running.pop()
        given_back = 0
        for place, (sequence, count) in enumerate(batch.shares):
            if sequence is victim:
                given_back = count
                del batch.shares[place]
                break
        self._free(victim)
        victim.computed = 0
        victim.is_running = False
        if victim.is_ended:
            return victim, 0
        victim.preemptions += 1
        self.waiting.push_front(victim)
        self.counts.preemptions += 1
        batch.preempted += 1
        return victim, given_back

    def _schedule_waiting(self, batch: Batch, budget: int) -> None:
        limits = self.limits
        while budget > 0 and len(self.running) < limits.max_num_seqs:
            sequence = self.waiting.peek()
            if sequence is None:
                return
            matched = self._match(sequence)
            computed = len(matched) * limits.block_size
            count = sequence.length - computed
            if count > budget:
                if not limits.enable_chunked_prefill:
                    return
                count = budget
            if not self._admit(sequence, matched, computed + count):
                return
            self.waiting.pop()
            sequence.is_running = True
            self.running.append(sequence)
            self._count_prefix(sequence, computed, batch)
            self.remember(sequence, computed + count)
            batch.shares.append((sequence, count))
            budget -= count

    def _match(self, sequence: Sequence) -> list[int]:
        """Cached blocks of a waiting request, short of its last token, which must be computed to say what follows."""
        size = self.limits.block_size
        sequence.hash_blocks(sequence.length // size, size)
        return self.pool.match(sequence.hashes, (sequence.length - 1) // size)

    def _admit(self, sequence: Sequence, matched: list[int], tokens: int) -> bool:
        """Gives a waiting request its blocks, if its whole prompt would fit now."""
        size, limits = self.limits.block_size, self.limits
        room = self.pool.free - self.pool.idle(matched)
        computed = len(matched) * size
        more = 0
        if self._is_grouped:
            more = limits.more_blocks(computed, tokens)
            room -= max(more, limits.more_blocks(sequence.length - limits.max_num_batched_tokens, sequence.length))
        if -(-sequence.length // size) - len(matched) > room:
            return False
        self.pool.hold(matched)
        sequence.blocks = matched + self.pool.take(-(-tokens // size) - len(matched))
        sequence.more_blocks = self.pool.take(more) if more else []
        sequence.computed = computed
        sequence.remembered = len(matched)
        return True

    def _count_prefix(self, sequence: Sequence, computed: int, batch: Batch) -> None:
        if sequence.preemptions == 0:
            self.counts.queries += sequence.length
            self.counts.hits += computed
        if sequence.cached_tokens < 0:
            sequence.cached_tokens = computed
            batch.fresh.append(sequence)

    def remember(self, sequence: Sequence, tokens: int) -> None:
        """Full blocks become known when they are scheduled: a later request of the same step may already share them."""
        size = self.limits.block_size
        full = tokens // size
        sequence.hash_blocks(full, size)
        for place in range(sequence.remembered, full):
            self.pool.remember(sequence.blocks[place], sequence.hashes[place])
        sequence.remembered = max(sequence.remembered, full)

    def finish(self, batch: Batch) -> list[Sequence]:
        """Moves the computed counts and sums up the batch; returns those whose next token is now known."""
        ready: list[Sequence] = []
        decodes = context = 0
        for sequence, count in batch.shares:
            start = sequence.computed
            end = sequence.computed = start + count
            if count == 1 and start >= sequence.prompt_tokens:
                decodes += 1
                context += end
            else:
                batch.prefill_tokens += count
                batch.prefill_requests += 1
                batch.prefill_pairs += count * (start + count / 2)
            if end == sequence.length:
                ready.append(sequence)
        batch.decode_tokens = decodes
        batch.decode_context = context
        return ready
