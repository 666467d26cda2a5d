"""A client on its connection, against a gateway that is told what to do."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.simulate.system.clock import Clock
from penstock.simulate.system.draw import Visit, Wish
from penstock.simulate.system.person import HIGH_BYTES, KERNEL_BYTES, Line, Person

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def wish(number: int = 1, *, manner: str = "plain", amount: float = 0.5, body: bytes = b"{}") -> Wish:
    return Wish(
        id=f"w{number}", path="/v1/x", model="chat", body=body, is_stream=False, wants_usage=False,
        manner=manner, amount=amount,
    )  # fmt: skip


class Gateway:
    """The other end: keeps what comes, and answers when told."""

    def __init__(self, *wishes: Wish) -> None:
        self.clock = Clock()
        self.lines: list[Line] = []
        self.got = b""
        self.lost = 0
        self.eofs = 0
        self.paused = 0
        self.resumed = 0
        visit = Visit(at=0.0, key="k", gateway=0, wishes=wishes)
        self.person = Person(self.clock, visit, self.connect)
        self.person.go()
        self.wait(0.1)

    def connect(self, person: Person) -> Line:
        self.lines.append(Line(self.clock, lambda act: act(), person))
        self.lines[-1].open(self)
        return self.lines[-1]

    def wait(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now + seconds)

    def connection_made(self, transport: Any) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.eofs += 1
        return True

    def pause_writing(self) -> None:
        self.paused += 1

    def resume_writing(self) -> None:
        self.resumed += 1


def test_the_next_request_comes_on_the_same_connection_once_the_first_is_answered() -> None:
    gateway = Gateway(wish(1), wish(2))
    assert gateway.got.count(b"POST") == 1
    gateway.lines[0].write(ANSWER)
    gateway.wait(0.1)
    assert (gateway.got.count(b"POST"), len(gateway.lines)) == (2, 1)
    gateway.lines[0].write(ANSWER)
    gateway.wait(0.1)
    assert gateway.person.is_done
    assert [bytes(r.reply.body) for r in gateway.person.requests] == [b"ok", b"ok"]


def test_who_pipelines_sends_all_at_once_and_takes_the_answers_apart() -> None:
    gateway = Gateway(wish(1, manner="pipelines"), wish(2))
    assert gateway.got.count(b"POST") == 2
    gateway.lines[0].write(ANSWER + ANSWER)
    gateway.wait(0.1)
    assert gateway.person.is_done
    assert gateway.got.count(b"POST") == 2


def test_who_hangs_up_is_lost_to_the_gateway() -> None:
    gateway = Gateway(wish(manner="hangs_up", amount=1.0))
    gateway.wait(3.0)
    assert gateway.lost == 1
    assert gateway.person.requests[0].has_hung_up


def test_who_does_not_read_is_felt_and_reads_on() -> None:
    gateway = Gateway(wish(manner="stops_reading", amount=0.0))
    line = gateway.lines[0]
    line.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n")
    gateway.wait(0.01)
    line.write(b"x" * 9000)
    gateway.wait(0.01)
    assert (gateway.paused, gateway.resumed) == (1, 0)
    assert line.get_write_buffer_size() > HIGH_BYTES
    gateway.wait(1.0)
    assert (gateway.resumed, line.get_write_buffer_size()) == (1, 0)
    assert gateway.person.requests[0].reply.is_whole
    assert KERNEL_BYTES < 9000


def test_an_answer_that_is_cut_is_lost_and_one_that_never_began_is_asked_for_again() -> None:
    gateway = Gateway(wish())
    gateway.lines[0].close()
    gateway.wait(0.2)
    assert len(gateway.lines) == 2
    gateway.lines[1].write(ANSWER[:-1])
    gateway.lines[1].close()
    gateway.wait(0.2)
    request = gateway.person.requests[0]
    assert (request.is_lost, request.is_excused, request.tries) == (True, False, 2)


def test_a_gateway_that_dies_is_excused() -> None:
    gateway = Gateway(wish())
    gateway.lines[0].write(ANSWER[:-1])
    gateway.wait(0.1)
    gateway.lines[0].die()
    gateway.wait(0.1)
    request = gateway.person.requests[0]
    assert (request.is_lost, request.is_excused) == (True, True)


@pytest.mark.parametrize("amount", [0.1, 0.9])
def test_a_body_may_come_late_but_whole(amount: float) -> None:
    assert Gateway(wish(body=b'{"a":1}', amount=amount)).got.endswith(b'\r\n\r\n{"a":1}')


def test_who_closes_its_half_still_hears_the_answer() -> None:
    gateway = Gateway(wish(manner="half_closes"))
    gateway.wait(0.2)
    assert gateway.eofs == 1
    gateway.lines[0].write(ANSWER)
    gateway.wait(0.1)
    assert gateway.person.is_done
