"""What pages of other origins are told: browsers ask first, and read the answer only where it says that they may."""

from __future__ import annotations

import pytest

from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, Call, answer, chunk, core, request
from serve.gateways import TENANTS, config

APP = b"https://app.example"
NAMED = "    cors: {origins: [https://app.example]}\n" + TENANTS


def test_a_browser_that_asks_first_is_answered_without_a_key() -> None:
    call = Call(core(), request(method="OPTIONS", key="", origin=APP)).send().settled()
    assert (call.client.status, call.client.body, call.client.is_whole) == (204, b"", True)
    assert call.client.headers["access-control-allow-origin"] == "*"
    assert "POST" in call.client.headers["access-control-allow-methods"]
    assert call.outcome == ("ok", "preflight")


def test_who_is_no_browser_gets_no_preflight() -> None:
    call = Call(core(), request(method="OPTIONS", key="")).send().settled()
    assert call.client.status == 401


@pytest.mark.parametrize("origin", [APP, b"https://other.example"])
def test_every_kind_of_answer_says_whether_the_page_may_read_it(origin: bytes) -> None:
    settings = config(NAMED)
    whole = Call(core(settings=settings), request(origin=origin)).send().engine(answer())
    refused = Call(core(settings=settings), request(key="nobody", origin=origin)).send()
    failed = Call(core(settings=settings), request(origin=origin)).send().engine(answer(b"no", status="400 Bad"))
    stream = Call(core(settings=settings), request(origin=origin), stream=True).send()
    stream.engine(SSE_HEAD, chunk(TOKEN), chunk(DONE), END)
    asked = Call(core(settings=settings), request(method="OPTIONS", key="", origin=origin)).send()
    for call in (whole, refused, failed, stream, asked):
        told = call.settled().client.headers.get("access-control-allow-origin")
        assert told == (APP.decode() if origin == APP else None)
    assert whole.client.body == ANSWER


def test_an_answer_to_no_page_says_nothing_of_pages() -> None:
    call = Call(core()).send().engine(answer()).settled()
    assert not [name for name in call.client.headers if name.startswith("access-control")]


def test_a_gateway_that_asks_for_no_key_lets_no_page_in() -> None:
    settings = config("    auth: {anonymous: true}\n")
    asked = Call(core(settings=settings), request(method="OPTIONS", key="", origin=APP)).send()
    assert not [name for name in asked.client.headers if name.startswith("access-control")]
    simple = Call(core(settings=settings), request(key="", origin=APP)).send()  # such as no browser asks about
    assert (simple.client.status, simple.client.json["error"]["code"]) == (403, "origin_not_allowed")
    assert simple.dispatches == []
