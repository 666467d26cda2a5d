"""Coverage-guided fuzzing of what reads bytes from the network, with atheris.

    python bench/fuzz_wire.py --target sse --seconds 60

Each target takes bytes and holds a law over them: nothing but the documented error is raised, and what a reader makes
of the bytes does not depend on where reads end. A finding is written to `crash-…` in the working folder; turn it into a
test. The same targets run without atheris in `tests/bench/test_fuzz_wire.py`, on bytes that hypothesis draws.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httptools
import orjson

from penstock.serve.delivered import Delivered
from penstock.serve.io.request_reader import RequestReader
from penstock.serve.stored import last_response
from penstock.serve.wire.errors import Failure, normalise_engine_error
from penstock.serve.wire.heads import RequestHead
from penstock.serve.wire.messages import ChatEvents, from_chat, mend, to_chat
from penstock.serve.wire.multipart import form_boundary, form_fields
from penstock.serve.wire.requests import ApiRequest, read_json, upstream_body
from penstock.serve.wire.responses import ChunkedBody, ResponseError, parse_head
from penstock.serve.wire.routes import ROUTES
from penstock.serve.wire.sse import EventRelay
from penstock.spec import LimitsSpec

__all__ = ["TARGETS"]


def _halves(data: bytes) -> tuple[bytes, bytes]:
    """The bytes in two reads; the first byte says where they part."""
    if not data:
        return b"", b""
    at = data[0] * len(data) // 256
    return data[1:][:at], data[1:][at:]


def head(data: bytes) -> None:
    """A response head is the same whether it comes in one read or grows."""
    whole = _outcome(lambda: parse_head(data[1:]))
    first, _ = _halves(data)
    if isinstance(_outcome(lambda: parse_head(first)), str):
        assert isinstance(whole, str), "more bytes made a broken head whole"


def chunked(data: bytes) -> None:
    """A chunked body is the same however it is cut."""
    one, two = ChunkedBody(), ChunkedBody()
    first, second = _halves(data)
    whole = _outcome(lambda: one.feed(data[1:]))
    parts = _outcome(lambda: two.feed(first) + two.feed(second))
    if not isinstance(whole, str) and not isinstance(parts, str):
        assert whole == parts
        assert one.is_done == two.is_done
        assert one.is_overrun == two.is_overrun
    else:
        assert isinstance(whole, str) == isinstance(parts, str), (whole, parts)


def sse(data: bytes) -> None:
    """A stream of events passes whole, in order, however it is cut, up to where the engine gave it up."""
    for strips in (False, True):
        one, two = (EventRelay(strips_usage=strips, ends_in_choices=True) for _ in range(2))
        first, second = _halves(data)
        whole = one.feed(data[1:])
        parts = two.feed(first) + two.feed(second)
        if not (one.fault or two.fault):
            assert whole + one.end() == parts + two.end()
        if not strips and not one.fault:
            assert whole == data[1:][: len(whole)]


def request(data: bytes) -> None:
    """Requests are the same however they are cut."""
    first, second = _halves(data)
    assert _requests([data[1:]]) == _requests([first, second])


class _Sink:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []

    def head_complete(self, head: RequestHead, *, expects_continue: bool) -> bool:
        return True

    def body_too_large(self, head: RequestHead) -> None:
        self.seen.append((head.method, "too large", b""))

    def request_complete(self, head: RequestHead, body: bytes) -> None:
        self.seen.append((head.method, head.path, body))


def _requests(reads: list[bytes]) -> list[tuple[str, str, bytes]]:
    sink = _Sink()
    reader = RequestReader(sink, LimitsSpec())
    with suppress(httptools.HttpParserError):
        for read in reads:
            reader.feed(read, 0.0)
    reader.close()
    return sink.seen


def body(data: bytes) -> None:
    """A body is read or refused, and goes on as JSON that says the same."""
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/rerank", "/tokenize"):
        found = read_json(ROUTES[path], data)
        if isinstance(found, ApiRequest):
            sent = orjson.loads(upstream_body(ROUTES[path], found, data, "other"))
            assert sent["model"] == "other"
            if path == "/v1/messages" and found.fields is not None:
                _message(found.fields)


def _message(fields: dict[str, Any]) -> None:
    mended = mend(fields)
    if not isinstance(mended, Failure):
        orjson.dumps(to_chat(mended.fields))


def chat(data: bytes) -> None:
    """Any stream becomes whole events of the Messages API that end once."""
    events = ChatEvents(model="m")
    first, second = _halves(data)
    out = events.feed(first) + events.feed(second) + events.end()
    told = [event.split(b"\n")[0] for event in out.split(b"\n\n")[:-1]]
    assert sum(name in (b"event: message_stop", b"event: error") for name in told) == 1
    with suppress(orjson.JSONDecodeError):
        if isinstance(answer := orjson.loads(data), dict):
            orjson.dumps(from_chat(answer))


def form(data: bytes) -> None:
    """Any bytes give fields within them, or none."""
    first, second = _halves(data)
    boundary = form_boundary("multipart/form-data; boundary=" + first.decode("latin-1"))
    for _, start, end in form_fields(second, boundary or b"x"):
        assert 0 <= start <= end <= len(second)


def error(data: bytes) -> None:
    """Any error of an engine is one in the client's API; a stream's last response is JSON or nothing."""
    for dialect in ("openai", "responses", "anthropic"):
        assert orjson.loads(normalise_engine_error(400 + len(data) % 200, data, dialect))["error"]["message"]  # type: ignore[arg-type]
    found = last_response(data)
    assert not found or isinstance(orjson.loads(found), dict)


def delivered(data: bytes) -> None:
    """What a client has is read from any bytes without an error."""
    first, second = _halves(data)
    Delivered([first, second], is_chunked=False).settle()


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (head, chunked, sse, request, body, chat, form, error, delivered)
}


def _outcome(read: Callable[[], Any]) -> Any:
    """What was read, or how it was refused."""
    try:
        return read()
    except ResponseError as refusal:
        return f"refused: {refusal}"


def main() -> None:
    """Fuzzes one target until the time is over."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--target", choices=sorted(TARGETS), required=True)
    options.add_argument("--seconds", type=int, default=60)
    chosen = options.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed: pip install 'penstock[fuzz]' or 'atheris>=3,<4'")
    for name in [n for n in sys.modules if n.partition(".")[0] == "penstock"]:
        del sys.modules[name]  # to be loaded anew, with counters in it: everything else stays as fast as it is
    with atheris.instrument_imports(include=["penstock"]):
        fresh = runpy.run_path(__file__)
    atheris.Setup([sys.argv[0], f"-max_total_time={chosen.seconds}", "-max_len=4096"], fresh["TARGETS"][chosen.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
