"""However a stream is cut, what its client hears is a prefix of the uncut stream, and in the end all of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.exchanges import DONE, END, SSE_HEAD, Call, chunk, core, request
from serve.gateways import config
from serve.streams import RECORDED, Text, at, chat, heard, recorded, usage

GREEDY = {"temperature": 0}
SETTINGS = config()
SHAPES = (
    "chat_stream",
    "chat_stream_usage",
    "chat_stream_usage_continuous",
    "chat_stream_interval4_ids",
    "chat_logprobs_stream",
    "chat_n2_stream",
    "chat_reasoning_stream",
    "chat_return_token_ids_stream",
    "chat_tools_named_stream",
    "chat_tools_named_strictlevel_stream",
    "comp_stream",
)


def wire_of(events: list[bytes]) -> bytes:
    return SSE_HEAD + b"".join(map(chunk, events)) + END


def start(body: dict[str, Any], path: str, endpoints: int = 4) -> Call:
    return Call(core(endpoints, settings=SETTINGS), request(path), **{**body, "model": "chat", "stream": True}).send()


def run(call: Call, wires: list[bytes], cuts: list[int], size: int = 1 << 20) -> Call:
    """Each attempt gets its wire up to its cut, in reads of `size`; the last one whole."""
    for number, wire in enumerate(wires):
        part = wire[: cuts[number]] if number < len(cuts) else wire
        for place in range(0, len(part), size):
            if not call.is_over:
                call.engine(part[place : place + size])
        if number < len(cuts) and not call.is_over:
            call.lose("reset the connection")
    return call


def is_prefix(part: Text, whole: Text) -> bool:
    """Whether everything in `part` begins `whole`, and nothing was said twice."""
    for key, value in part.items():
        if key in (("ids",), ("usage",)):
            continue
        if key not in whole:
            return False
        full = whole[key]
        if isinstance(full, int):
            if value > full:
                return False
        elif full[: len(value)] != value:
            return False
    return True


def same(got: Text, whole: Text, first: list[bytes]) -> None:
    """Asserts that nothing is missing or double; ids are those of the first attempt where it had said any."""
    assert {k: v for k, v in got.items() if k != ("ids",)} == {k: v for k, v in whole.items() if k != ("ids",)}
    assert len(got["ids",]) == 1
    assert not first or got["ids",] == heard(b"".join(first))["ids",]


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers are not here")
@pytest.mark.parametrize("name", SHAPES)
def test_a_recorded_stream_cut_at_any_byte_is_heard_whole_and_once(name: str) -> None:
    body, events = recorded(name)
    path = "/v1/completions" if name.startswith("comp") else "/v1/chat/completions"
    body |= GREEDY if "seed" not in body else {}
    first, second = wire_of(events), wire_of(at(events, 77))
    whole = heard(start(body, path).engine(first).settled().client.body)
    is_tool = any(key[1:2] == ("tool",) for key in whole)
    for cut in range(len(SSE_HEAD), len(first) - len(END), 1 if len(first) < 3000 else 5):
        call = start(body, path)
        call.engine(first[:cut])
        before = heard(call.client.body)
        assert is_prefix(before, whole)
        run(call.lose("reset the connection"), [second], [])
        if call.record.resumes == 0:  # it had said its last word
            assert DONE in first[:cut]
        got = heard(call.settled().client.body)
        assert call.client.is_whole
        assert call.outcome == ("ok", "")
        if is_tool:  # the id is the first attempt's where the client had it, else the second's
            ids = [key for key in whole if key[-1] == "id"]
            for key in ids:
                assert got[key] in (whole[key], whole[key].replace("chatcmpl-tool-", "chatcmpl-tool-other"))
                assert key not in before or got[key] == before[key]
                got[key] = whole[key]
        same(got, whole, events if before else [])


TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=6), max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    texts=TEXTS,
    groups=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    cuts=st.lists(st.integers(0, 10_000), max_size=2),
    size=st.sampled_from([1, 2, 3, 7, 100, 1 << 20]),
    wants_usage=st.booleans(),
    choices=st.integers(1, 2),
)
def test_attempts_that_group_their_tokens_differently_are_one_text(
    *, texts: list[str], groups: list[int], cuts: list[int], size: int, wants_usage: bool, choices: int
) -> None:
    wires = []
    for number, group in enumerate(groups):
        joined = ["".join(texts[n : n + group]) for n in range(0, len(texts), group)]
        events = [e for index in range(choices) for e in chat(joined, created=10 + number, index=index)]
        wires.append(wire_of([*events, usage(len(texts), 10 + number), DONE]))
    places = [len(SSE_HEAD) + cut % (len(wire) - len(SSE_HEAD) + 1) for cut, wire in zip(cuts, wires, strict=False)]
    options = {"stream_options": {"include_usage": True}} if wants_usage else {}
    call = start({**GREEDY, "n": choices, **options}, "/v1/chat/completions")
    run(call, wires, places, size).settled()
    got = heard(call.client.body)
    assert call.outcome == ("ok", "")
    for index in range(choices):
        assert got.get((index, "content"), "") == "".join(texts)
        assert (got[index, "role"], got[index, "finish"]) == (1, "length")
    assert got["done",] == 1
    assert len(got["ids",]) == 1
    assert got.get(("usages",), 0) == int(wants_usage)
    assert call.record.output_tokens == len(texts)


@settings(max_examples=100, deadline=None)
@given(texts=TEXTS, other=TEXTS, cut=st.integers(0, 10_000))
def test_an_attempt_that_says_something_else_never_reaches_the_client(
    texts: list[str], other: list[str], cut: int
) -> None:
    first, second = (wire_of([*chat(t), DONE]) for t in (texts, other))
    place = len(SSE_HEAD) + cut % (len(first) - len(SSE_HEAD) + 1)
    call = start(GREEDY, "/v1/chat/completions")
    call.engine(first[:place])
    before = heard(call.client.body).get((0, "content"), "")
    if not call.is_over:
        run(call.lose(), [second], [])
    got = heard(call.settled().client.body).get((0, "content"), "")
    if call.outcome == ("ok", ""):
        assert got in ("".join(texts), "".join(other))
    else:
        assert call.outcome == ("upstream_error", "replay_diverged")
        assert before or other != texts
    assert got.startswith(before)
    assert "".join(texts).startswith(got) or "".join(other).startswith(got)


def test_long_streams_are_read_as_they_grow_and_still_resume() -> None:
    texts = [f"word{n} é" for n in range(3000)]
    events = [*chat(texts), DONE]
    call = start(GREEDY, "/v1/chat/completions")
    call.engine(SSE_HEAD)
    for e in events[:2500]:
        call.engine(chunk(e)).late(0.0)
    assert sum(map(len, call.exchange._answer.settle(1 << 30).pieces)) < 70_000  # type: ignore[union-attr]
    run(call.lose(), [wire_of(at(events, 9))], []).settled()
    assert heard(call.client.body)[0, "content"] == "".join(texts)
    assert re.findall(rb'"created":(\d+)', call.client.body).count(b"9") == 0
