"""The laws of `bench/fuzz_wire.py`, on bytes that hypothesis draws from pieces of the real thing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fuzz_wire import TARGETS

PIECES = [
    *(b"HTTP/1.1 200 OK\r\n", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"content-type: text/x\r\n"),
    *(b"\r\n", b"\n\n", b"\r\n\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ff\r\n", b"hello", b"\xe2\x98", b"\x83", b"\0"),
    *(b"data: ", b"data: [DONE]\n\n", b": ping\n\n", b"event: error\n", b'data: {"error":{"message":"x"}}\n\n'),
    *(b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n', b'"finish_reason":"abort"'),
    *(b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n', b'"usage":', b'"error"'),
    *(
        b"POST /v1/messages HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"upgrade: x\r\nconnection: upgrade\r\n",
        b"expect: 1\r\n",
    ),
    *(b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":', b'[{"type":"text","text":"x"}]', b"}]}"),
    *(
        b'{"type":"document"},',
        b'"tools":[{"type":"bash_20250124"}]',
        b"--x\r\n",
        b'content-disposition: form-data; name="a"',
    ),
    *(b'data: {"type":"response.completed","response":{"id":"r"}}\n\n', b'{"detail":[{"loc":["a"],"msg":"b"}]}', b"{}"),
]
BYTES = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=12).map(b"".join)


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(derandomize=True, max_examples=150, deadline=None)
@given(first=st.binary(min_size=1, max_size=1), rest=BYTES)
def test_a_law_holds_over_any_bytes(name: str, first: bytes, rest: bytes) -> None:
    TARGETS[name](first + rest)
