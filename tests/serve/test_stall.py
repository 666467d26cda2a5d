"""When a silence in mid-stream is a stall."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.core import Core
from penstock.serve.routing.endpoints import Endpoint, EngineSample
from penstock.serve.routing.progress import ROOMY_BELOW
from penstock.serve.stall import CEILING_S, FLOOR_S, PROBE_S, deadline_s, stall_of
from serve.exchanges import DONE, END, SSE_HEAD, Call, chunk, core
from serve.streams import chat, heard
from serve.test_resuming_by_ids import told

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
    assert not stall_of(endpoint, None, 0.0, 106.0, 110.0)
    assert stall_of(endpoint, None, 0.0, 104.9, 110.0)


@pytest.mark.parametrize("reading", [{"running": 1}, {"waiting": 1}])
def test_an_engine_that_works_is_left_to_its_counters(reading: dict[str, int]) -> None:
    assert not stall_of(idle(1.75, **reading), None, 0.0, 95.0, 101.75)
    assert stall_of(idle(1.75), None, 0.0, 95.0, 101.75)


def test_old_readings_and_steps_since_the_request_was_sent_show_no_hang() -> None:
    assert not stall_of(idle(10.0), None, 0.0, 104.0, 112.0)
    moved = idle(10.0)
    moved.guard.progress.moved_at = 105.0
    assert not stall_of(moved, None, 0.0, 104.0, 110.0)
    heard = idle(10.0)
    heard.progress_at = 105.0
    assert not stall_of(heard, None, 0.0, 104.0, 110.0)


def test_an_endpoint_without_metrics_may_prefill_for_ever() -> None:
    endpoint = core(2).endpoints.all()[0]
    assert not stall_of(endpoint, None, 0.0, 100.0, 1000.0)


# ------------------------------------------------------------------ one stream of an engine that goes on

READ_S = 0.25


class Metrics:
    """What one endpoint's engine tells of itself, read four times a second while time passes for a call there."""

    def __init__(self, call: Call, endpoint: Endpoint, **fields: Any) -> None:
        self.call, self.endpoint = call, endpoint
        self.tokens, self.fields = 0, {"running": 2, "kv_usage": 0.3, **fields}
        for back in (3, 2, 1):
            self.read(call.now - back * READ_S)

    def read(self, at: float, **changes: Any) -> None:
        self.tokens += 10 * (self.fields["running"] > 0)
        self.fields |= changes
        sample = EngineSample(at=at, generation_tokens_total=self.tokens, **self.fields)
        self.call.core.endpoints.observe(self.endpoint.id, sample)

    def go_on(self, seconds: float, *, others: bool = True, **changes: Any) -> Metrics:
        """Time passes, and the call hears nothing."""
        for _ in range(round(seconds / READ_S)):
            self.read(self.call.now + READ_S, **changes)
            if others:
                self.endpoint.progress_at = self.call.now + READ_S
            self.call.late(READ_S)
        return self


def silent(core_: Core | None = None, *, stream: dict[str, Any] | None = None, **fields: Any) -> Metrics:
    call = Call(core_ or core(2), stream=True, temperature=0, **(stream or {})).send().engine(SSE_HEAD, *EVENTS[:3])
    endpoint = call.exchange.endpoint
    assert endpoint is not None
    endpoint.itl_s = 0.02
    return Metrics(call, endpoint, **fields)


def test_one_stream_that_falls_silent_while_its_engine_holds_nothing_back_goes_on_elsewhere_in_time() -> None:
    metrics = silent()
    call, endpoint = metrics.call, metrics.endpoint
    metrics.go_on(FLOOR_S)
    assert len(call.dispatches) == 1
    metrics.go_on(2 * READ_S)
    assert sorted(call.tried) == ["chat-0", "chat-1"]
    assert (endpoint.health, endpoint.is_stalled, endpoint.guard.counts(call.now)) == ("ready", False, (0, 1))
    call.engine(SSE_HEAD, *EVENTS).settled()
    assert (heard(call.client.body)[0, "content"], call.record.resumes) == ("abcd", 1)


