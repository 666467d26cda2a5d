"""A simulated engine: the bytes that it speaks, and what each fault does to them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from penstock.simulate.system.clock import Clock
from penstock.simulate.system.engine import Engine, Foul
from penstock.simulate.system.reply import Reply, hear
from penstock.simulate.system.text import Said
from penstock.simulate.system.wire import Wire


class Caller:
    """A gateway's end of one wire to one engine."""

    def __init__(self, *, seats: int = 4) -> None:
        self.clock = Clock()
        self.said: list[Said] = []
        self.engine = Engine(
            clock=self.clock,
            random=Random(3),
            model="chat",
            port=8000,
            pace_s=0.01,
            seats=seats,
            said=lambda _, said: self.said.append(said),
        )
        self.wire = self.connect()
        self.got = b""
        self.ends: list[Exception | None] = []

    def connect(self) -> Wire:
        wire = Wire(self.clock, Random(1), lambda act: act(), self.engine)
        wire.gateway_side = self
        self.engine.accept(wire)
        return wire

    def data_received(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ends.append(exc)

    def ask(
        self, *, words: str = "hi", wire: Wire | None = None, path: str = "/v1/chat/completions", **more: Any
    ) -> Caller:
        fields = {"model": "chat", "messages": [{"role": "user", "content": words}], "seed": 3, **more}
        body = json.dumps(fields).encode()
        head = f"POST {path} HTTP/1.1\r\nx-request-id: r\r\ncontent-length: {len(body)}\r\n\r\n"
        (wire or self.wire).write(head.encode() + body)
        return self

    def wait(self, seconds: float = 4.0) -> Caller:
        self.clock.run_until(self.clock.now + seconds)
        return self

    @property
    def reply(self) -> Reply:
        reply = Reply()
        reply.take(self.got)
        return reply


@pytest.mark.parametrize("is_stream", [True, False])
def test_an_answer_says_what_the_model_says(is_stream: bool) -> None:
    caller = Caller().ask(stream=is_stream, stream_options={"include_usage": True}).wait()
    heard, said = hear(caller.reply), caller.said[0]
    assert (heard.text, heard.finishes, heard.usages) == (said.text, [said.finish], [said.usage])
    assert caller.reply.is_whole
    assert heard.is_done
    assert caller.engine.look().generation_tokens_total == len(said.tokens)


@pytest.mark.parametrize("is_stream", [True, False])
def test_an_answer_of_anthropics_api_says_the_same(is_stream: bool) -> None:
    caller = Caller().ask(path="/v1/messages", stream=is_stream, max_tokens=9).wait()
    heard, said = hear(caller.reply), caller.said[0]
    assert (heard.text, heard.finishes, heard.roles) == (said.text, ["max_tokens"], 1)
    assert heard.usages == [{"input_tokens": said.prompt_tokens, "output_tokens": 9}]
    assert heard.is_done


def test_only_so_many_run_at_once() -> None:
    caller = Caller(seats=1).ask().wait(0.005)
    caller.ask(wire=caller.connect()).wait(0.005)
    assert (caller.engine.look().running, caller.engine.look().waiting) == (1, 1)
    caller.wait(8.0)
    assert (caller.engine.look().running, caller.engine.look().waiting) == (0, 0)


def test_a_request_whose_client_left_stops() -> None:
    caller = Caller().ask().wait(0.005)
    caller.wire.abort()
    caller.wait(0.01)
    assert (caller.engine.running, caller.engine.wires) == ([], {})


def test_an_idle_connection_is_closed_as_uvicorn_does() -> None:
    caller = Caller().wait(5.1)
    assert caller.ends == [None]


def test_what_no_gateway_may_send_is_foul() -> None:
    caller = Caller().ask()
    with pytest.raises(Foul, match="busy"):
        caller.ask().wait()
    with pytest.raises(Foul, match="at an engine of"):
        Caller().ask(model="other").wait()


@pytest.mark.parametrize("fault", ["hang", "hang_core"])
def test_a_hung_engine_is_silent_and_goes_on_when_healed(fault: str) -> None:
    caller = Caller()
    caller.engine.begin(fault, 0.5)
    caller.ask(stream=True).wait()
    assert (caller.got, caller.ends) == (b"", [])
    assert caller.engine.read_health() == (200 if fault == "hang_core" else None)
    caller.engine.heal(fault)
    assert hear(caller.wait().reply).is_done


def test_a_crash_resets_and_forgets() -> None:
    caller = Caller().ask(stream=True).wait(0.05)
    caller.engine.begin("crash", 0.5)
    caller.wait(0.1)
    assert isinstance(caller.ends[0], ConnectionResetError)
    assert caller.engine.is_refusing
    assert caller.engine.read_metrics() == "connection refused"
    caller.engine.heal("crash")
    assert caller.engine.look().generation_tokens_total == 0


def test_a_dead_core_says_so_in_the_stream_and_after() -> None:
    caller = Caller().ask(stream=True).wait(0.06)
    caller.engine.begin("core_dead", 0.5)
    caller.wait(0.1)
    heard = hear(caller.reply)
    assert heard.error is not None
    assert heard.is_done
    assert caller.engine.read_health() == 503


def test_a_connection_drops_at_its_byte() -> None:
    caller = Caller()
    caller.engine.begin("drop", 0.5)
    caller.ask(stream=True).wait()
    assert len(caller.got) == 450
    assert len(caller.ends) == 1


@pytest.mark.parametrize(
    ("fault", "amount", "status"), [("busy", 0.1, 503), ("busy", 0.9, 429), ("draining", 0.5, 500)]
)
def test_a_refusal_has_its_status(fault: str, amount: float, status: int) -> None:
    caller = Caller()
    caller.engine.begin(fault, amount)
    assert caller.ask().wait(1.0).reply.status == status


def test_metrics_lie() -> None:
    caller = Caller().ask().wait(0.05)
    caller.engine.begin("metrics_frozen", 0.5)
    before = caller.engine.read_metrics()
    caller.wait()
    after = caller.engine.read_metrics()
    assert before is not None
    assert not isinstance(before, str)
    assert after is not None
    assert not isinstance(after, str)
    assert after.steps_total == before.steps_total < caller.engine.look().steps_total
    caller.engine.begin("metrics_mute", 0.5)
    assert caller.engine.read_metrics() is None


def two_streams() -> tuple[Caller, Caller]:
    """Two callers of one engine, whose streams have begun."""
    one, other = Caller(), Caller()
    other.engine, other.clock = one.engine, one.clock
    other.wire = other.connect()
    one.ask(words="tale", stream=True)
    other.ask(words="tale", stream=True)
    one.wait(0.06)
    assert one.got
    assert other.got
    return one, other


def test_a_half_open_stream_is_one_of_an_engine_that_goes_on_and_tells_no_queue() -> None:
    one, other = two_streams()
    one.engine.begin("half_open_one", 0.0)
    one.wait(0.01)  # what is under way arrives
    had = len(one.got), len(other.got)
    one.wait(0.06)
    assert len(one.got) == had[0]
    assert len(other.got) > had[1]
    assert (one.engine.look().running, one.engine.look().waiting) == (2, 0)
    one.wait()
    assert (one.ends, other.reply.is_whole, one.engine.jobs) == ([], True, [])


def test_a_preempted_stream_waits_where_all_can_see_it_and_is_counted_when_it_speaks_again() -> None:
    one, other = two_streams()
    one.engine.begin("preempt", 0.0)
    one.wait(0.01)  # what is under way arrives
    had = len(one.got), len(other.got)
    one.wait(0.06)
    assert len(one.got) == had[0]
    assert len(other.got) > had[1]
    told = one.engine.look()
    assert (told.running, told.waiting, told.preemptions_total) == (1, 1, 0)
    one.engine.heal("preempt")
    one.wait()
    assert hear(one.reply).text == one.said[0].text
    told = one.engine.look()
    assert (told.running, told.waiting, told.preemptions_total) == (0, 0, 1)
