"""Events on their way through: nothing is lost, nothing is added, and only the unasked usage chunk is taken out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.sse import EVENT_BYTES_MAX, EventRelay, find_usage

RECORDED = Path(__file__).resolve().parents[3].parent / "shared" / "reference" / "vllm-api"

USAGE = {
    "prompt_tokens": 37,
    "total_tokens": 45,
    "completion_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 16},
}
DONE = "data: [DONE]"


def event(**fields: object) -> str:
    return "data: " + json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def token(text: str, **fields: object) -> str:
    return event(choices=[{"index": 0, "delta": {"content": text}}], **fields)


USAGE_CHUNK = event(id="x", choices=[], usage=USAGE)

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(['"usage":{"prompt_tokens":9}', "data: [DONE]", "\n\n", "\r\n\r\n", "日本語🎉", '{"error"', ": "]),
)
EVENTS = st.one_of(
    TEXTS.map(token),
    TEXTS.map(lambda t: token(t, usage=None)),
    st.just(": keep-alive"),
    st.just("data: first line\ndata: second line"),
    st.just("event: ping\ndata: {}"),
    st.just('data: {"choices":[],"prompt_filter_results":[]}'),
)


def relay_all(wire: bytes, cuts: list[int], *, strips_usage: bool) -> tuple[bytes, EventRelay]:
    relay, out, place = EventRelay(strips_usage=strips_usage), b"", 0
    for cut in [*sorted({c % (len(wire) + 1) for c in cuts}), len(wire)]:
        piece = relay.feed(wire[place:cut])
        if relay.is_unchanged:
            assert piece == wire[place:cut]
        out, place = out + piece, cut
    return out + relay.end(), relay


@given(
    events=st.lists(EVENTS, max_size=8),
    usage_at=st.integers(0, 8),
    cuts=st.lists(st.integers(0, 2000), max_size=10),
    newline=st.sampled_from(["\n", "\r\n"]),
    has_usage=st.booleans(),
)
def test_the_client_gets_every_event_but_the_usage_chunk_whatever_the_reads(
    events: list[str], usage_at: int, cuts: list[int], newline: str, has_usage: bool
) -> None:
    def wire(lines: list[str]) -> bytes:
        return b"".join(line.replace("\n", newline).encode() + newline.encode() * 2 for line in [*lines, DONE])

    sent = [*events[:usage_at], USAGE_CHUNK, *events[usage_at:]] if has_usage else events
    got, relay = relay_all(wire(sent), cuts, strips_usage=True)
    assert got == wire(events)
    assert relay.usage == ((37, 8, 16) if has_usage else None)
    assert relay.is_complete


@given(st.lists(EVENTS, max_size=6), st.lists(st.integers(0, 2000), max_size=8))
def test_a_client_that_asked_for_usage_gets_the_stream_byte_by_byte(events: list[str], cuts: list[int]) -> None:
    wire = "".join(line + "\n\n" for line in [*events, USAGE_CHUNK, DONE]).encode()
    got, relay = relay_all(wire, cuts, strips_usage=False)
    assert got == wire
    assert relay.usage == (37, 8, 16)


@given(st.lists(st.binary(max_size=40), max_size=8), st.booleans())
def test_garbage_passes_unharmed_or_waits_for_its_end(reads: list[bytes], strips_usage: bool) -> None:
    relay = EventRelay(strips_usage=strips_usage)
    out = b"".join(relay.feed(piece) for piece in reads) + relay.end()
    assert out == b"".join(reads)
    assert relay.is_complete in (True, False)
    assert relay.has_error in (True, False)


def test_an_event_is_held_until_it_is_whole() -> None:
    relay = EventRelay(strips_usage=True)
    assert relay.feed(b"data: {}\n\ndata: {") == b"data: {}\n\n"
    assert relay.feed(b"}\n") == b""
    assert relay.feed(b"\n") == b"data: {}\n\n"


def test_an_event_without_an_end_is_not_held_for_ever() -> None:
    relay, sent, got = EventRelay(strips_usage=True), b"", b""
    for _ in range(EVENT_BYTES_MAX // 50_000 + 2):
        sent += b"x" * 50_000
        got += relay.feed(b"x" * 50_000)
    assert len(got) > EVENT_BYTES_MAX
    assert not relay.is_between_events
    assert got + relay.end() == sent


def test_a_huge_event_arrives_whole_and_the_stream_goes_on() -> None:
    relay = EventRelay(strips_usage=True)
    wire = token("y" * (EVENT_BYTES_MAX * 2)).encode() + b"\n\n" + USAGE_CHUNK.encode() + b"\n\ndata: [DONE]\n\n"
    got = b"".join(relay.feed(wire[at : at + 65_536]) for at in range(0, len(wire), 65_536))
    assert got == wire.replace(USAGE_CHUNK.encode() + b"\n\n", b"")
    assert relay.is_between_events
    assert relay.usage == (37, 8, 16)


class TestEnd:
    @pytest.mark.parametrize(
        "last",
        [
            b"data: [DONE]\n\n",
            b"data:[DONE]\n\n",
            b"data: [DONE]\r\n\r\n",
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
            b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
            b'event: response.incomplete\ndata: {"type":"response.incomplete"}\n\n',
            b'event: response.failed\ndata: {"type":"response.failed"}\n\n',
            b"data: {}\n\ndata: [DONE]\n\n: bye\n\n",
        ],
    )
    def test_a_last_event_completes_the_stream(self, last: bytes) -> None:
        relay = EventRelay(strips_usage=True)
        relay.feed(b"data: {}\n\n")
        relay.feed(last)
        assert relay.is_complete
        assert not relay.has_error

    @pytest.mark.parametrize(
        "last",
        [
            b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n',
            b'data: {"choices":[{"delta":{"content":"\\"message_stop\\""}}]}\n\n',
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta"}\n\n',
            b'event: content_block_delta\ndata: {"delta":{"text":"event: message_stop"}}\n\n',
            b"data: [DONE",
            b"",
        ],
    )
    def test_any_other_event_does_not(self, last: bytes) -> None:
        relay = EventRelay(strips_usage=True)
        relay.feed(b"data: {}\n\n")
        relay.feed(last)
        assert not relay.is_complete

    @pytest.mark.parametrize(
        "error",
        [
            b'data: {"error":{"message":"engine died"}}\n\ndata: [DONE]\n\n',
            b'data: {"error": {"message":"engine died"}}\r\n\r\ndata: [DONE]\r\n\r\n',
            b'event: error\ndata: {"type":"error","error":{"message":"engine died"}}\n\n',
        ],
    )
    @pytest.mark.parametrize("is_split", [False, True])
    def test_an_error_event_is_seen(self, error: bytes, is_split: bool) -> None:
        relay = EventRelay(strips_usage=True)
        relay.feed(b"data: {}\n\n")
        parts = re.split(rb"(?<=\n\n)|(?<=\n\r\n)", error) if is_split else [error]
        assert b"".join(relay.feed(part) for part in parts) == b""
        assert (relay.fault, relay.said) == ("failed", error)
        said, relay.said, relay.fault, relay.lets_faults_pass = relay.said, b"", "", True
        assert relay.feed(said) == error
        assert relay.has_error

    def test_a_clients_mistake_is_told_in_the_one_shape_and_is_no_fault_of_the_engine(self) -> None:
        relay = EventRelay(strips_usage=False, ends_in_choices=True)
        token = b'data: {"choices":[{"index":0}]}\n\n'
        error = b'data: {"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}\n\n'
        told = b'data: {"error":{"message":"no","type":"invalid_request_error","param":null,"code":"engine_error"}}\n\n'
        assert relay.feed(token + error + b"data: [DONE]\n\n") == token + told + b"data: [DONE]\n\n"
        assert relay.fault == ""
        assert relay.has_error


class TestFindUsage:
    @pytest.mark.parametrize(
        ("body", "usage"),
        [
            ({"usage": {"prompt_tokens": 5, "total_tokens": 5}}, (5, -1, -1)),
            ({"usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, "x": [1, 2]}, (5, 7, -1)),
            ({"usage": {"input_tokens": 13, "output_tokens": 6, "cache_read_input_tokens": 4}}, (17, 6, 4)),
            (
                {"usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 8}, "output_tokens": 3}},
                (9, 3, 8),
            ),
            ({"usage": USAGE, "prompt_logprobs": None}, (37, 8, 16)),
            ({"usage": None}, None),
            ({"usage": {}}, None),
            ({"choices": [{"text": '"usage":{"prompt_tokens":9}'}]}, None),
            ({"usage": {"prompt_tokens": 5}, "tools": [{"properties": {"usage": {"type": "string"}}}]}, (5, -1, -1)),
            ({}, None),
        ],
    )
    def test_every_dialect_is_understood(self, body: dict[str, object], usage: tuple[int, int, int] | None) -> None:
        assert find_usage(json.dumps(body, separators=(",", ":")).encode()) == usage
        assert find_usage(json.dumps(body).encode()) == usage

    @given(st.binary(max_size=80))
    def test_garbage_has_no_usage_or_some_and_never_fails(self, data: bytes) -> None:
        find_usage(data)
        find_usage(b'"usage":' + data)

    @pytest.mark.parametrize(
        "name",
        [
            "chat_plain",
            "comp_plain",
            "emb_batch",
            "rerank",
            "score",
            "responses_plain",
            "messages_anthropic",
            "pooling",
        ],
    )
    def test_recorded_answers_of_vllm_tell_their_usage(self, name: str) -> None:
        path = RECORDED / f"{name}.http"
        if not path.exists():
            pytest.skip("the recorded answers of vLLM are not beside this checkout")
        body = path.read_bytes().partition(b"\n\n")[2] or path.read_bytes().partition(b"\r\n\r\n")[2]
        usage = json.loads(body)["usage"]
        found = find_usage(body)
        assert found is not None
        assert found[0] == usage.get("prompt_tokens", usage.get("input_tokens"))
        assert found[1] in (usage.get("completion_tokens", usage.get("output_tokens", -1)), -1)

    @pytest.mark.parametrize(
        "name",
        ["chat_stream_usage", "chat_stream_usage_continuous", "messages_anthropic_stream", "responses_stream"],
    )
    def test_recorded_streams_of_vllm_tell_their_usage_and_end(self, name: str) -> None:
        path = RECORDED / f"{name}.http"
        if not path.exists():
            pytest.skip("the recorded answers of vLLM are not beside this checkout")
        wire = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2].rstrip(b"\n") + b"\n\n"
        relay = EventRelay(strips_usage=False)
        events = [e + b"\n\n" for e in wire.split(b"\n\n")[:-1]]
        assert b"".join(map(relay.feed, events)) == wire
        assert relay.is_complete
        assert not relay.has_error
        assert relay.usage is not None
        assert min(relay.usage[:2]) > 0


@pytest.mark.parametrize(
    "events",
    [
        [b"data: [DONE]\n\n"],
        [b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":0}}\n\n', b"data: [DONE]\n\n"],
        [b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n', b"data: [DONE]\n\n"],
    ],
)
@pytest.mark.parametrize("is_joined", [False, True])
@pytest.mark.parametrize("strips_usage", [False, True])
def test_an_end_without_a_reason_is_held_back(events: list[bytes], is_joined: bool, strips_usage: bool) -> None:
    relay = EventRelay(strips_usage=strips_usage, ends_in_choices=True)
    out = b"".join(relay.feed(piece) for piece in ([b"".join(events)] if is_joined else events))
    assert out == b"".join(e for e in events if b"delta" in e)
    assert relay.fault == "ended the stream without a finish reason"


def test_an_end_with_a_reason_goes_on_wherever_the_usage_stands() -> None:
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":0}}\n\n'
    relay = EventRelay(strips_usage=False, ends_in_choices=True)
    events = [last, usage, b"data: [DONE]\n\n"]
    assert b"".join(relay.feed(e) for e in events) == b"".join(events)
    assert relay.fault == ""


class TestResponseThatWasDropped:
    """vLLM 0.32 ends a response of gpt-oss that it was told to drop as completed, with the status `cancelled`."""

    SAID = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"on"}\n\n'

    @staticmethod
    def _last(status: str, kind: str = "response.completed", **more: object) -> bytes:
        response = {"id": "resp_1", "error": None, "status": status, "output": [], **more}
        told = json.dumps({"response": response, "sequence_number": 9, "type": kind}, separators=(",", ":"))
        return f"event: {kind}\ndata: {told}\n\n".encode()

    @pytest.mark.parametrize("is_joined", [False, True])
    def test_is_no_whole_answer(self, *, is_joined: bool) -> None:
        relay, last = EventRelay(strips_usage=False), self._last("cancelled")
        pieces = [self.SAID + last] if is_joined else [self.SAID, last]
        assert b"".join(map(relay.feed, pieces)) == self.SAID
        assert relay.fault == "dropped the request"
        assert relay.said == last

    @pytest.mark.parametrize(
        "last",
        [
            _last("completed"),
            _last("incomplete", "response.incomplete"),
            _last("completed", metadata={"status": "cancelled"}),
            _last("cancelled", "response.created"),
        ],
    )
    def test_others_go_on(self, last: bytes) -> None:
        relay = EventRelay(strips_usage=False)
        assert relay.feed(self.SAID) + relay.feed(last) == self.SAID + last
        assert relay.fault == ""
