from __future__ import annotations

import os
import signal
import threading
from itertools import repeat

import pytest

from fakes.engine import FakeEngine, serving
from penstock.cli.bench_run import first_model, measure_words_per_token, run_with_progress
from penstock.cli.bench_workload import Workload
from penstock.errors import PenstockError
from penstock.simulate.io.calls import Target
from penstock.simulate.io.load import LoadPlan
from penstock.simulate.workload import Session, TraceRequest

ONE = Session(turns=(TraceRequest(at_s=0.0, prompt_tokens=5, output_tokens=2),))


def test_ctrl_c_keeps_what_was_measured() -> None:
    answered = threading.Event()
    engine = FakeEngine()
    workload = Workload(sessions=repeat(ONE), words="", concurrency=2, duration_s=3600.0, requests=None)
    plan = LoadPlan(sessions=workload.sessions, model="chat", concurrency=2, duration_s=3600.0)

    def interrupt() -> None:
        while len(engine.requests) < 20:
            answered.wait(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    with serving(engine):
        thread = threading.Thread(target=interrupt)
        thread.start()
        run, was_stopped = run_with_progress(plan, Target.of(engine.origin), workload)
        thread.join()

    assert was_stopped
    assert len(run.samples) >= 17
    assert run.unfinished <= 2


def test_a_run_that_ends_by_itself_was_not_stopped() -> None:
    workload = Workload(sessions=iter([ONE]), words="", concurrency=None, duration_s=None, requests=None)
    with serving(FakeEngine()) as engine:
        run, was_stopped = run_with_progress(
            LoadPlan(sessions=workload.sessions, model="chat"), Target.of(engine.origin), workload
        )

    assert not was_stopped
    assert len(run.samples) == 1


def test_the_first_model_is_named_with_how_many_there_are() -> None:
    with serving(FakeEngine(models=["a", "b"])) as engine:
        assert first_model(Target.of(engine.origin)) == ("a", 2)


def test_an_api_without_models_is_told() -> None:
    with serving(FakeEngine(models=[])) as engine, pytest.raises(PenstockError, match="lists no model"):
        first_model(Target.of(engine.origin))


def test_a_listing_that_is_none_is_told() -> None:
    with serving(FakeEngine(listing="<html>")) as engine, pytest.raises(PenstockError, match="no list of models"):
        first_model(Target.of(engine.origin))


def test_a_missing_key_is_told_with_where_to_give_one() -> None:
    with serving(FakeEngine(key="secret")) as engine, pytest.raises(PenstockError, match=r"http_401[^$]*PENSTOCK_KEY"):
        first_model(Target.of(engine.origin))


@pytest.mark.parametrize(("tokens_per_word", "found"), [(None, 1.0), (1, 1.0), (2, 0.5), (0, 1.0), (1000, 0.1)])
def test_prompts_are_sized_by_the_engines_own_count_where_it_counts(tokens_per_word: int | None, found: float) -> None:
    with serving(FakeEngine(tokens_per_word=tokens_per_word)) as engine:
        assert measure_words_per_token(Target.of(engine.origin), "chat", 0) == found
