"""How many tokens a prompt is: an estimate that learns from what engines report, and a bound that it can't pass.

One `TokenEstimator` belongs to one model of one gateway and is changed only from its event loop. It guarantees that an
estimate is at least 1, never more than `bound`, and finite whatever was reported. The exact count is behind `Counter`
(the edge has it, where the model's tokenizer is on disk); `wants_count` says when it is worth its price.

The estimate is linear: tokens = a × ASCII bytes + b × other bytes in UTF-8 + c × (messages + 1) + images + audio.
Bytes, not characters, because bytes a token are alike in all scripts. a, b and c are fitted by recursive least squares
with forgetting, on relative errors, cut where one report is far off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from penstock.serve.admission.prompt import Prompt

__all__ = ["Counter", "TokenEstimator", "bound", "measure", "wants_count"]

NARROW_PRIOR = 0.25
"""Tokens of a byte of ASCII before anything was reported: English is 4 to 4.6 characters a token in vocabularies of
100,000 and more, code about 3.5."""
WIDE_PRIOR = 0.28
"""Tokens of a byte that is not ASCII: Chinese takes 0.6 to 0.7 a character of three bytes, Russian 0.4 of two."""
MESSAGE_PRIOR = 4.0
"""Tokens that a chat template adds to a message: start, role, line break, end."""
IMAGE_PRIOR = 1_024.0
"""Tokens of an image, until one was reported: 896 × 896 in models with patches of 28 pixels."""
AUDIO_PRIOR = 750.0
"""Tokens of a piece of audio: 30 s at 25 a second."""
TEMPLATE_TOKENS_MAX = 4_096
"""Tokens that a template may add by itself to a request: the longest default system prompts and preambles to tools of
published templates have some 2,000."""
MESSAGE_TOKENS_MAX = 32
"""Tokens that it may add to a message."""
IMAGE_TOKENS_MAX = 32_768
"""Tokens that an image may be: 16,384 is the largest default of published processors; a video may have more."""
TOOL_GROWTH = 4
"""Times that tools may grow when a template prints them with line breaks and indents."""
_HIGH = bytes(range(128, 256))
_FORGETTING = 0.995
"""Weight of a report when the next is in: 200 reports are remembered."""
_ERROR_MAX = 0.5
"""Relative error past which a report counts no more than this: one odd request does not move the rest."""
_SPREAD_FIRST = 0.25
_SPREAD_MIN = 0.02
_SPREADS = 6.0
"""Mean relative errors within which the truth is taken to lie."""
_MARGIN_MAX = 0.6
"""However little is known: text of ten characters a token is no text."""
_COVARIANCE = (0.007, 0.0, 0.0, 0.009, 0.0, 16.0)
"""Of (narrow, wide, message) at first, upper triangle: a third of the first two; a message may add nothing or 12."""
_NOISE = 0.01
"""A report is itself good to 10 %: templates and odd texts."""
_VARIANCE_MAX = 100.0
KNOWN = 400
"""Reports that are all looked at: twice what is remembered."""
ONE_IN = 8
_LONG_TOKENS = 512
"""A shorter prompt says less of how good estimates are: it is near no limit, and a few tokens are much of it."""


class Counter(Protocol):
    """Counts exactly, where it can."""

    def knows(self, model: str, schema: str) -> bool:
        """Whether `count` may have an answer: the model's tokenizer is loaded, and its template where one is needed."""
        ...

    def count(
        self,
        model: str,
        schema: str,
        fields: Mapping[str, Any],
        prompt: Prompt,
        then: Callable[[int | None, float], None],
    ) -> int | None:
        """The prompt's tokens, or None: then `then(tokens or None, now)` is called later, exactly once, in the event
        loop; None there says that it can't be told. Never blocks for more than a millisecond or two; raises nothing."""
        ...


