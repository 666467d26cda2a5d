"""Continuous batching: who computes what in a step."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulate.engine.blocks import BlockPool
from penstock.simulate.engine.scheduler import Batch, Limits, Scheduler, Sequence

SIZE = 4


def _scheduler(
    *,
    blocks: int = 100,
    seqs: int = 8,
    budget: int = 32,
    chunked: bool = True,
    by_priority: bool = False,
    sliding: int = 0,
    window: int = 0,
) -> Scheduler:
    limits = Limits(
        max_num_seqs=seqs,
        max_num_batched_tokens=budget,
        block_size=SIZE,
        enable_chunked_prefill=chunked,
        by_priority=by_priority,
        sliding_groups=sliding,
        window=window,
    )
    return Scheduler(limits, BlockPool(blocks + 1))


def _sequence(number: int, tokens: list[int] | int, *, priority: int = 0, root: int = 0) -> Sequence:
    ids = [1000 * number + i for i in range(tokens)] if isinstance(tokens, int) else list(tokens)
    return Sequence(
        request_id=str(number), number=number, tokens=ids, arrival=float(number), priority=priority, root=root
    )


def _step(scheduler: Scheduler) -> tuple[Batch, dict[str, int]]:
    """One step; each ready request gets one more token, as the engine would do."""
    batch = scheduler.schedule()
    for sequence in scheduler.finish(batch):
        sequence.append(7)
    return batch, {s.id: n for s, n in batch.shares}


def test_prefill_is_cut_to_the_budget_and_decodes_go_first() -> None:
    scheduler = _scheduler(budget=10)
    scheduler.add(_sequence(1, 4))
    assert _step(scheduler)[1] == {"1": 4}
    scheduler.add(_sequence(2, 25))
    assert _step(scheduler)[1] == {"1": 1, "2": 9}
    assert _step(scheduler)[1] == {"1": 1, "2": 9}
    batch, shares = _step(scheduler)
    assert shares == {"1": 1, "2": 7}
    assert (batch.decode_tokens, batch.prefill_tokens, batch.decode_context) == (1, 7, 7)
    assert batch.prefill_pairs == 7 * (18 + 3.5)
    assert _step(scheduler)[1] == {"1": 1, "2": 1}


def test_without_chunks_a_prompt_waits_for_a_step_that_holds_it_whole() -> None:
    scheduler = _scheduler(budget=10, chunked=False)
    for number in (1, 2):
        scheduler.add(_sequence(number, 8))
    assert _step(scheduler)[1] == {"1": 8}
    assert _step(scheduler)[1] == {"1": 1, "2": 8}


def test_more_than_max_num_seqs_wait_in_order() -> None:
    scheduler = _scheduler(seqs=2)
    for number in range(4):
        scheduler.add(_sequence(number, 3))
    assert list(_step(scheduler)[1]) == ["0", "1"]
    assert len(scheduler.waiting) == 2
    scheduler.remove(scheduler.running[0])
    assert list(_step(scheduler)[1]) == ["1", "2"]


def test_second_request_computes_only_what_the_first_did_not() -> None:
    scheduler = _scheduler()
    prompt = list(range(11))
    scheduler.add(_sequence(1, prompt))
    _step(scheduler)
    scheduler.add(_sequence(2, [*prompt, 50]))
    assert _step(scheduler)[1]["2"] == 12 - 8
    assert scheduler.running[1].cached_tokens == 8
    assert (scheduler.counts.queries, scheduler.counts.hits) == (23, 8)


def test_the_last_token_of_a_cached_prompt_is_computed_again() -> None:
    scheduler = _scheduler()
    prompt = list(range(2 * SIZE))
    scheduler.add(_sequence(1, prompt))
    _step(scheduler)
    scheduler.add(_sequence(2, prompt))
    assert _step(scheduler)[1]["2"] == SIZE


def test_two_of_one_step_share_a_prefix_that_the_first_computes() -> None:
    scheduler = _scheduler()
    for number in (1, 2):
        scheduler.add(_sequence(number, [*range(8), 100 + number]))
    assert _step(scheduler)[1] == {"1": 9, "2": 1}


def test_salt_sets_prefixes_apart() -> None:
    scheduler = _scheduler()
    for number in (1, 2):
        scheduler.add(_sequence(number, list(range(9)), root=number))
    assert _step(scheduler)[1] == {"1": 9, "2": 9}


def test_generated_tokens_are_cached_for_the_next_turn() -> None:
    scheduler = _scheduler()
    first = _sequence(1, 5)
    scheduler.add(first)
    for _ in range(8):
        _step(scheduler)
    scheduler.remove(first)
    scheduler.add(_sequence(2, [*(first.ids or [])[:12], 1, 2]))
    assert _step(scheduler)[1] == {"2": 2}


def test_when_blocks_run_out_the_last_one_is_preempted_and_comes_back_first() -> None:
    scheduler = _scheduler(blocks=4)
    first, second = _sequence(1, 8), _sequence(2, 8)
    scheduler.add(first)
    scheduler.add(second)
    assert _step(scheduler)[1] == {"1": 8, "2": 8}
    scheduler.add(_sequence(3, 2))
    batch, shares = _step(scheduler)
    assert shares == {"1": 1}  # needs a third block: the second request gives up its two
    assert (batch.preempted, second.preemptions, second.computed, second.blocks) == (1, 1, 0, [])
    assert scheduler.waiting.peek() is second
    scheduler.remove(first)
    assert list(_step(scheduler)[1]) == ["2", "3"]


def test_a_prompt_that_would_not_fit_whole_does_not_start() -> None:
    scheduler = _scheduler(blocks=4, budget=4)
    scheduler.add(_sequence(1, 8))
    _step(scheduler)
    scheduler.add(_sequence(2, 12))
    assert list(_step(scheduler)[1]) == ["1"]
    assert len(scheduler.waiting) == 1


def test_by_priority_the_urgent_one_goes_first_and_the_least_urgent_is_preempted() -> None:
    scheduler = _scheduler(blocks=4, by_priority=True)
    scheduler.add(_sequence(1, 8, priority=5))
    _step(scheduler)
    scheduler.add(_sequence(2, 4, priority=5))
    scheduler.add(_sequence(3, 4, priority=0))
    assert list(_step(scheduler)[1]) == ["1", "3"]
    batch, shares = _step(scheduler)
    assert batch.preempted == 1
    assert shares == {"3": 1}


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 20), st.integers(0, 2), st.integers(-1, 1)),
        st.tuples(st.just("step"), st.integers(1, 4)),
        st.tuples(st.just("remove"), st.integers(0, 99)),
    ),
    max_size=60,
)


class _Watched:
    """A scheduler with everything that was ever asked of it, and the laws it has to keep."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.live: list[Sequence] = []
        self.computed_hashes: set[int] = set()
        self.added = 0

    def add(self, length: int, family: int, priority: int) -> None:
        self.added += 1
        prompt = [family * 100 + i for i in range(length)]
        sequence = _sequence(self.added, prompt, priority=priority)
        self.live.append(sequence)
        self.scheduler.add(sequence)

    def step(self) -> None:
        already = {id(s) for s in self.scheduler.running}
        batch = self.scheduler.schedule()
        limits = self.scheduler.limits
        assert sum(n for _, n in batch.shares) <= limits.max_num_batched_tokens
        assert all(n > 0 for _, n in batch.shares)
        for sequence, count in batch.shares:
            if id(sequence) not in already:
                skipped = sequence.computed // SIZE
                assert set(sequence.hashes[:skipped]) <= self.computed_hashes
                assert sequence.computed < sequence.length
            full = (sequence.computed + count) // SIZE
            self.computed_hashes.update(sequence.hashes[:full])
        for sequence in self.scheduler.finish(batch):
            sequence.append(7)

    def check(self) -> None:
        scheduler, pool = self.scheduler, self.scheduler.pool
        assert len(scheduler.running) <= scheduler.limits.max_num_seqs
        assert len(scheduler.running) + len(scheduler.waiting) == len(self.live)
        held = Counter(b for s in self.live for b in s.blocks)
        assert pool.free + len(held) == pool.usable
        assert all(pool.holders(b) == count for b, count in held.items())
        owners: dict[int, set[tuple[int, int]]] = {}
        for sequence in self.live:
            assert len(set(sequence.blocks)) == len(sequence.blocks)
            assert len(sequence.blocks) * SIZE >= sequence.computed
            for place, block in enumerate(sequence.blocks):
                if held[block] > 1:
                    owners.setdefault(block, set()).add((place, sequence.hashes[place]))
        assert all(len(contents) == 1 for contents in owners.values())


