"""When a silence in mid-stream is a stall."""

from __future__ import annotations

import pytest

from penstock.serve.routing.endpoints import Endpoint, EngineSample
from penstock.serve.stall import CEILING_S, FLOOR_S, PROBE_S, has_stalled
from serve.exchanges import DONE, END, SSE_HEAD, Call, chunk, core
from serve.streams import chat, heard

EVENTS = [chunk(e) for e in [*chat(["a", "b", "c", "d"]), DONE]] + [END]


def begun(pace_s: float = 0.02) -> Call:
    call = Call(core(2), stream=True, temperature=0).send().engine(SSE_HEAD, *EVENTS[:3])
    endpoint = call.exchange.endpoint
    assert endpoint is not None
    endpoint.itl_s = pace_s
    return call


def test_a_stream_that_stalls_goes_on_elsewhere() -> None:
    call = begun().late(FLOOR_S - 0.1)
    assert len(call.dispatches) == 1
    call.late(0.2)
    assert sorted(call.tried) == ["chat-0", "chat-1"]
    call.engine(SSE_HEAD, *EVENTS).settled()
    assert (heard(call.client.body)[0, "content"], call.record.resumes) == ("abcd", 1)


def test_a_stream_whose_last_event_came_is_whole_though_its_connection_says_no_more() -> None:
    call = begun().engine(*EVENTS[3:-1]).late(FLOOR_S + 0.1).settled()
    assert (heard(call.client.body)[0, "content"], call.outcome, call.client.is_whole) == ("abcd", ("ok", ""), True)
    assert len(call.dispatches) == 1
    assert not call.exchange.is_upstream_kept


def test_a_stalled_endpoint_gets_nothing_until_tokens_prove_life_and_what_waits_there_leaves() -> None:
    gateway = core(2)
    first = Call(gateway, stream=True, temperature=0).send().engine(SSE_HEAD, *EVENTS[:3])
    hung = first.exchange.endpoint
    assert hung is not None
    hung.itl_s = 0.02
    others = [Call(gateway).send() for _ in range(2)]
    waiting = next(c for c in others if c.exchange.endpoint is hung)
    first.late(FLOOR_S + 0.1)
    assert (hung.health, hung.is_stalled) == ("down", True)
    waiting.now = first.now
    waiting.late(0.1)
    assert waiting.exchange.endpoint is not hung
    assert hung not in gateway.endpoints.pools["chat"].candidates(first.now + 5)


def test_a_long_prefill_is_no_stall() -> None:
    role_only = Call(core(2), stream=True, temperature=0).send().engine(SSE_HEAD, EVENTS[0]).late(CEILING_S + 100)
    nothing = Call(core(2), stream=True, temperature=0).send().engine(SSE_HEAD).late(CEILING_S + 100)
    assert (len(role_only.dispatches), len(nothing.dispatches)) == (1, 1)


def test_a_stream_among_others_that_go_on_was_preempted_and_waits_longer() -> None:
    call = begun()
    endpoint = call.exchange.endpoint
    assert endpoint is not None
    for _ in range(int(CEILING_S) - 2):
        endpoint.progress_at = call.now + 1.0
        call.late(1.0)
    assert len(call.dispatches) == 1
    endpoint.progress_at = call.now + 4.0
    call.late(4.0)
    assert (len(call.dispatches), endpoint.is_stalled) == (2, False)


def test_comments_are_no_progress() -> None:
    call = begun()
    for _ in range(5):
        if len(call.dispatches) == 1:
            call.engine(chunk(b": keep-alive\n\n")).late(0.5)
    assert len(call.dispatches) == 2


def test_without_another_endpoint_a_stream_waits_on() -> None:
    call = Call(core(1), stream=True, temperature=0).send().engine(SSE_HEAD, *EVENTS[:3]).late(CEILING_S + 10)
    assert not call.is_over
    call.engine(*EVENTS[3:]).settled()
    assert call.outcome == ("ok", "")


def test_a_stalled_endpoint_that_is_tried_again_is_waited_for_briefly() -> None:
    gateway = core(2)
    call = Call(gateway, stream=True).send()
    tried = call.exchange.endpoint
    assert tried is not None
    tried.is_stalled, tried.stalled_at = True, call.now - 60
    call.late(PROBE_S - 1)
    assert len(call.dispatches) == 1
    call.late(1.1)
    assert len(call.dispatches) == 2


def idle(read_for_s: float, **reading: int) -> Endpoint:
    """An endpoint whose engine says that it has nothing to do, read four times a second, beginning at 100."""
    gateway = core(2)
    endpoint = gateway.endpoints.all()[0]
    endpoint.itl_s = 0.02
    for n in range(round(read_for_s * 4) + 1):
        gateway.endpoints.observe(endpoint.id, EngineSample(at=100.0 + n / 4, **reading))
    return endpoint


def test_an_engine_that_hung_while_it_was_idle_shows_no_step_for_what_was_sent() -> None:
    endpoint = idle(10.0)
    assert not has_stalled(endpoint, None, 0.0, 106.0, 110.0)
    assert has_stalled(endpoint, None, 0.0, 104.9, 110.0)


@pytest.mark.parametrize("reading", [{"running": 1}, {"waiting": 1}])
def test_an_engine_that_works_is_left_to_its_counters(reading: dict[str, int]) -> None:
    assert not has_stalled(idle(1.75, **reading), None, 0.0, 95.0, 101.75)
    assert has_stalled(idle(1.75), None, 0.0, 95.0, 101.75)


def test_old_readings_and_steps_since_the_request_was_sent_show_no_hang() -> None:
    assert not has_stalled(idle(10.0), None, 0.0, 104.0, 112.0)
    moved = idle(10.0)
    moved.guard.progress.moved_at = 105.0
    assert not has_stalled(moved, None, 0.0, 104.0, 110.0)
    heard = idle(10.0)
    heard.progress_at = 105.0
    assert not has_stalled(heard, None, 0.0, 104.0, 110.0)


def test_an_endpoint_without_metrics_may_prefill_for_ever() -> None:
    endpoint = core(2).endpoints.all()[0]
    assert not has_stalled(endpoint, None, 0.0, 100.0, 1000.0)
