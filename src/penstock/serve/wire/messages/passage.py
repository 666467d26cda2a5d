"""A request and an answer of the Messages API on their way through an engine that knows only chat completions.

The path and the body of the request, the body of a whole answer, and the body of a stream, read as if the engine had
spoken the Messages API itself.
"""

from __future__ import annotations

from typing import Any

import orjson

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.messages.from_chat import from_chat
from penstock.serve.wire.messages.stream import ChatEvents
from penstock.serve.wire.messages.to_chat import count_answer, count_request, to_chat
from penstock.serve.wire.responses import Body

__all__ = ["CHAT_PATHS", "TranslatedBody", "translated_answer", "translated_request"]

COUNT_PATH = "/v1/messages/count_tokens"
CHAT_PATHS = {"/v1/messages": "/v1/chat/completions", COUNT_PATH: "/tokenize"}
"""Paths of the Messages API, and where an engine answers the same that does not serve them."""


class TranslatedBody:
    """The body of a stream of chat completions; `feed` returns the events of the Messages API that it makes. To be read
    like the bodies of `wire.responses`, but never to be passed on unread."""

    __slots__ = ("_body", "_events", "_is_ended")

    def __init__(self, body: Body, *, model: str) -> None:
        """`model`: what the client calls the model."""
        self._body = body
        self._events = ChatEvents(model=model)
        self._is_ended = False

    @property
    def is_done(self) -> bool:
        """Whether the body has come to its end."""
        return self._body.is_done

    @property
    def is_overrun(self) -> bool:
        """Whether more came than the body."""
        return self._body.is_overrun

    def feed(self, data: bytes) -> bytes:
        """Takes a read, returns the payload that it makes.

        Raises:
            ResponseError: the body breaks HTTP.
        """
        out = self._events.feed(self._body.feed(data))
        if self._body.is_done and not self._is_ended:
            self._is_ended = True
            out += self._events.end()
        return out


def translated_request(path: str, body: bytes, *, is_vllm: bool = True) -> bytes:
    """The body for `CHAT_PATHS[path]` that asks the same. `body` was read and mended before."""
    fields: dict[str, Any] = orjson.loads(body)
    return orjson.dumps(count_request(fields) if path == COUNT_PATH else to_chat(fields, is_vllm=is_vllm))


def translated_answer(path: str, body: bytes, *, model: str) -> bytes | Failure:
    """The whole answer of an engine as the Messages API tells it; 502 where it is no such answer."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if type(answer) is not dict or (path == COUNT_PATH and not ("count" in answer or "tokens" in answer)):
        message = "The engine answered with something else than a chat completion."
        return Failure(status=502, code="upstream_error", message=message, outcome="upstream_error")
    return orjson.dumps(count_answer(answer) if path == COUNT_PATH else from_chat(answer, model=model))
