"""The engine as its driver sees it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.facts import find_gpu, find_model
from penstock.simulate.engine.core import Engine
from penstock.simulate.engine.generation import Continuation
from penstock.simulate.engine.messages import EngineConfig, EngineRequest, StepResult, TokenOutput
from penstock.simulate.engine.text import chat_template, tokenizer

T = tokenizer()
LLAMA, H100 = find_model("Llama-3.1-8B"), find_gpu("H100")
PROMPT = chat_template([{"role": "user", "content": "Tell me of the river, the valve and the turbine."}])


def _engine(**changes: Any) -> Engine:
    settings_: dict[str, Any] = {"model": LLAMA, "gpu": H100, "max_model_len": 512, "num_gpu_blocks": 200} | changes
    return Engine(EngineConfig(**settings_))


def _request(request_id: str = "r", **changes: Any) -> EngineRequest:
    return EngineRequest(**({"id": request_id, "prompt_ids": PROMPT, "max_tokens": 20} | changes))


def _run(engine: Engine, now: float = 0.0, steps_max: int = 5000) -> tuple[list[TokenOutput], float]:
    outputs: list[TokenOutput] = []
    for _ in range(steps_max):
        if not engine.has_work:
            return outputs, now
        result = engine.step(now)
        now = result.ends_at
        outputs.extend(result.outputs)
    pytest.fail(f"work is left after {steps_max} steps: {engine.stats()}")


def _ids(outputs: list[TokenOutput], request_id: str = "r") -> list[int]:
    return [i for o in outputs if o.request_id == request_id for i in o.token_ids]


def test_request_gets_its_tokens_one_a_step_and_ends_by_length() -> None:
    engine = _engine()
    engine.submit(_request(ignore_eos=True), 5.0)
    outputs, _ = _run(engine, 5.0)
    assert [len(o.token_ids) for o in outputs] == [1] * 20
    assert [o.first for o in outputs] == [True] + [False] * 19
    assert [o.finish_reason for o in outputs] == [None] * 19 + ["length"]
    times = outputs[-1].times
    assert times is not None
    assert times.arrival == times.scheduled_at == 5.0 < times.first_token_at < times.finished_at
    assert not engine.is_live("r")


def test_text_is_that_of_the_continuation_whatever_else_runs() -> None:
    alone = Continuation(PROMPT, 3)
    expected = []
    for _ in range(20):
        expected.append(alone.next_id(allow_eos=False))
        alone.append(expected[-1])
    engine = _engine(max_num_batched_tokens=16)
    for number in range(10):
        engine.submit(_request(str(number), prompt_ids=PROMPT[: 5 + number], max_tokens=40), 0.0)
    engine.submit(_request(seed=3, ignore_eos=True), 0.0)
    assert _ids(_run(engine)[0]) == expected


@given(cut=st.integers(0, 59), seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_request_continued_on_another_engine_gives_the_same_rest(cut: int, seed: int) -> None:
    first, second = _engine(), _engine(speed=7.0, max_num_batched_tokens=8)
    first.submit(_request(seed=seed, max_tokens=60, ignore_eos=True), 0.0)
    whole = _ids(_run(first)[0])
    second.submit(_request(seed=seed, prompt_ids=PROMPT + whole[:cut], max_tokens=60 - cut, ignore_eos=True), 9.0)
    assert _ids(_run(second)[0]) == whole[cut:]


def test_end_of_sequence_ends_and_is_the_last_token() -> None:
    engine = _engine(max_model_len=4096, num_gpu_blocks=300)
    engine.submit(_request(max_tokens=4000), 0.0)
    outputs, _ = _run(engine)
    assert outputs[-1].finish_reason == "stop"
    assert outputs[-1].stop_reason is None
    assert outputs[-1].token_ids == (T.eos_id,)


def test_nothing_ends_before_min_tokens() -> None:
    seed = next(s for s in itertools.count() if _length(s, 0) < 10)
    assert _length(seed, 30) >= 30


def _length(seed: int, min_tokens: int) -> int:
    engine = _engine()
    engine.submit(_request(seed=seed, min_tokens=min_tokens, max_tokens=200), 0.0)
    return len(_ids(_run(engine)[0]))


def test_stop_token_ends_and_is_named() -> None:
    engine = _engine()
    engine.submit(_request(ignore_eos=True), 0.0)
    stop = _ids(_run(engine)[0])[5]
    engine.submit(_request("s", ignore_eos=True, stop_token_ids=frozenset({stop})), 0.0)
    last = _run(engine)[0][-1]
    assert (last.finish_reason, last.stop_reason, last.token_ids[-1]) == ("stop", stop, stop)


def test_forced_output_is_given_token_by_token_then_ends() -> None:
    engine = _engine()
    forced = tuple(T.encode('{"a": 1}'))
    engine.submit(_request(forced_ids=forced), 0.0)
    outputs, _ = _run(engine)
    assert _ids(outputs) == [*forced, T.eos_id]
    assert outputs[-1].finish_reason == "stop"
    engine.submit(_request(forced_ids=forced, max_tokens=2), 0.0)
    assert _run(engine)[0][-1].finish_reason == "length"


def test_context_ends_at_max_model_len() -> None:
    engine = _engine(max_model_len=len(PROMPT) + 7)
    engine.submit(_request(ignore_eos=True, max_tokens=1000), 0.0)
    outputs, _ = _run(engine)
    assert len(_ids(outputs)) == 7
    assert outputs[-1].finish_reason == "length"


def test_embedding_is_one_output_without_tokens() -> None:
    engine = Engine(EngineConfig(model=find_model("all-MiniLM-L6-v2"), gpu=H100))
    engine.submit(_request(task="embed", max_tokens=1), 0.0)
    (output,) = _run(engine)[0]
    assert (output.token_ids, output.finish_reason, output.first) == ((), "stop", True)
    assert engine.stats().generation_tokens == 0


def test_second_request_reports_what_was_cached() -> None:
    engine = _engine()
    engine.submit(_request("a"), 0.0)
    _run(engine)
    engine.submit(_request("b"), 0.0)
    outputs, _ = _run(engine)
    cached = (len(PROMPT) - 1) // 16 * 16
    assert outputs[0].cached_tokens == cached > 0
    stats = engine.stats()
    assert (stats.prefix_queries, stats.prefix_hits) == (2 * len(PROMPT), cached)
    assert (stats.prompt_tokens, stats.cached_tokens) == (2 * len(PROMPT), cached)
    engine.reset_prefix_cache()
    engine.submit(_request("c"), 0.0)
    assert _run(engine)[0][0].cached_tokens == 0


def test_abort_frees_everything_at_once() -> None:
    engine = _engine()
    engine.submit(_request(), 0.0)
    engine.step(0.0)
    assert engine.stats().running == 1
    assert engine.abort("r", 0.1)
    assert not engine.abort("r", 0.2)
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.kv_usage) == (0, 0, 0.0)
    assert not engine.has_work


def test_preempted_request_says_the_same_as_an_undisturbed_one() -> None:
    calm, tight = _engine(num_gpu_blocks=400), _engine(max_model_len=160, num_gpu_blocks=24)
    for engine in (calm, tight):
        for number in range(4):
            engine.submit(_request(str(number), seed=number, max_tokens=100, ignore_eos=True), 0.0)
    outputs = {engine: _run(engine)[0] for engine in (calm, tight)}
    assert tight.stats().preemptions > 0
    assert calm.stats().preemptions == 0
    for number in range(4):
        assert _ids(outputs[tight], str(number)) == _ids(outputs[calm], str(number))
    last = [o.times for o in outputs[tight] if o.times]
    assert sum(t.preemptions for t in last) == tight.stats().preemptions


def test_urgent_request_overtakes_under_the_priority_policy() -> None:
    engine = _engine(policy="priority", max_num_seqs=1)
    for name, priority in (("late", 5), ("urgent", -1), ("normal", 0)):
        engine.submit(_request(name, priority=priority, max_tokens=3), 0.0)
    ended = [o.request_id for o in _run(engine)[0] if o.finish_reason]
    assert ended == ["urgent", "normal", "late"]


def test_speed_shortens_steps_and_a_larger_gpu_too() -> None:
    def total(**changes: Any) -> float:
        engine = _engine(**changes)
        engine.submit(_request(ignore_eos=True), 0.0)
        return _run(engine)[1]

    assert total(speed=10.0) == pytest.approx(total() / 10)
    assert total(gpu=find_gpu("B200")) < total() < total(gpu=find_gpu("L4"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_ids": []}, "at least one prompt token"),
        ({"max_tokens": 0}, "one token to generate"),
        ({"prompt_ids": [1] * 512}, "does not fit a context of 512"),
    ],
)
def test_request_that_can_never_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _engine().submit(_request(**changes), 0.0)


def test_live_id_is_refused_and_may_come_again_when_it_ended() -> None:
    engine = _engine()
    engine.submit(_request(), 0.0)
    with pytest.raises(ValueError, match="live already"):
        engine.submit(_request(), 0.0)
    _run(engine)
    engine.submit(_request(), 0.0)


def test_engine_that_cannot_hold_one_full_request_says_what_would() -> None:
    with pytest.raises(UsageError, match="max-model-len 512 needs 33 KV blocks") as caught:
        _engine(num_gpu_blocks=10)
    assert "--max-model-len 144" in str(caught.value.hint)


def test_blocks_come_from_the_memory_of_the_gpu() -> None:
    engine = Engine(EngineConfig(model=LLAMA, gpu=H100, max_model_len=8192))
    assert engine.num_gpu_blocks * 16 == pytest.approx(460_000, rel=0.05)


REQUESTS = st.lists(
    st.tuples(
        st.integers(1, 60),  # prompt tokens
        st.integers(1, 40),  # max tokens
        st.integers(0, 3),  # family of prompts that share a prefix
        st.floats(0, 0.2),  # arrival
        st.booleans(),  # aborted a little later
    ),
    min_size=1,
    max_size=15,
)


def _play(spec: list[tuple[int, int, int, float, bool]], **changes: Any) -> tuple[list[TokenOutput], list[StepResult]]:
    """All requests of `spec` in virtual time."""
    engine = _engine(max_model_len=128, **changes)
    events = [(at, 0, n) for n, (*_, at, _a) in enumerate(spec)]
    events += [(at + 0.05, 1, n) for n, (*_, at, is_aborted) in enumerate(spec) if is_aborted]
    events.sort()
    now, outputs, steps = 0.0, [], []
    while events or engine.has_work:
        if not engine.has_work:
            now = max(now, events[0][0])
        while events and events[0][0] <= now:
            _, is_abort, number = events.pop(0)
            if is_abort:
                engine.abort(str(number), now)
            else:
                length, most, family, *_ = spec[number]
                prompt = [300 + family] * length
                engine.submit(_request(str(number), prompt_ids=prompt, max_tokens=most, seed=number), now)
        if engine.has_work:
            step = engine.step(now)
            assert step.ends_at > step.starts_at
            now = step.ends_at
            outputs.extend(step.outputs)
            steps.append(step)
        assert len(steps) < 20_000, "requests starve"
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.kv_usage) == (0, 0, 0.0)
    return outputs, steps


@settings(max_examples=60, deadline=None)
@given(spec=REQUESTS, blocks=st.integers(10, 30), seqs=st.integers(1, 6), budget=st.integers(1, 64))
def test_every_request_ends_exactly_once_within_all_bounds(
    spec: list[tuple[int, int, int, float, bool]], blocks: int, seqs: int, budget: int
) -> None:
    changes = {"num_gpu_blocks": blocks, "max_num_seqs": seqs, "max_num_batched_tokens": budget}
    outputs, steps = _play(spec, **changes)
    for step in steps:
        assert step.prefill_tokens + step.decode_tokens <= budget
        assert step.running <= seqs
    for number, (_, most, _f, _at, is_aborted) in enumerate(spec):
        mine = [o for o in outputs if o.request_id == str(number)]
        ends = [place for place, o in enumerate(mine) if o.finish_reason]
        assert ends == [len(mine) - 1] or (is_aborted and not ends)
        assert len(mine) <= most
        assert [o.first for o in mine] == [place == 0 for place in range(len(mine))]
    assert _play(spec, **changes) == (outputs, steps)
