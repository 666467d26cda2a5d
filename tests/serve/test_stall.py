"""When a silence in mid-stream is a stall."""

from __future__ import annotations

import pytest

from penstock.serve.stall import CEILING_S, FACTOR, FLOOR_S, PROBE_S, deadline_s, learned_itl_s
from serve.exchanges import DONE, END, SSE_HEAD, Call, chunk, core
from serve.streams import chat, heard

EVENTS = [chunk(e) for e in [*chat(["a", "b", "c", "d"]), DONE]] + [END]


@pytest.mark.parametrize(
    ("itl_s", "others_go_on", "expected"),
    [
        (0.0, False, CEILING_S),
        (0.001, False, FLOOR_S),
        (0.1, False, FACTOR * 0.1),
        (9.0, False, CEILING_S),
        (0.001, True, CEILING_S),
    ],
)
def test_the_deadline_follows_the_pace_between_a_floor_and_a_ceiling(
    itl_s: float, others_go_on: bool, expected: float
) -> None:
    assert deadline_s(itl_s, others_go_on=others_go_on) == expected


def test_a_pace_is_learned_from_what_finished_lately() -> None:
    pace = learned_itl_s(0.0, 0.02)
    assert pace == 0.02
    for _ in range(60):
        pace = learned_itl_s(pace, 0.1)
    assert pace == pytest.approx(0.1, rel=0.01)


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