@pytest.mark.parametrize(
    "reading",
    [{"waiting": 1}, {"kv_usage": ROOMY_BELOW}, {"preemptions_total": 1}, {"tells_waiting": False}],
    ids=lambda reading: next(iter(reading)),
)
def test_a_stream_that_may_have_been_preempted_waits(reading: dict[str, Any]) -> None:
    metrics = silent().go_on(0.5).go_on(0.25, **reading)  # in one reading, and not any more
    call = metrics.go_on(CEILING_S - 1.5, waiting=0, kv_usage=0.3).call
    assert len(call.dispatches) == 1
    metrics.go_on(1.0)
    assert (len(call.dispatches), metrics.endpoint.health) == (2, "ready")
    assert metrics.endpoint.guard.counts(call.now) == (0, 0)


def test_readings_that_do_not_come_or_stand_still_show_nothing_of_a_stream() -> None:
    unread, frozen = silent(), silent()
    for _ in range(int((CEILING_S - 2) / READ_S)):
        unread.endpoint.progress_at = frozen.endpoint.progress_at = unread.call.now + READ_S
        unread.call.late(READ_S)
        frozen.tokens -= 10
        frozen.read(frozen.call.now + READ_S)
        frozen.call.late(READ_S)
    assert (len(unread.call.dispatches), len(frozen.call.dispatches)) == (1, 1)


def test_an_engine_whose_counters_move_does_not_hang_though_its_only_stream_of_ours_is_silent() -> None:
    metrics = silent().go_on(FLOOR_S + 2 * READ_S, others=False)
    assert sorted(metrics.call.tried) == ["chat-0", "chat-1"]
    assert metrics.endpoint.health == "ready"


def test_an_engine_that_has_ended_what_its_client_never_heard_does_not_hang() -> None:
    metrics = silent().go_on(0.5, others=False).go_on(FLOOR_S, others=False, running=0)
    assert sorted(metrics.call.tried) == ["chat-0", "chat-1"]
    assert metrics.endpoint.health == "ready"


def test_an_engine_whose_counters_stop_with_its_stream_hangs() -> None:
    metrics = silent()
    for _ in range(10):
        metrics.tokens -= 10
        metrics.go_on(READ_S, others=False)
    assert (metrics.endpoint.health, metrics.endpoint.is_stalled) == ("down", True)
    assert len(metrics.call.dispatches) == 2


def test_a_call_of_a_tool_may_be_held_back_for_long() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    metrics = silent(stream={"tools": [tool]}).go_on(CEILING_S - 1)
    assert len(metrics.call.dispatches) == 1


def test_where_each_token_is_told_nothing_of_a_call_is_held_back() -> None:
    call = Call(core(2), stream=True, temperature=0, tools=[{"type": "function"}]).send()
    call.engine(*told(("a", [10]), ("b", [11]), finish=False))
    endpoint = call.exchange.endpoint
    assert endpoint is not None
    endpoint.itl_s = 0.02
    Metrics(call, endpoint).go_on(FLOOR_S + 2 * READ_S)
    assert len(call.dispatches) == 2


@pytest.mark.parametrize("reads", [[], [SSE_HEAD], [SSE_HEAD, EVENTS[0]]], ids=["nothing", "a head", "a role"])
def test_what_an_engine_has_answered_and_nobody_heard_is_asked_again_when_it_has_nothing_left_to_do(
    reads: list[bytes],
) -> None:
    call = Call(core(2), stream=True, temperature=0).send().engine(*reads)
    endpoint = call.exchange.endpoint
    assert endpoint is not None
    endpoint.itl_s = 0.02
    metrics = Metrics(call, endpoint).go_on(4.0, others=False)  # it may be a prefill
    metrics.go_on(FLOOR_S - 2 * READ_S, others=False, running=0)
    assert len(call.dispatches) == 1
    metrics.go_on(4 * READ_S, others=False)
    assert (sorted(call.tried), endpoint.health) == (["chat-0", "chat-1"], "ready")
    call.engine(SSE_HEAD, *EVENTS).settled()
    assert (heard(call.client.body)[0, "content"], call.outcome) == ("abcd", ("ok", ""))


def test_with_one_endpoint_the_stream_goes_on_there_on_a_fresh_connection() -> None:
    metrics = silent(core(1)).go_on(FLOOR_S + 2 * READ_S)
    call = metrics.call
    assert (call.tried, call.dispatches[-1].is_fresh) == (["chat-0", "chat-0"], True)
    assert metrics.endpoint.in_flight == 1
    call.engine(SSE_HEAD, *EVENTS).settled()
    assert (heard(call.client.body)[0, "content"], call.record.resumes, call.outcome) == ("abcd", 1, ("ok", ""))


