"""A stream of chat completions as one of the Messages API, event by event.

Guarantees: any bytes, cut anywhere, give whole events and no error; blocks never overlap; everything that the model
said is told once, in its order within each block. Only for engines that don't serve the API: each event is parsed.

    message_start, then for each block start, deltas, stop; then message_delta with usage, message_stop
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from penstock.serve.wire.errors import Failure, error_event
from penstock.serve.wire.messages.from_chat import message_id, objects, stop_of, usage_of

__all__ = ["ChatEvents"]

LINE_BYTES_MAX = 1 << 20
"""Bytes of one event that are held until it is whole; a longer one ends the stream with an error."""
TOOLS_MAX = 128
"""Calls of one answer; more is a model gone wrong."""

Block = Literal["", "text", "thinking", "tool"]


class ChatEvents:
    """The translator of one stream. Owned by its exchange."""

    __slots__ = (
        "_block",
        "_calls",
        "_carry",
        "_finish",
        "_index",
        "_is_started",
        "_late_text",
        "_matched",
        "_model",
        "_out",
        "_tool",
        "_usage",
        "is_over",
    )

    def __init__(self, *, model: str) -> None:
        """`model`: what the client calls the model."""
        self._model = model
        self._carry = b""
        self._out = bytearray()
        self._is_started = False
        self._block: Block = ""
        self._index = -1
        self._tool = -1  # index of the call whose block is open
        self._calls: dict[int, tuple[str, str, list[str]]] = {}  # calls that wait until the open one is whole
        self._late_text: list[str] = []  # said after a call began
        self._finish: object = None
        self._matched: object = None
        self._usage: object = None
        self.is_over = False
        """Whether the last event was told: `message_stop`, or an error."""

    def feed(self, payload: bytes) -> bytes:
        """Takes a piece of the stream, returns the events that it makes."""
        *lines, self._carry = (self._carry + payload).split(b"\n")
        for line in lines:
            if not self.is_over:
                self._line(line.removesuffix(b"\r"))
        if len(self._carry) > LINE_BYTES_MAX and not self.is_over:
            self._fail("sent an event that does not end")
        out = bytes(self._out)
        self._out.clear()
        return out

    def end(self) -> bytes:
        """The stream is over: an error where it was not whole."""
        out = self.feed(b"\n")
        if not self.is_over:
            self._fail("ended the stream before its last event")
            out += bytes(self._out)
            self._out.clear()
        return out

    def _line(self, line: bytes) -> None:
        if line.startswith(b":"):
            self._tell("ping")
            return
        if not line.startswith(b"data:"):
            return
        text = line[5:].strip()
        if text == b"[DONE]":
            self._close()
            return
        try:
            chunk = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        if type(chunk) is dict:
            self._chunk(chunk)

    def _chunk(self, chunk: dict[str, Any]) -> None:
        error = chunk.get("error")
        if error is not None and error is not False:
            said = error.get("message") if type(error) is dict else error
            self._fail(f"failed: {str(said)[:500]}")
            return
        if not self._is_started:
            self._start(chunk)
        if chunk.get("usage") is not None:
            self._usage = chunk["usage"]
        choices = chunk.get("choices")
        if type(choices) is not list or not choices or type(choices[0]) is not dict:
            return
        choice = choices[0]
        delta = choice.get("delta")
        if type(delta) is dict:
            self._delta(delta)
        if choice.get("finish_reason") == "abort":
            self._fail("dropped the request")
        elif choice.get("finish_reason") is not None:
            self._finish, self._matched = choice["finish_reason"], choice.get("stop_reason")

    def _start(self, chunk: dict[str, Any]) -> None:
        self._is_started = True
        message: dict[str, Any] = {
            "id": message_id(chunk.get("id")),
            "type": "message",
            "role": "assistant",
            "model": self._model or str(chunk.get("model") or ""),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(chunk.get("usage")),
        }
        ids = chunk.get("prompt_token_ids")  # for who asked for them; the API has none
        self._tell("message_start", message=message, **({} if ids is None else {"prompt_token_ids": ids}))

    def _delta(self, delta: dict[str, Any]) -> None:
        thoughts = delta.get("reasoning") or delta.get("reasoning_content")
        if type(thoughts) is str and thoughts and not self._is_calling:
            self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            self._piece({"type": "thinking_delta", "thinking": thoughts})
        text = delta.get("content")
        if type(text) is str and text:
            if self._is_calling:
                self._late_text.append(text)
            else:
                self._open("text", {"type": "text", "text": ""})
                self._piece({"type": "text_delta", "text": text})
        for call in objects(delta.get("tool_calls")):
            self._call(call)

    @property
    def _is_calling(self) -> bool:
        return self._block == "tool" or bool(self._calls)

    def _call(self, call: dict[str, Any]) -> None:
        """A piece of a call. The first goes on as it comes; those beside it wait, as blocks don't overlap."""
        index = call.get("index")
        index = index if type(index) is int else 0
        function = call.get("function")
        function = function if type(function) is dict else {}
        piece = function.get("arguments")
        piece = piece if type(piece) is str else ""
        if index == self._tool:
            if piece:
                self._piece({"type": "input_json_delta", "partial_json": piece})
            return
        call_id, name, pieces = self._calls.get(index, ("", "", []))
        if len(self._calls) >= TOOLS_MAX and index not in self._calls:
            self._fail(f"made more than {TOOLS_MAX} calls")
            return
        pieces.append(piece)
        self._calls[index] = (call_id or str(call.get("id") or ""), name or str(function.get("name") or ""), pieces)
        if self._tool < 0 and self._calls[index][1]:
            self._open_call(index)

    def _open_call(self, index: int) -> None:
        call_id, name, pieces = self._calls.pop(index)
        self._shut()
        self._tool = index
        block = {"type": "tool_use", "id": call_id or f"call_{index}", "name": name, "input": {}}
        self._open("tool", block)
        if arguments := "".join(pieces):
            self._piece({"type": "input_json_delta", "partial_json": arguments})

    def _open(self, kind: Block, block: dict[str, Any]) -> None:
        if self._block == kind:
            return
        self._shut()
        self._block = kind
        self._index += 1
        self._tell("content_block_start", index=self._index, content_block=block)

    def _shut(self) -> None:
        if self._block:
            self._block = ""
            self._tell("content_block_stop", index=self._index)

    def _piece(self, delta: dict[str, Any]) -> None:
        self._tell("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> None:
        """The stream is whole: what waited, and the end."""
        if self._finish is None:
            self._fail("ended the stream without a finish reason")
            return
        for index in sorted(self._calls):
            self._open_call(index)
        has_tools = self._tool >= 0
        if self._late_text:
            self._open("text", {"type": "text", "text": ""})
            self._piece({"type": "text_delta", "text": "".join(self._late_text)})
        self._shut()
        reason, sequence = stop_of(self._finish, self._matched, has_tools=has_tools)
        ending = {"stop_reason": reason, "stop_sequence": sequence}
        self._tell("message_delta", delta=ending, usage=usage_of(self._usage))
        self._tell("message_stop")
        self.is_over = True

    def _fail(self, reason: str) -> None:
        failure = Failure(status=502, code="upstream_error", message=f"The engine {reason}.", outcome="upstream_error")
        self._out += error_event(failure, "anthropic")
        self._calls.clear()
        self.is_over = True

    def _tell(self, kind: str, **fields: Any) -> None:
        self._out += b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))