@settings(max_examples=150, deadline=None)
@given(
    ops=OPS, blocks=st.integers(16, 30), seqs=st.integers(1, 4), budget=st.integers(1, 24), by_priority=st.booleans()
)
def test_laws_hold_after_every_event(
    ops: list[tuple[str, int, int, int]], blocks: int, seqs: int, budget: int, by_priority: bool
) -> None:
    watched = _Watched(_scheduler(blocks=blocks, seqs=seqs, budget=budget, by_priority=by_priority))
    for op, *numbers in ops:
        if op == "add":
            watched.add(*numbers)
        elif op == "remove" and watched.live:
            sequence = watched.live.pop(numbers[0] % len(watched.live))
            watched.scheduler.remove(sequence)
        elif op == "step":
            for _ in range(numbers[0]):
                watched.step()
                for sequence in [s for s in watched.live if s.length > 40]:
                    watched.live.remove(sequence)
                    watched.scheduler.remove(sequence)
        watched.check()


def _held(scheduler: Scheduler) -> int:
    return scheduler.pool.usable - scheduler.pool.free


def test_sliding_layers_hold_their_window_only_and_a_prompt_of_many_steps_what_each_step_needs() -> None:
    scheduler = _scheduler(sliding=2, window=9, budget=32)
    scheduler.add(_sequence(1, 64))
    _step(scheduler)
    assert _held(scheduler) == 8 + 2 * 8  # 32 tokens, nothing out of the window yet
    _step(scheduler)
    assert _held(scheduler) == 16 + 2 * 10  # tokens 24 to 63: eight of the 32 before are still seen
    _step(scheduler)
    assert _held(scheduler) == 17 + 2 * 3  # one more, and the nine that it sees


