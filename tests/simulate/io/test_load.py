from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from fakes.engine import FakeEngine, Fault
from penstock.simulate.io import load
from penstock.simulate.io.calls import Target
from penstock.simulate.io.load import LoadPlan, LoadRun, RequestShape, run_load
from penstock.simulate.workload import Sample, Session, TraceRequest, generate


def at(*times: float, tokens: int = 4) -> Iterator[Session]:
    for at_s in times:
        yield Session(turns=(TraceRequest(at_s=at_s, prompt_tokens=20, output_tokens=tokens),))


def endless() -> Iterator[Session]:
    return generate("poisson", seed=1, rate=1000.0)


async def run(plan: LoadPlan, engine: FakeEngine, stop: asyncio.Event | None = None) -> LoadRun:
    return await run_load(plan, Target.of(engine.origin, engine.key), stop=stop or asyncio.Event())


def run_whole(plan: LoadPlan, engine: FakeEngine) -> LoadRun:
    async def main() -> LoadRun:
        async with engine:
            return await run(plan, engine)

    return asyncio.run(main())


def test_an_open_loop_sends_everything_at_its_time_and_never_early() -> None:
    done = run_whole(LoadPlan(sessions=at(0.0, 0.02, 0.05), model="chat"), FakeEngine())

    samples = sorted(done.samples, key=lambda s: s.due_s)
    assert [s.due_s for s in samples] == [0.0, 0.02, 0.05]
    assert all(s.sent_s >= s.due_s for s in samples)
    assert all(s.failure is None and s.output_tokens == 4 for s in samples)


def test_an_open_loop_does_not_wait_for_slow_answers() -> None:
    async def main() -> None:
        engine = FakeEngine(step=asyncio.Event())
        async with engine, asyncio.TaskGroup() as group:
            task = group.create_task(run(LoadPlan(sessions=at(*[0.0] * 12), model="chat"), engine))
            await engine.reached(12)
            assert engine.step is not None
            engine.step.set()
            assert len((await task).samples) == 12

    asyncio.run(main())


def test_over_the_bound_arrivals_wait_and_the_wait_is_in_their_times() -> None:
    async def main() -> None:
        engine = FakeEngine(step=asyncio.Event())
        plan = LoadPlan(sessions=at(0.0, 0.0, 0.0), model="chat", in_flight_max=2)
        async with engine, asyncio.TaskGroup() as group:
            task = group.create_task(run(plan, engine))
            await engine.reached(2)
            assert engine.step is not None
            engine.step.set()
            done = await task
        assert engine.in_flight_max == 2
        last = max(done.samples, key=lambda s: s.sent_s)
        assert last.sent_s >= min(s.done_s for s in done.samples)
        assert last.due_s == 0.0
        assert last.ttft_ms is not None
        assert last.ttft_ms >= last.sent_s * 1000

    asyncio.run(main())


def test_a_closed_loop_keeps_its_number_in_flight_and_stops_at_the_bound() -> None:
    engine = FakeEngine()

    done = run_whole(LoadPlan(sessions=endless(), model="chat", concurrency=3, requests_max=40), engine)

    assert len(done.samples) == len(engine.requests) == 40
    assert engine.in_flight_max <= 3
    assert all(s.due_s <= s.sent_s for s in done.samples)


@pytest.mark.parametrize("concurrency", [None, 4])
def test_a_number_of_requests_is_exact_in_both_loops(concurrency: int | None) -> None:
    plan = LoadPlan(sessions=endless(), model="chat", concurrency=concurrency, requests_max=25)

    assert len(run_whole(plan, FakeEngine(tokens=1)).samples) == 25


@pytest.mark.parametrize("concurrency", [None, 2])
def test_sending_ends_with_the_duration_and_answers_are_waited_for(concurrency: int | None) -> None:
    plan = LoadPlan(sessions=endless(), model="chat", concurrency=concurrency, duration_s=0.05)

    done = run_whole(plan, FakeEngine(tokens=2))

    assert done.samples
    assert all(s.due_s < 0.05 and s.failure is None for s in done.samples)
    assert done.unfinished == 0


