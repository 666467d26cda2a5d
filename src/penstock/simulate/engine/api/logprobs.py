"""Log probabilities in the three shapes of the API: chat, completions, prompt.

Guarantees: the shapes of vLLM 0.32. The values come from the simulated model and are the same for the same context.
Leaves to others: which values are asked for (`sampling.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.simulate.engine.api.sequence import TokenLogprob
from penstock.simulate.engine.generation import Continuation
from penstock.simulate.engine.text import tokenizer

__all__ = ["CompletionLogprobs", "chat_logprobs", "prompt_logprobs", "score_prompt"]


def chat_logprobs(scored: Sequence[TokenLogprob]) -> dict[str, Any]:
    """`logprobs` of a chat choice or chunk."""
    return {
        "content": [
            {
                **_entry(item.token_id, item.logprob),
                "top_logprobs": [_entry(token_id, value) for token_id, value in item.top],
            }
            for item in scored
        ]
    }


def _entry(token_id: int, logprob: float) -> dict[str, Any]:
    raw = b"" if tokenizer().is_special(token_id) else _raw(token_id)
    return {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw)}


def _raw(token_id: int) -> bytes:
    """Bytes of a token; none for an id that only the real model's tokenizer has."""
    known = tokenizer()
    return known.bytes_of[token_id] if token_id < known.vocab_size else b""


def _text(token_id: int) -> str:
    return _raw(token_id).decode("utf-8", "replace")


class CompletionLogprobs:
    """`logprobs` of a completion choice; `text_offset` runs on from chunk to chunk. Owned by one choice."""

    def __init__(self) -> None:
        self._offset = 0

    def record(self, scored: Sequence[TokenLogprob | None], ids: Sequence[int]) -> dict[str, Any]:
        """The four lists for these tokens. None stands for the first token of a prompt, which nothing predicts."""
        offsets: list[int] = []
        values: list[float | None] = []
        tokens: list[str] = []
        tops: list[dict[str, float] | None] = []
        for token_id, item in zip(ids, scored, strict=True):
            text = _text(token_id)
            offsets.append(self._offset)
            tokens.append(text)
            values.append(None if item is None else item.logprob)
            tops.append(None if item is None else _top(item, text))
            self._offset += len(text)
        return {"text_offset": offsets, "token_logprobs": values, "tokens": tokens, "top_logprobs": tops}


def _top(item: TokenLogprob, text: str) -> dict[str, float]:
    return {text: item.logprob} | {_text(token_id): value for token_id, value in item.top}


def score_prompt(ids: Sequence[int], count: int, seed: int) -> list[TokenLogprob | None]:
    """Log probabilities of a prompt's own tokens; the first has none."""
    vocabulary = tokenizer().vocab_size
    context = Continuation(ids[:1], seed)
    scored: list[TokenLogprob | None] = [None]
    for token_id in ids[1:]:
        top = context.ranked(count) if count > 0 else ()
        scored.append(TokenLogprob(token_id, context.logprob(token_id), top))
        context.append(token_id % vocabulary)
    return scored


def prompt_logprobs(scored: Sequence[TokenLogprob | None]) -> list[dict[str, Any] | None]:
    """`prompt_logprobs` of a choice: by token id, the prompt's own token first."""
    shown: list[dict[str, Any] | None] = []
    for item in scored:
        if item is None:
            shown.append(None)
            continue
        ranks = {token_id: rank for rank, (token_id, _) in enumerate(item.top, start=1)}
        values = {item.token_id: item.logprob} | dict(item.top)
        shown.append(
            {
                str(token_id): {
                    "logprob": value,
                    "rank": ranks.get(token_id) or len(ranks) + 1 + int(-value * 8),
                    "decoded_token": _text(token_id),
                }
                for token_id, value in values.items()
            }
        )
    return shown