def test_one_that_came_back_to_its_endpoint_in_vain_waits_there() -> None:
    metrics = silent(core(1)).go_on(FLOOR_S + 2 * READ_S)
    metrics.call.engine(SSE_HEAD, *EVENTS[:3])
    metrics.go_on(CEILING_S)
    assert (len(metrics.call.dispatches), metrics.call.is_over) == (2, False)


@given(
    readings=st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 0, 0, 0, 1]),
            st.sampled_from([0.1, 0.3, 0.5, ROOMY_BELOW, 1.0]),
            st.sampled_from([0, 0, 0, 0, 0, 1]),
            st.sampled_from([READ_S, READ_S, READ_S, 3.0]),
            st.booleans(),
        ),
        min_size=3,
        max_size=60,
    ),
    since=st.integers(0, 40),
    pace_s=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
)
def test_only_readings_without_a_doubt_shorten_the_wait_of_one_stream_among_others(
    readings: list[tuple[int, float, int, float, bool]], since: int, pace_s: float
) -> None:
    """Whatever is read: before the ceiling a stream among others is lost only past its usual deadline, after two
    readings or more, and if all of them and one before show no queue, room and no preemption."""
    call = Call(core(2), stream=True, temperature=0).send().engine(SSE_HEAD, *EVENTS[:3])
    endpoint, answer = call.exchange.endpoint, call.exchange._answer
    assert endpoint is not None
    endpoint.itl_s = pace_s
    now, tokens, preempted, seen = 100.0, 0, 0, []
    for waiting, kv_usage, more, gap_s, moves in readings:
        now, preempted, tokens = now + gap_s, preempted + more, tokens + moves
        call.core.endpoints.observe(
            endpoint.id,
            EngineSample(
                at=now, running=2, waiting=waiting, kv_usage=kv_usage, preemptions_total=preempted,
                generation_tokens_total=tokens,
            ),
        )  # fmt: skip
        seen.append((now, gap_s, not waiting and kv_usage < ROOMY_BELOW, bool(more), moves))
    last_at = 100.0 + since * READ_S
    now += 0.1
    endpoint.progress_at = now
    stall = stall_of(endpoint, answer, last_at - 0.1, last_at, now)
    quiet_s, usual_s = now - last_at, deadline_s(max(pace_s, 0.1 / 2), others_go_on=False)
    after = [r for r in seen if r[0] > last_at]
    before = [r for r in seen if r[0] <= last_at][-1:]
    is_clear = len(after) >= 2 and bool(before) and before[0][2] and all(r[2] and not r[3] for r in after)
    if stall == "lost":
        assert quiet_s > usual_s
        assert is_clear
        assert any(r[4] for r in after)
    elif stall == "late":
        assert quiet_s > CEILING_S
    elif stall == "":
        is_even = all(r[1] == READ_S for r in seen)
        moves_after = any(r[4] for r in after[1:])
        assert quiet_s <= CEILING_S
        assert not (is_clear and is_even and moves_after and pace_s and quiet_s > 50 * 0.3)
    assert stall != "hung"


@pytest.mark.parametrize("reads", [[], [SSE_HEAD], [SSE_HEAD, EVENTS[0]]], ids=["nothing", "a head", "a role"])
def test_what_waits_where_nobody_can_connect_any_more_goes_elsewhere(reads: list[bytes]) -> None:
    """vLLM that is told to stop closes its port, and leaves the connections that it has open and silent."""
    call = Call(core(2), stream=True, temperature=0).send().engine(*reads)
    endpoint = call.exchange.endpoint
    assert endpoint is not None
    endpoint.itl_s = 0.02
    Metrics(call, endpoint, waiting=3)
    call.late(1.0)
    call.core.endpoints.failed(endpoint, "connection refused", call.now)
    call.late(FLOOR_S - 0.1)
    assert len(call.dispatches) == 1
    call.late(0.2)
    assert sorted(call.tried) == ["chat-0", "chat-1"]
    call.engine(SSE_HEAD, *EVENTS).settled()
    assert heard(call.client.body)[0, "content"] == "abcd"


def test_what_was_sent_to_try_an_endpoint_that_is_gone_is_waited_for() -> None:
    gateway = core(2)
    for endpoint in gateway.endpoints.all():
        endpoint.itl_s = 0.02
        gateway.endpoints.failed(endpoint, "connection refused", 90.0)
    call = Call(gateway, stream=True, temperature=0).send().engine(SSE_HEAD).late(CEILING_S)
    assert len(call.dispatches) == 1
