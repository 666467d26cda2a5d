"""The rules of one answer. Those of a gateway are tried in `tests/simulate/io/test_system.py`, on broken ones."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from penstock.serve.core import Core
from penstock.serve.record import RequestRecord
from penstock.simulate.system.checks import Watch, check_answer, check_hedges, check_quiet
from penstock.simulate.system.draw import Wish
from penstock.simulate.system.engine import Foul
from penstock.simulate.system.person import Request
from penstock.simulate.system.text import Said
from serve.gateways import config

SAID = Said(("a ", "b"), "stop", 5)


def request(*, status: int = 200, manner: str = "plain", wants_usage: bool = False, **fields: Any) -> Request:
    wish = Wish(
        id="w1", path="/v1/chat/completions", model="chat", body=b"{}", is_stream=False, wants_usage=wants_usage,
        manner=manner, amount=0.5,
    )  # fmt: skip
    made = Request(wish, sent_at=0.0, tries=1, ended_at=1.0)
    body = json.dumps(fields).encode()
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    made.reply.take(head + body)
    return made


def answer(text: str = "a b", finish: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"id": "x", "choices": [choice], "usage": SAID.usage, **more}


def test_the_right_answer_passes() -> None:
    check_answer(request(**answer()), [SAID])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (answer("a c"), "no engine said"),
        (answer("a "), "is not"),
        (answer(finish="length"), "ended with"),
        (answer(usage={"total_tokens": 8}), "was told"),
    ],
)
def test_a_wrong_answer_is_foul(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Foul, match=words):
        check_answer(request(**fields), [SAID])


def test_texts_of_two_attempts_must_not_be_joined() -> None:
    with pytest.raises(Foul):
        check_answer(request(**answer("a d")), [SAID, Said(("c ", "d"), "stop", 5)])


def test_a_mistake_must_get_its_status_and_a_good_request_no_400() -> None:
    check_answer(request(status=401, manner="bad_key", error={}), ())
    for status, manner in ((200, "bad_key"), (500, "bad_json"), (400, "plain")):
        with pytest.raises(Foul):
            check_answer(request(status=status, manner=manner, error={}), ())


def test_a_lost_answer_is_foul_unless_its_gateway_died() -> None:
    lost = Request(request().wish, is_lost=True)
    with pytest.raises(Foul, match="lost"):
        check_answer(lost, ())
    lost.is_excused = True
    check_answer(lost, ())


def test_a_gateway_at_rest_passes_and_a_counter_that_is_off_does_not() -> None:
    core = Core(config(), random=Random(1))
    Watch(core).look(())
    check_quiet(core)
    core.in_flight = -1
    for check in (lambda: Watch(core).look(()), lambda: check_quiet(core)):
        with pytest.raises(Foul, match="in_flight"):
            check()


def test_a_request_that_is_still_watched_for_being_late_is_foul_when_all_is_over() -> None:
    core = Core(config(), random=Random(1))
    usual = core.hedging.hedge("chat").usual(("/v1/chat/completions", True, 1))
    assert usual is not None
    usual.waiting["somebody"] = 1.0
    with pytest.raises(Foul, match="watched"):
        check_quiet(core)


def test_no_more_than_the_share_of_a_models_requests_may_be_sent_twice() -> None:
    records = [RequestRecord(model="chat", endpoint="chat-0") for _ in range(20)]
    records[3].hedged = "second"
    check_hedges(records, 0.05)
    records[4].hedged = "none"
    with pytest.raises(Foul, match="2 of 20 requests to chat were sent twice"):
        check_hedges(records, 0.05)


def test_where_it_is_switched_off_none_may_be_sent_twice() -> None:
    records = [RequestRecord(model="chat", endpoint="chat-0", hedged="first")]
    with pytest.raises(Foul):
        check_hedges(records, 0.0)
