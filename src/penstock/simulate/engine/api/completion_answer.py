"""The answer to a completion: one JSON object, or a stream of chunks.

Guarantees: keys, their order and their presence as vLLM 0.32 sends them; `echo` gives the prompt first. Leaves to
others: what the text is, and sending it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.simulate.engine.api.encoding import DONE, dump, quote
from penstock.simulate.engine.api.envelope import Envelope, StreamUsage, Usage
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.logprobs import CompletionLogprobs, prompt_logprobs
from penstock.simulate.engine.api.sequence import OutputSequence, Piece, TokenLogprob

__all__ = ["CompletionShape", "CompletionStream", "PromptView", "text_completion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """One prompt as the answer may show it."""

    ids: Sequence[int]
    text: str = ""
    scored: Sequence[TokenLogprob | None] | None = None
    """Log probabilities of the prompt, where asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionShape:
    """What the request asked the answer to look like."""

    prompts: Sequence[PromptView]
    n: int = 1
    """Choices for each prompt."""
    echo: bool = False
    hides_output: bool = False
    """`echo` with no output asked for: the one generated token is counted and not shown."""
    wants_token_ids: bool = False
    wants_logprobs: bool = False
    usage: StreamUsage = field(default_factory=StreamUsage)

    def prompt_of(self, index: int) -> PromptView:
        return self.prompts[index // self.n]


def text_completion(
    envelope: Envelope, shape: CompletionShape, sequences: Sequence[OutputSequence], usage: Usage
) -> bytes:
    """The whole answer."""
    return dump(
        {
            "id": envelope.id,
            "object": "text_completion",
            "created": envelope.created,
            "model": envelope.model,
            "choices": [_choice(shape, sequence) for sequence in sequences],
            "service_tier": None,
            "system_fingerprint": envelope.fingerprint,
            "usage": usage.full(),
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }
    )


def _choice(shape: CompletionShape, sequence: OutputSequence) -> dict[str, Any]:
    prompt = shape.prompt_of(sequence.index)
    text = "" if shape.hides_output else sequence.text
    logprobs = None
    if shape.wants_logprobs:
        ids: list[int] = [] if shape.hides_output else list(sequence.token_ids)
        scored: list[TokenLogprob | None] = [] if shape.hides_output else list(sequence.logprobs)
        if shape.echo and prompt.scored is not None:
            ids, scored = [*prompt.ids, *ids], [*prompt.scored, *scored]
        logprobs = CompletionLogprobs().record(scored, ids)
    return {
        "index": sequence.index,
        "text": prompt.text + text if shape.echo else text,
        "logprobs": logprobs,
        "finish_reason": sequence.finish_reason,
        "stop_reason": sequence.stop_reason,
        "token_ids": sequence.token_ids if shape.wants_token_ids else None,
        "prompt_logprobs": None if prompt.scored is None else prompt_logprobs(prompt.scored),
        "prompt_token_ids": list(prompt.ids) if shape.wants_token_ids else None,
        "routed_experts": None,
    }


class CompletionStream:
    """Chunks of one streamed completion. Owned by its request; each returned item is one event."""

    def __init__(self, envelope: Envelope, shape: CompletionShape, choices: int, usage: Usage) -> None:
        self._shape = shape
        self._usage = usage
        self._counts = [0] * choices
        self._begun = [False] * choices
        self._logprobs = [CompletionLogprobs() for _ in range(choices)]
        head = {"id": envelope.id, "object": "text_completion", "created": envelope.created, "model": envelope.model}
        self._head = b"data: " + dump(head)[:-1] + b',"choices":['
        self._fingerprint = b',"system_fingerprint":' + quote(envelope.fingerprint)

    def push(self, piece: Piece) -> list[bytes]:
        """Events of one piece."""
        index, shape = piece.index, self._shape
        count = len(piece.token_ids)
        self._counts[index] += count
        self._usage.completion_tokens += count
        prompt = shape.prompt_of(index)
        text, ids, scored = piece.text, list(piece.token_ids), list[TokenLogprob | None](piece.logprobs or ())
        if shape.hides_output:
            text, ids, scored = "", [], []
        prompt_ids = b"null"
        if not self._begun[index]:
            self._begun[index] = True
            prompt_ids = dump(list(prompt.ids)) if shape.wants_token_ids else b"null"
            if shape.echo:
                text = prompt.text + text
                if prompt.scored is not None:
                    ids, scored = [*prompt.ids, *ids], [*prompt.scored, *scored]
        logprobs = dump(self._logprobs[index].record(scored, ids)) if shape.wants_logprobs else b"null"
        return [self._chunk(piece, text, logprobs, prompt_ids)]

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

    def _chunk(self, piece: Piece, text: str, logprobs: bytes, prompt_ids: bytes) -> bytes:
        shape = self._shape
        usage = b""
        if shape.usage.continuous:
            prompt_tokens = len(shape.prompt_of(piece.index).ids)
            usage = b',"usage":' + dump(Usage(prompt_tokens, self._counts[piece.index]).brief())
        is_last = piece.finish_reason is not None and not shape.usage.at_end
        return b"".join(
            (
                self._head,
                b'{"index":%d,"text":' % piece.index,
                quote(text),
                b',"logprobs":',
                logprobs,
                b',"finish_reason":',
                b"null" if piece.finish_reason is None else quote(piece.finish_reason),
                b',"stop_reason":',
                b"null" if piece.stop_reason is None else dump(piece.stop_reason),
                b',"prompt_token_ids":',
                prompt_ids,
                b',"token_ids":',
                dump(list(piece.token_ids)) if shape.wants_token_ids else b"null",
                b"}]",
                usage,
                self._fingerprint if is_last else b"",
                b"}\n\n",
            )
        )