def test_turns_of_a_session_follow_one_another_and_stop_at_a_failure() -> None:
    turns = tuple(TraceRequest(at_s=0.0, prompt_tokens=5 + n, output_tokens=1, gap_s=0.001) for n in range(3))
    engine = FakeEngine()

    done = run_whole(LoadPlan(sessions=iter([Session(turns=turns)]), model="chat"), engine)

    assert [s.prompt_tokens_wanted for s in done.samples] == [5, 6, 7]
    assert all(b.due_s >= a.done_s + 0.001 for a, b in zip(done.samples, done.samples[1:], strict=False))
    assert engine.in_flight_max == 1

    broken = FakeEngine(fault=Fault.STATUS_500)
    assert len(run_whole(LoadPlan(sessions=iter([Session(turns=turns)]), model="chat"), broken).samples) == 1


def test_failures_are_samples_and_the_run_goes_on() -> None:
    done = run_whole(LoadPlan(sessions=at(0.0, 0.0, 0.01), model="chat"), FakeEngine(fault=Fault.CUT_STREAM))

    assert [s.failure.kind for s in done.samples if s.failure] == ["truncated"] * 3


def test_stopping_keeps_what_is_done_and_counts_what_is_not() -> None:
    async def main() -> None:
        engine, stop = FakeEngine(fault=Fault.HANG), asyncio.Event()
        async with engine, asyncio.TaskGroup() as group:
            task = group.create_task(run(LoadPlan(sessions=at(0.0, 0.0, 3600.0), model="chat"), engine, stop))
            await engine.reached(2)
            stop.set()
            done = await task
        assert done.samples == []
        assert done.unfinished == 2

    asyncio.run(main())


def test_requests_ask_for_the_exact_output_as_a_stream_with_usage() -> None:
    engine = FakeEngine()
    run_whole(LoadPlan(sessions=at(0.0, tokens=7), model="chat"), engine)

    (asked,) = engine.requests
    assert (asked["model"], asked["max_tokens"], asked["ignore_eos"], asked["stream"]) == ("chat", 7, True, True)
    assert asked["stream_options"] == {"include_usage": True}
    assert len(asked["messages"][0]["content"].split()) == 20


def test_completions_without_stream_or_extension_ask_for_just_that() -> None:
    engine = FakeEngine()
    shape = RequestShape(api="completions", is_stream=False, ignores_eos=False)

    done = run_whole(LoadPlan(sessions=at(0.0), model="chat", shape=shape), engine)

    (asked,) = engine.requests
    assert set(asked) == {"model", "max_tokens", "temperature", "prompt"}
    assert done.samples[0].first_s is None
    assert done.samples[0].output_tokens == 4


def test_the_same_seed_sends_the_same_prompts() -> None:
    first, second, other = FakeEngine(), FakeEngine(), FakeEngine()
    run_whole(LoadPlan(sessions=at(0.0), model="chat", seed=1), first)
    run_whole(LoadPlan(sessions=at(0.0), model="chat", seed=1), second)
    run_whole(LoadPlan(sessions=at(0.0), model="chat", seed=2), other)

    assert first.requests == second.requests != other.requests


def test_every_sample_is_told_as_it_comes() -> None:
    told: list[Sample] = []

    async def main() -> LoadRun:
        async with FakeEngine() as engine:
            plan = LoadPlan(sessions=at(0.0, 0.0), model="chat")
            return await run_load(plan, Target.of(engine.origin), stop=asyncio.Event(), on_sample=told.append)

    assert asyncio.run(main()).samples == told


def test_gaps_over_the_bound_are_dropped_and_figures_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_GAPS_MAX", 5)

    done = run_whole(LoadPlan(sessions=at(0.0, 0.0, 0.0), model="chat", concurrency=1), FakeEngine())

    assert [len(s.gaps_s) for s in done.samples] == [3, 0, 0]
    assert all(s.tpot_ms is not None for s in done.samples)


def test_the_client_measures_itself() -> None:
    async def main() -> LoadRun:
        stop = asyncio.Event()
        looks = count()

        def clock() -> float:  # every look is half a second later: this client is slow
            look = next(looks)
            if look == 20:
                stop.set()
            return look * 0.5

        async with FakeEngine(fault=Fault.HANG) as engine:
            plan = LoadPlan(sessions=at(0.0), model="chat", concurrency=1)
            return await run_load(plan, Target.of(engine.origin), stop=stop, clock=clock)

    health = asyncio.run(main()).client

    assert health.lag_ms.p50 is not None
    assert health.lag_ms.p50 >= 480  # half a second or more after the 20 ms that it wanted to sleep
    assert "event loop late" in health.warning
