"""One output sequence: tokens in, text out, with stop strings held back and log probabilities on request.

Guarantees: text is given out once and in order; a stop string that spans tokens never shows (unless it was asked for);
the end-of-sequence or stop token is counted but not shown. Leaves to others: the engine's own stops (length, end of
sequence, stop tokens) and the shape of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.simulate.engine.api.sampling import Sampling
from penstock.simulate.engine.core import TokenOutput
from penstock.simulate.engine.generation import Continuation
from penstock.simulate.engine.text import Detokenizer

__all__ = ["OutputSequence", "Piece", "TokenLogprob"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token with its log probability and the likeliest alternatives, the likeliest first."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(slots=True)
class Piece:
    """What one delivery adds to a sequence. `finish_reason` is set on the last one."""

    index: int
    text: str
    token_ids: Sequence[int]
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: list[TokenLogprob] | None = None


class OutputSequence:
    """One choice of an answer. Owned by its request; `push` is called once for each delivery."""

    __slots__ = (
        "_context",
        "_detokenizer",
        "_given",
        "_held",
        "_sampling",
        "_stop_from",
        "_text",
        "finish_reason",
        "index",
        "logprobs",
        "stop_reason",
        "token_ids",
    )

    def __init__(self, index: int, prompt_ids: Sequence[int], sampling: Sampling, seed: int) -> None:
        self.index = index
        self.token_ids: list[int] = []
        self.finish_reason: str | None = None
        self.stop_reason: int | str | None = None
        self.logprobs: list[TokenLogprob] = []
        self._sampling = sampling
        self._detokenizer = Detokenizer(skip_special=sampling.skip_special_tokens)
        self._context = None if sampling.logprobs is None else Continuation(prompt_ids, seed)
        self._text = ""
        self._given = 0
        self._stop_from = 0
        self._held = max(map(len, sampling.stop)) - 1 if sampling.stop and not sampling.include_stop else 0

    @property
    def text(self) -> str:
        """All text so far, what is held back included."""
        return self._text

    def push(self, output: TokenOutput) -> Piece:
        """Takes new tokens. After a stop string the piece is final though the engine has not finished: abort it."""
        ids, reason, stop_reason = output.token_ids, output.finish_reason, output.stop_reason
        self.token_ids.extend(ids)
        hide = reason == "stop" and (stop_reason is None or not self._sampling.include_stop)
        text = self._detokenizer.push(ids[:-1] if hide else ids)
        found: str | None = None
        if self._sampling.stop:
            found = self._find_stop(text)
        else:
            self._text += text
        if found is not None:
            self.finish_reason, self.stop_reason = "stop", found
        elif reason is not None:
            self.finish_reason, self.stop_reason = reason, stop_reason
        return Piece(
            self.index,
            self._take(),
            ids,
            self.finish_reason,
            self.stop_reason,
            None if self._context is None else self._score(ids),
        )

    def _find_stop(self, new: str) -> str | None:
        """Appends text and cuts it at the first stop string that it completed."""
        sampling = self._sampling
        self._text += new
        if len(self.token_ids) <= sampling.min_tokens:
            self._stop_from = len(self._text)
            return None
        fresh = len(self._text) - max(self._stop_from, len(self._text) - len(new))
        for stop in sampling.stop:
            at = self._text.find(stop, max(self._stop_from, len(self._text) - fresh - len(stop) + 1))
            if at >= 0:
                self._text = self._text[: at + len(stop) if sampling.include_stop else at]
                return stop
        return None

    def _take(self) -> str:
        """Text that may be given out now."""
        end = len(self._text) - (0 if self.finish_reason is not None else self._held)
        if end <= self._given:
            return ""
        text = self._text[self._given : end]
        self._given = end
        return text

    def _score(self, ids: Sequence[int]) -> list[TokenLogprob]:
        context, count = self._context, self._sampling.logprobs or 0
        assert context is not None
        allow_eos = not self._sampling.ignore_eos
        scored = []
        for token_id in ids:
            top = context.ranked(count, allow_eos=allow_eos) if count > 0 else ()
            scored.append(TokenLogprob(token_id, context.logprob(token_id, allow_eos=allow_eos), top))
            context.append(token_id)
        self.logprobs.extend(scored)
        return scored
