"""A generation leaves nothing behind, however it ends."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from simulate.io.engine.running import PATIENCE_S, Connection, RunningEngine, running_engine

SLOW = 0.001
"""Speed at which no request ends while a test runs."""
LABELS = '{engine="0",model_name="tiny"}'


def gauge(engine: RunningEngine, name: str) -> float:
    return engine.metrics()[f"vllm:num_requests_{name}{LABELS}"]


def wait_until(is_true: Callable[[], bool]) -> None:
    """Asks again and again; each question is a round trip to the engine."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, "it never came true"


def begin(engine: RunningEngine, *, is_stream: bool, max_tokens: int = 900) -> Connection:
    connection = engine.connect()
    body = {"prompt": "hi", "max_tokens": max_tokens, "stream": is_stream, "ignore_eos": True}
    connection.send("POST", "/v1/completions", body)
    return connection


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_goes_away_takes_its_request_with_it(is_stream: bool) -> None:
    with running_engine(speed=SLOW) as engine:
        connection = begin(engine, is_stream=is_stream)
        wait_until(lambda: gauge(engine, "running") == 1)
        connection.close()
        wait_until(lambda: gauge(engine, "running") == 0)
        values = engine.metrics()

    finished = [value for name, value in values.items() if name.startswith("vllm:request_success_total")]
    assert sum(finished) == 0


def test_a_waiting_request_is_taken_back_too() -> None:
    with running_engine(speed=SLOW, max_num_seqs=1) as engine:
        first = begin(engine, is_stream=True)
        wait_until(lambda: gauge(engine, "running") == 1)
        second = begin(engine, is_stream=True)
        wait_until(lambda: gauge(engine, "waiting") == 1)
        second.close()
        wait_until(lambda: gauge(engine, "waiting") == 0)

        assert gauge(engine, "running") == 1
        first.close()


def test_a_half_closed_client_still_gets_its_answer() -> None:
    with running_engine() as engine, begin(engine, is_stream=False, max_tokens=5) as connection:
        answer = connection.read()

    assert answer.json["usage"]["completion_tokens"] == 5


def test_a_client_that_does_not_read_gets_every_token_later_in_few_chunks() -> None:
    with running_engine(speed=1e6) as engine:
        connection = Connection.__new__(Connection)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(PATIENCE_S)
        raw.connect(("127.0.0.1", engine.port))
        connection.socket, connection._file = raw, raw.makefile("rb")
        body = {"prompt": "hi", "max_tokens": 1000, "stream": True, "ignore_eos": True, "return_token_ids": True}
        connection.send("POST", "/v1/completions", body)
        wait_until(lambda: gauge(engine, "running") == 0)
        answer = connection.read()
        connection.close()

    ids = [i for event in answer.events[:-1] for i in event["choices"][0]["token_ids"]]
    assert len(ids) == 1000


def test_choices_are_counted_as_one_group() -> None:
    with running_engine() as engine:
        engine.post("/v1/completions", {"prompt": "hi", "n": 3, "max_tokens": 4, "ignore_eos": True})
        values = engine.metrics()

    assert values[f"vllm:request_params_n_sum{LABELS}"] == 3
    assert values[f"vllm:request_params_n_count{LABELS}"] == 1
    assert values[f"vllm:request_generation_tokens_count{LABELS}"] == 3