def test_a_long_answer_of_a_hybrid_takes_blocks_of_the_full_layers_alone() -> None:
    scheduler = _scheduler(sliding=3, window=8)
    scheduler.add(_sequence(1, 16))
    held = []
    for _ in range(200):
        _step(scheduler)
        held.append(_held(scheduler) - -(-scheduler.running[0].computed // SIZE))
    assert max(held[20:]) <= 3 * 3
    assert min(held[20:]) >= 3 * 2


def test_a_hybrids_prompt_waits_until_all_its_groups_have_room() -> None:
    scheduler = _scheduler(blocks=20, sliding=1, window=40)
    scheduler.add(_sequence(1, 24))
    scheduler.add(_sequence(2, 24))
    assert set(_step(scheduler)[1]) == {"1"}


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 40)), min_size=1, max_size=8),
    sliding=st.integers(0, 3),
    window=st.integers(1, 30),
)
def test_whatever_the_groups_all_blocks_come_back(lengths: list[tuple[int, int]], sliding: int, window: int) -> None:
    scheduler = _scheduler(blocks=120, sliding=sliding, window=window, budget=24)
    left = {}
    for number, (prompt, output) in enumerate(lengths):
        scheduler.add(_sequence(number, prompt))
        left[str(number)] = output
    for _ in range(3000):
        batch = scheduler.schedule()
        if not batch.shares:
            break
        for sequence in scheduler.finish(batch):
            sequence.append(7)
            left[sequence.id] -= 1
            if not left[sequence.id]:
                scheduler.remove(sequence)
    assert not any(left.values())
    assert scheduler.pool.free == scheduler.pool.usable
