"""The answer to a chat: one JSON object, or a stream of chunks.

Guarantees: keys, their order and their presence as vLLM 0.32 sends them, chunk by chunk: a role chunk for each choice
before the first text, the finish reason on the last chunk of a choice, usage and `[DONE]` at the end. Leaves to others:
what the text is, and sending it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.simulate.engine.api.encoding import DONE, dump, quote
from penstock.simulate.engine.api.envelope import Envelope, StreamUsage, Usage
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.logprobs import chat_logprobs
from penstock.simulate.engine.api.sequence import OutputSequence, Piece

__all__ = ["ChatShape", "ChatStream", "ToolCall", "chat_completion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The call that the whole text of a choice is the arguments of."""

    id: str
    name: str
    finish_reason: str
    """`stop` for a named tool, `tool_calls` otherwise, as vLLM has it."""
    content: str | None = ""
    """Content beside the call in an answer that is not a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatShape:
    """What the request asked the answer to look like."""

    wants_token_ids: bool = False
    wants_logprobs: bool = False
    echo: str = ""
    """Text of the request's own last message, given out first."""
    tool_calls: tuple[ToolCall | None, ...] = ()
    """By choice; None where the choice is plain text."""
    usage: StreamUsage = field(default_factory=StreamUsage)

    def call_of(self, index: int) -> ToolCall | None:
        return self.tool_calls[index] if index < len(self.tool_calls) else None


def chat_completion(
    envelope: Envelope,
    shape: ChatShape,
    sequences: Sequence[OutputSequence],
    usage: Usage,
    prompt_logprobs: list[dict[str, Any] | None] | None = None,
) -> bytes:
    """The whole answer."""
    return dump(
        {
            "id": envelope.id,
            "object": "chat.completion",
            "created": envelope.created,
            "model": envelope.model,
            "choices": [_choice(shape, sequence) for sequence in sequences],
            "service_tier": None,
            "system_fingerprint": envelope.fingerprint,
            "usage": usage.full(),
            "prompt_logprobs": prompt_logprobs,
            "prompt_token_ids": None if envelope.prompt_ids is None else list(envelope.prompt_ids),
            "prompt_text": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }
    )


def _choice(shape: ChatShape, sequence: OutputSequence) -> dict[str, Any]:
    call = shape.call_of(sequence.index)
    content: str | None = shape.echo + sequence.text
    called: dict[str, Any] = {}
    if call is not None:
        content = call.content
        function = {"name": call.name, "arguments": sequence.text}
        called["tool_calls"] = [{"id": call.id, "type": "function", "function": function}]
    return {
        "index": sequence.index,
        "message": {
            "role": "assistant",
            "content": content,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            **called,
            "reasoning": None,
        },
        "logprobs": chat_logprobs(sequence.logprobs) if shape.wants_logprobs else None,
        "finish_reason": _finish(sequence.finish_reason, call),
        "stop_reason": sequence.stop_reason,
        "token_ids": sequence.token_ids if shape.wants_token_ids else None,
        "routed_experts": None,
    }


def _finish(reason: str | None, call: ToolCall | None) -> str | None:
    return call.finish_reason if call is not None and reason == "stop" else reason


class ChatStream:
    """Chunks of one streamed chat. Owned by its request; each returned item is one event."""

    def __init__(self, envelope: Envelope, shape: ChatShape, choices: int, usage: Usage) -> None:
        self._envelope = envelope
        self._shape = shape
        self._choices = choices
        self._usage = usage
        self._has_begun = False
        self._named: set[int] = set()
        self._counts = [0] * choices
        head = {"id": envelope.id, "object": "chat.completion.chunk", "created": envelope.created}
        self._head = b"data: " + dump(head | {"model": envelope.model})[:-1] + b',"choices":['
        self._fingerprint = b',"system_fingerprint":' + quote(envelope.fingerprint)

    def push(self, piece: Piece) -> list[bytes]:
        """Events of one piece."""
        events: list[bytes] = []
        if not self._has_begun:
            self._has_begun = True
            events += self._openings()
        count = len(piece.token_ids)
        self._counts[piece.index] += count
        self._usage.completion_tokens += count
        call = self._shape.call_of(piece.index)
        if call is None:
            events.append(self._chunk(piece, b'{"content":' + quote(piece.text) + b"}", piece.finish_reason))
        else:
            events += self._call_chunks(piece, call)
        return events

    def close(self) -> list[bytes]:
        """The last events, after every choice has finished."""
        events = []
        if self._shape.usage.at_end:
            usage = b'],"usage":' + dump(self._usage.brief()) + self._fingerprint + b"}\n\n"
            events.append(self._head + usage)
        events.append(DONE)
        return events

    def fail(self, error: ApiError) -> list[bytes]:
        """The last events of a stream whose engine died."""
        return [error.event(), DONE]

    def _openings(self) -> list[bytes]:
        shown = self._envelope.prompt_ids
        ids = b"null" if shown is None else dump(list(shown))
        events = []
        for index in range(self._choices):
            choice = (
                b'{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]' % index
            )
            tail = b',"prompt_token_ids":' + ids + b',"prompt_text":null}\n\n'
            events.append(self._head + choice + self._running_usage(index) + tail)
            if self._shape.echo:
                delta = b'{"content":' + quote(self._shape.echo) + b"}"
                events.append(self._chunk(Piece(index, "", ()), delta, None))
        return events

    def _call_chunks(self, piece: Piece, call: ToolCall) -> list[bytes]:
        events = []
        if piece.index not in self._named:
            self._named.add(piece.index)
            named = {"id": call.id, "type": "function", "index": 0, "function": {"name": call.name}}
            events.append(self._chunk(piece, dump({"content": None, "tool_calls": [named]}), None))
        if piece.text:
            more = {"index": 0, "function": {"arguments": piece.text}}
            events.append(self._chunk(piece, dump({"content": None, "tool_calls": [more]}), None))
        if piece.finish_reason is not None:
            events.append(self._chunk(piece, b"{}", _finish(piece.finish_reason, call)))
        return events

    def _chunk(self, piece: Piece, delta: bytes, finish: str | None) -> bytes:
        logprobs = b"null"
        if self._shape.wants_logprobs and piece.logprobs:
            logprobs = dump(chat_logprobs(piece.logprobs))
        ids = dump(list(piece.token_ids)) if self._shape.wants_token_ids else b"null"
        if finish is None:
            end = b"null"
            tail = b""
        else:
            end = quote(finish) + b',"stop_reason":' + dump(piece.stop_reason)
            tail = b"" if self._shape.usage.at_end else self._fingerprint
        return b"".join(
            (
                self._head,
                b'{"index":%d,"delta":' % piece.index,
                delta,
                b',"logprobs":',
                logprobs,
                b',"finish_reason":',
                end,
                b',"token_ids":',
                ids,
                b"}]",
                self._running_usage(piece.index),
                tail,
                b"}\n\n",
            )
        )

    def _running_usage(self, index: int) -> bytes:
        """Usage so far of one choice, on each chunk where the request asked for it."""
        if not self._shape.usage.continuous:
            return b""
        usage = Usage(self._usage.prompt_tokens, self._counts[index]).brief()
        return b',"usage":' + dump(usage | {"completion_tokens_details": None})