def measure(prompt: Prompt) -> None:
    """Fills in the prompt's bytes, once. ASCII costs nothing to tell; other text is encoded, some 3 µs a thousand
    characters."""
    narrow = wide = 0
    for piece in prompt.pieces:
        if piece.isascii():
            narrow += len(piece)
        else:
            encoded = piece.encode("utf-8", "surrogatepass")
            plain = len(encoded.translate(None, _HIGH))
            narrow += plain
            wide += len(encoded) - plain
    prompt.narrow_bytes, prompt.wide_bytes = narrow, wide


def bound(prompt: Prompt) -> int:
    """Tokens that no tokenizer passes that gives at most one for a byte of UTF-8: byte-level BPE, SentencePiece with
    byte fallback, WordPiece. Normalisers that write one character as many (NFKC, for a few hundred ligatures) can pass
    it; the engine then refuses by itself. All prompts together where there are several."""
    if prompt.tokens >= 0:
        return prompt.tokens
    if prompt.narrow_bytes < 0:
        measure(prompt)
    total = prompt.narrow_bytes + prompt.wide_bytes
    total += len(prompt.pieces) + 2 * prompt.batch  # a space before each piece; begin and end
    if prompt.messages:
        total += TEMPLATE_TOKENS_MAX + MESSAGE_TOKENS_MAX * (prompt.messages + 1)
    if prompt.tools:
        total += (TOOL_GROWTH - 1) * (prompt.narrow_bytes + prompt.wide_bytes)
    return total + IMAGE_TOKENS_MAX * (prompt.images + prompt.audios)


