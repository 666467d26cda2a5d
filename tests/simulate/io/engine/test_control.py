"""Faults on demand, and the routes that vLLM refuses."""

from __future__ import annotations

import socket
from queue import SimpleQueue

import pytest

from simulate.io.engine.running import PATIENCE_S, Connection, RunningEngine, running_engine

STREAM = {"prompt": "hi", "max_tokens": 40, "stream": True, "ignore_eos": True}


def tokens_until_cut(connection: Connection) -> int:
    """Chunks of a stream until its connection ends without the last chunk."""
    connection.read_head()
    chunks: list[bytes] = []
    with pytest.raises(ConnectionError):
        chunks.extend(iter(connection.read_chunk, b""))
    return len(chunks)


@pytest.mark.parametrize("at_token", [1, 7, 39])
def test_a_dropped_stream_has_as_many_tokens_as_asked_for(at_token: int) -> None:
    with running_engine(has_faults=True, speed=10.0) as engine:
        engine.post("/fault", {"mode": "drop", "at_token": at_token, "count": 1})
        with engine.connect() as connection:
            connection.send("POST", "/v1/completions", STREAM)
            assert tokens_until_cut(connection) == at_token
        assert engine.post("/v1/completions", STREAM).events[-1] == "[DONE]"
        assert engine.ask("GET", "/fault").json["happened"] == 1


def test_errors_come_in_vllms_shape_as_often_as_asked_for() -> None:
    with running_engine(has_faults=True) as engine:
        engine.post("/fault", {"mode": "error500", "count": 1})
        failed = engine.post("/v1/completions", STREAM)
        fine = engine.post("/v1/completions", STREAM)

    assert failed.status == 500
    assert failed.json["error"]["type"] == "InternalServerError"
    assert fine.status == 200


def test_a_hanging_engine_answers_health_and_nothing_else_until_it_heals() -> None:
    with running_engine(has_faults=True) as engine, engine.connect() as connection:
        engine.post("/fault", {"mode": "hang"})
        connection.send("POST", "/v1/completions", STREAM)
        status, _ = connection.read_head()
        assert (status, engine.ask("GET", "/health").status) == (200, 200)
        assert engine.metrics()['vllm:generation_tokens_total{engine="0",model_name="tiny"}'] == 0
        engine.post("/fault", {"mode": "none"})

        assert list(iter(connection.read_chunk, b""))[-1] == b"data: [DONE]\n\n"


def test_a_fault_heals_by_itself_after_its_time() -> None:
    with running_engine(has_faults=True) as engine:
        armed = engine.post("/fault", {"mode": "hang", "for_s": 0.05}).json

        assert armed["mode"] == "hang"
        assert engine.post("/v1/completions", STREAM).events[-1] == "[DONE]"
        assert engine.ask("GET", "/fault").json["mode"] == "none"


def test_a_refusing_engine_takes_no_connection_and_keeps_those_it_has() -> None:
    with running_engine(has_faults=True) as engine, engine.connect() as kept:
        kept.send("GET", "/health")
        kept.read()
        engine.post("/fault", {"mode": "refuse"})
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", engine.port), timeout=PATIENCE_S)
        kept.send("POST", "/fault", {"mode": "none"})

        assert kept.read().json["mode"] == "none"
        assert engine.ask("GET", "/health").status == 200


def test_a_crash_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: SimpleQueue[str] = SimpleQueue()
    with running_engine(has_faults=True) as engine:
        monkeypatch.setattr(engine.server.service, "crash", lambda: crashes.put("crashed"))
        engine.post("/fault", {"mode": "crash"})
        assert crashes.get(timeout=PATIENCE_S)

        engine.post("/fault", {"mode": "crash", "at_token": 2, "count": 1})
        engine.post("/v1/completions", STREAM)
        assert crashes.get(timeout=PATIENCE_S)
        assert engine.ask("GET", "/fault").json["happened"] == 1
    assert crashes.empty()


def test_slow_steps_take_their_factor() -> None:
    with running_engine(has_faults=True) as engine:
        engine.post("/fault", {"mode": "slow", "factor": 3.0})

        assert engine.server.service.faults.step_factor == 3.0
        assert engine.post("/v1/completions", STREAM).events[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("body", "param"), [({}, "body.mode"), ({"mode": "explode"}, "body.mode"), ({"mode": "drop", "x": 1}, "body.x")]
)
def test_a_fault_that_makes_no_sense_is_refused(body: dict[str, object], param: str) -> None:
    with running_engine(has_faults=True) as engine:
        answer = engine.post("/fault", body)

    assert (answer.status, answer.json["error"]["param"]) == (400, param)


@pytest.fixture(scope="module")
def asleep() -> object:
    with running_engine(has_dev_routes=True) as running:
        yield running


def test_a_sleeping_engine_says_so_and_wakes(asleep: RunningEngine) -> None:
    state = 'vllm:engine_sleep_state{engine="0",model_name="tiny",sleep_state="weights_offloaded"}'

    asleep.ask("POST", "/sleep?level=1")
    assert asleep.ask("GET", "/is_sleeping").json == {"is_sleeping": True}
    assert asleep.metrics()[state] == 1
    with asleep.connect() as connection:
        connection.send("POST", "/v1/completions", STREAM)
        assert asleep.ask("POST", "/wake_up").json == {"status": "awake", "tags": None}
        assert connection.read().events[-1] == "[DONE]"
    assert asleep.metrics()[state] == 0


def test_the_prefix_cache_can_be_forgotten(asleep: RunningEngine) -> None:
    assert asleep.ask("POST", "/reset_prefix_cache").status == 200


def test_what_is_not_simulated_is_checked_and_then_said(asleep: RunningEngine) -> None:
    scoring = asleep.post("/generative_scoring", {"query": "a", "items": ["b"], "label_token_ids": [1]})
    decision = asleep.post("/v1/systemone", {"state": 1, "questions": {}})

    assert [scoring.status, decision.status] == [501, 501]
    assert asleep.post("/scale_elastic_ep", {}).json["error"]["message"] == "Scale failed"
    assert asleep.ask("POST", "/is_scaling_elastic_ep").json == {"is_scaling_elastic_ep": False}
