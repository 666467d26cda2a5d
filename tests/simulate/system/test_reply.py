"""What a client hears, and what it never may."""

from __future__ import annotations

import json

import pytest

from penstock.simulate.system.engine import Foul
from penstock.simulate.system.reply import Reply, hear

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(text: str = "", finish: str | None = None, **more: object) -> bytes:
    fields = {"id": "x", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def stream(*events: bytes, ends: bool = True) -> Reply:
    reply = Reply()
    body = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in events)
    reply.take(HEAD + body + (b"0\r\n\r\n" if ends else b""))
    return reply


def test_a_stream_is_put_together() -> None:
    usage = b'data: {"id":"x","choices":[],"usage":{"total_tokens":2}}\n\n'
    heard = hear(stream(event("a"), b": waiting\n\n", event("b", "stop"), usage, b"data: [DONE]\n\n"))
    assert (heard.text, heard.finishes, heard.is_done, heard.usages) == ("ab", ["stop"], True, [{"total_tokens": 2}])


def test_a_stream_that_was_cut_is_heard_as_far_as_it_came() -> None:
    heard = hear(stream(event("a"), event("b")[:9], ends=False))
    assert (heard.text, heard.is_done) == ("a", False)


@pytest.mark.parametrize(
    "events",
    [
        [event("a", "stop"), event("b")],
        [b"data: [DONE]\n\n", b"data: [DONE]\n\n"],
        [event("a")[:-1]],
        [b'data: {"error":{}}\n\n', event("a")],
        [b"nonsense\n\n"],
    ],
    ids=["text after the end", "two ends", "half an event", "text after an error", "no data"],
)
def test_what_no_client_may_get_is_foul(events: list[bytes]) -> None:
    with pytest.raises(Foul):
        hear(stream(*events))


def test_a_second_answer_and_what_is_no_http_are_foul() -> None:
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    for bad in (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"x"):
        reply = Reply()
        reply.take(whole)
        with pytest.raises(Foul):
            reply.take(bad)
    with pytest.raises(Foul):
        Reply().take(b"\x00\x01")


def test_an_interim_answer_is_none() -> None:
    reply = Reply()
    reply.take(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (reply.status, reply.is_whole) == (0, False)
    reply.take(b"HTTP/1.1 204 No Content\r\nx-request-id: 1\r\n\r\n")
    assert (reply.status, reply.is_whole) == (204, True)


def test_an_answer_of_http_1_0_is_whole_when_its_connection_ends() -> None:
    reply = Reply()
    reply.take(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + event("a"))
    assert not reply.is_whole
    reply.end()
    assert reply.is_whole
    assert hear(reply).text == "a"