class TokenEstimator:
    """Estimates one model's prompts, and how much output to expect of it."""

    __slots__ = (
        "_audio",
        "_image",
        "_message",
        "_narrow",
        "_p",
        "_reports",
        "_wide",
        "expected_output",
        "observations",
        "spread",
    )

    def __init__(self) -> None:
        self._narrow, self._wide, self._message = NARROW_PRIOR, WIDE_PRIOR, MESSAGE_PRIOR
        self._image, self._audio = IMAGE_PRIOR, AUDIO_PRIOR
        self._p = list(_COVARIANCE)
        self._reports = 0
        self.observations = 0
        self.spread = _SPREAD_FIRST
        """Mean relative error of late."""
        self.expected_output = 0.0
        """Output tokens of a request of late, on average; 0 while nothing was reported."""

    def estimate(self, prompt: Prompt) -> int:
        """Tokens of the prompt, at least 1; all prompts together where there are several."""
        if prompt.tokens >= 0:
            return prompt.tokens
        if prompt.narrow_bytes < 0:
            measure(prompt)
        tokens = self._narrow * prompt.narrow_bytes + self._wide * prompt.wide_bytes
        if prompt.messages:
            tokens += self._message * (prompt.messages + 1)
        else:
            tokens += prompt.batch
        most = prompt.narrow_bytes + prompt.wide_bytes + len(prompt.pieces) + prompt.batch
        if prompt.messages:
            most += TEMPLATE_TOKENS_MAX + MESSAGE_TOKENS_MAX * prompt.messages
        if tokens > most:  # noqa: PLR1730 — a call less
            tokens = most
        if prompt.images or prompt.audios:
            tokens += self._image * prompt.images + self._audio * prompt.audios
        return int(tokens + 0.5) or 1

    def longest(self, prompt: Prompt, tokens: int) -> int:
        """Of `tokens` in all, those of the longest prompt: what has to fit in the context."""
        if prompt.longest < 0:
            return tokens
        if prompt.tokens >= 0:
            return prompt.longest
        return min(tokens, -(-tokens * prompt.longest // max(prompt.chars, 1)))

    @property
    def margin(self) -> float:
        """Share of an estimate within which the truth is taken to lie, either way."""
        return min(_MARGIN_MAX, _SPREADS * self.spread)

    def reported(self, prompt: Prompt, tokens: int, output_tokens: int) -> None:
        """As `observe`; once much is known, only one report in `ONE_IN` is looked at, as that costs 2 µs."""
        self._reports += 1
        if self.observations < KNOWN or not self._reports % ONE_IN:
            self.observe(prompt, tokens, output_tokens)

    def observe(self, prompt: Prompt, tokens: int, output_tokens: int = -1) -> None:
        """The engine reported: this prompt was `tokens`, the answer `output_tokens` (each -1 where it did not say)."""
        if output_tokens >= 0:
            step = 0.02 if self.observations > 50 else 1.0 / (1 + self.observations)
            self.expected_output += step * (output_tokens - self.expected_output)
        if tokens <= 0 or prompt.tokens >= 0 or (prompt.narrow_bytes < 0 and not prompt.pieces):
            return  # its text is not kept, but was measured
        guess = self.estimate(prompt)
        error = (tokens - guess) / max(tokens, guess)
        self.observations += 1
        step = 0.05 if self.observations > 20 else 1.0 / (1 + self.observations)
        step *= min(1.0, guess / _LONG_TOKENS)
        self.spread += step * (max(abs(error), _SPREAD_MIN) - self.spread)
        if prompt.images or prompt.audios:
            self._observe_media(prompt, tokens)
        elif tokens <= 2 * (prompt.narrow_bytes + prompt.wide_bytes) + TEMPLATE_TOKENS_MAX and tokens != guess:
            self._fit(prompt, tokens, guess)

    def _observe_media(self, prompt: Prompt, tokens: int) -> None:
        """A step towards what images (or audio) must have cost; where both are there it is not to be told apart."""
        if prompt.images and prompt.audios:
            return
        count = prompt.images or prompt.audios
        known = self._image if prompt.images else self._audio
        text = self.estimate(prompt) - known * count
        cost = min(max((tokens - text) / count, 1.0), float(IMAGE_TOKENS_MAX))
        known += 0.2 * (cost - known)
        if prompt.images:
            self._image = known
        else:
            self._audio = known

    def _fit(self, prompt: Prompt, tokens: int, guess: int) -> None:
        """One step of recursive least squares, on values divided by the guess: each report weighs alike."""
        scale = 1.0 / guess
        x, y = prompt.narrow_bytes * scale, prompt.wide_bytes * scale
        z = (prompt.messages + 1) * scale if prompt.messages else 0.0
        off = (tokens - guess) * scale
        off = min(max(off, -_ERROR_MAX), _ERROR_MAX)
        a, b, c, d, e, f = self._p
        px, py, pz = a * x + b * y + c * z, b * x + d * y + e * z, c * x + e * y + f * z
        noise = _NOISE + x * px + y * py + z * pz
        if noise < _NOISE:  # rounding has eaten the covariance
            self._p = list(_COVARIANCE)
            return
        gain = off / noise
        self._narrow = min(max(self._narrow + gain * px, 0.01), 1.0)
        self._wide = min(max(self._wide + gain * py, 0.01), 1.0)
        self._message = min(max(self._message + gain * pz, 0.0), float(TEMPLATE_TOKENS_MAX))
        less = 1.0 / noise
        more = (
            1.0 / _FORGETTING if a + d < _VARIANCE_MAX and f < _VARIANCE_MAX else 1.0
        )  # what is not seen stays bounded
        self._p = [
            (a - px * px * less) * more,
            (b - px * py * less) * more,
            (c - px * pz * less) * more,
            (d - py * py * less) * more,
            (e - py * pz * less) * more,
            (f - pz * pz * less) * more,
        ]


def wants_count(prompt: Prompt, estimator: TokenEstimator, limit: int | None) -> bool:
    """Whether only an exact count can say if the prompt is within `limit`: the estimate is near it or past it, and the
    bound does not settle it."""
    if limit is None or prompt.tokens >= 0 or prompt.longest >= 0 or prompt.images or prompt.audios:
        return False  # exact already, or nothing that a count would settle
    estimate = estimator.estimate(prompt)
    return estimate * (1.0 + estimator.margin) >= limit and bound(prompt) > limit
