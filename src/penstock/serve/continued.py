"""An answer that goes on from what its client has, and not from its first token.

Two ways lead there. A stream that told its tokens goes on from those whose text the client has (decision 10): one
prompt to read, and no token again. Where another attempt from the first token said something else (decision 9), the
engine gets the tokens of the prompt and those that it cuts the client's text into (`/tokenize`). `continued_fields` is
the request, `Continued` lets through what comes, as the end of the client's stream. Guarantees: the text is one,
nothing twice and nothing but what was asked for; usage is that of prompt, delivered text and new text. `CONTINUATIONS`
says for which requests; the steps before are `continuation`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.serve.delivered import IDS, Attempt, Delivered, DivergedError
from penstock.serve.walk import Key
from penstock.serve.wire.sse import Usage

__all__ = ["Continued", "continued_fields", "last_key", "output_limit", "stops_of", "text_key", "tokens_said"]

COMPLETION_TOKENS = 16
"""`max_tokens` of completions that say none, as OpenAI's API and vLLM 0.32 have it."""
BIAS_MAX = 100.0
"""Of `logit_bias`, either way: https://platform.openai.com/docs/api-reference/chat/create"""
SEEDS = 1 << 31
_NUMBERS = (int, float)
_LIMITS = ("max_tokens", "max_completion_tokens")
_THOUGHTS = (("reasoning",), ("reasoning_content",))
TEXTS = frozenset({"content", "text"})
"""Channels that a text can go on in."""


def text_key(delivered: Delivered) -> Key | None:
    """The one channel that the client has text of; None where there are several, or others than plain text."""
    keys = [key for key, text in delivered.texts.items() if text]
    lists = any(delivered.lists.values())
    if lists or len(keys) != 1 or len(keys[0]) != 2 or keys[0][0] != 0 or keys[0][1] not in TEXTS:
        return None
    return keys[0]


def last_key(delivered: Delivered) -> Key | None:
    """The channel that tokens may go on in: the client's one text, or the model's thoughts, or the text after them.
    None where the client has anything else."""
    if (key := text_key(delivered)) is not None:
        return key
    names = {key[1:] for key, text in delivered.texts.items() if text}
    is_first = all(key[0] == 0 for key, text in delivered.texts.items() if text)
    if any(delivered.lists.values()) or not is_first or not names <= {*_THOUGHTS, ("content",)}:
        return None
    return delivered.last_key or None


def stops_of(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The stop strings of a request."""
    stop = request.get("stop")
    given = [stop] if type(stop) is str else stop if type(stop) is list else []
    return tuple(text for text in given if type(text) is str and text)


def tokens_said(path: str, request: Mapping[str, Any], text_ids: tuple[int, ...]) -> int:
    """How many tokens the client's text is taken to have. An engine may cut a text into more than the model had said it
    in; but one that had not ended was at least one token below its limit."""
    limit = output_limit(path, request)
    return len(text_ids) if limit is None else min(len(text_ids), limit - 1)


def output_limit(path: str, request: Mapping[str, Any]) -> int | None:
    """The most tokens that a request may be answered with; None where it sets no bound."""
    default = COMPLETION_TOKENS if path == "/v1/completions" else None
    limits = [request.get("max_tokens") or default, request.get("max_completion_tokens")]
    return min((limit for limit in limits if type(limit) is int), default=None)


def continued_fields(
    path: str, request: Mapping[str, Any], prompt_ids: Iterable[int], text_ids: tuple[int, ...]
) -> dict[str, Any] | None:
    """The request for what follows `text_ids`; None where it may have no token more.

    What counts from the first token is counted on: the limits by arithmetic, and penalties on what was said, which the
    engine would forget with the prompt, as a bias against it.
    """
    fields, said = dict(request), tokens_said(path, request, text_ids)
    if path == "/v1/completions" and fields.get("max_tokens") is None:
        fields["max_tokens"] = COMPLETION_TOKENS
    for name in _LIMITS:
        if type(fields.get(name)) is int:
            fields[name] -= said
            if said < 1:
                return None
    if type(fields.get("min_tokens")) is int:
        fields["min_tokens"] = max(0, fields["min_tokens"] - said)
    if type(fields.get("seed")) is int:  # the same would draw once more what it drew for the first tokens
        fields["seed"] = (fields["seed"] + said) % SEEDS
    bias = _penalties(fields, text_ids)
    if bias:
        fields["logit_bias"] = bias
    fields.pop("truncate_prompt_tokens", None)  # it was truncated before
    ids = [*prompt_ids, *text_ids]
    fields |= {"prompt": ids} if path == "/v1/completions" else {"kv_transfer_params": {"prompt_token_ids": ids}}
    fields["return_token_ids"] = True
    return fields


def _penalties(fields: Mapping[str, Any], text_ids: tuple[int, ...]) -> dict[str, float]:
    """The bias of a request with its penalties on what was said; empty where there are none."""
    frequency, presence = (fields.get(f"{name}_penalty") or 0 for name in ("frequency", "presence"))
    if not (frequency or presence):
        return {}
    given = fields.get("logit_bias")
    bias = {name: value for name, value in given.items() if type(value) in _NUMBERS} if type(given) is dict else {}
    for token, count in Counter(text_ids).items():
        name = str(token)
        bias[name] = max(-BIAS_MAX, min(BIAS_MAX, bias.get(name, 0) - frequency * count - presence))
    return bias


class Continued(Attempt):
    """What follows the client's text, as an engine says it that was given the text's tokens."""

    __slots__ = (
        "_again",
        "_asked",
        "_had",
        "_has_begun",
        "_held_ids",
        "_key",
        "_marks",
        "_may_think",
        "_prompt_tokens",
        "_said",
        "_seam",
        "_seam_left",
        "_stops",
    )

    def __init__(
        self,
        delivered: Delivered,
        prompt_ids: tuple[int, ...],
        text_ids: tuple[int, ...],
        *,
        said: int,
        stops: tuple[str, ...] = (),
        at: int | None = None,
    ) -> None:
        """`said`: the tokens that the client's text counts as (`tokens_said`). `stops`: stop strings that may lie
        across the seam. `at`: characters of the client's text that `text_ids` spell, if not all: what is after them
        comes again and does not go on."""
        super().__init__(delivered, takes_ids=True)
        delivered.restart(text_ids if delivered.keeps_ids else (), delivered.chars if at is None else at)
        self._key = last_key(delivered)
        self._may_think = self._key is not None and self._key[1:] in _THOUGHTS
        self._marks = set(delivered.marks)
        self._asked = prompt_ids + text_ids
        self._prompt_tokens, self._said = len(prompt_ids), said
        self._has_begun = False
        self._stops = stops
        reach = max(map(len, stops), default=1) - 1
        text = delivered.texts.get(self._key, "") if self._key is not None else ""
        self._again = "" if at is None else text[at:]
        self._held_ids: list[Any] = []
        self._seam = text[-reach:] if reach else ""
        self._had = len(self._seam)
        self._seam_left = reach if self._seam else 0  # characters that may still end a stop which began before them

    @property
    def has_caught_up(self) -> bool:
        return not self._again

    def _look(self, fields: dict[str, Any]) -> None:
        if not self._has_begun:
            self._has_begun = True
            if self.prompt_ids != self._asked:  # an engine that does not know them would begin anew, or tell the prompt
                raise DivergedError("it went on from other tokens than it was given")
        usage = fields.get("usage")
        if type(usage) is dict:
            self._add_up(usage)

    def _add_up(self, usage: dict[str, Any]) -> None:
        """Makes the usage of a continuation that of the whole answer."""
        prompt, output = self._prompt_tokens, usage.get("completion_tokens")
        if "output_tokens" in usage:  # as Anthropic's API says it
            cached = min(usage.get("cache_read_input_tokens") or 0, prompt)
            usage |= {"input_tokens": prompt - cached, "output_tokens": usage["output_tokens"] + self._said}
            usage["cache_read_input_tokens"] = cached
            return
        output = output + self._said if type(output) is int else self._said
        usage |= {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        details = usage.get("prompt_tokens_details")
        if type(details) is dict and type(details.get("cached_tokens")) is int:
            details["cached_tokens"] = min(details["cached_tokens"], prompt)

    def usage(self, told: Usage) -> Usage:
        _, output, cached = told
        return self._prompt_tokens, self._said + max(0, output), min(cached, self._prompt_tokens)

    def text(self, key: Key, piece: str) -> str:
        """All of it, if it goes on in the client's channel, or in that of the text after the model's thoughts.

        Raises:
            DivergedError: it does not, it says something else than the client has after those tokens, or a stop string
                is complete that began in what the client has.
        """
        if piece and self._may_think and key == (0, "content"):
            self._key, self._may_think = key, False
        if key == self._key:
            if self._again:
                piece = self._less_again(piece)
            if self._seam_left:
                self._watch_seam(piece)
        elif piece and key[1:2] != ("tool",) and (self._key is None or key[0] == self._key[0]):
            raise DivergedError(f"it went on in {key[-1]}")
        return piece

    def _less_again(self, piece: str) -> str:
        again = self._again
        if not (again.startswith(piece) or piece.startswith(again)):
            raise DivergedError("it said the last of the client's text differently")
        self._again = again[len(piece) :]
        return piece[len(again) :]

    def _watch_seam(self, piece: str) -> None:
        """The engine sees only its own text, and would miss a stop string that lies across the seam."""
        self._seam += piece[: self._seam_left]
        self._seam_left = max(0, self._seam_left - len(piece))
        for stop in self._stops:
            if 0 <= self._seam.find(stop, max(0, self._had - len(stop) + 1)) < self._had:
                raise DivergedError("a stop string came that had begun in what was sent")

    def items(self, key: Key, piece: list[Any]) -> list[Any]:
        if key == IDS:  # they end with their text, see `Replay`
            self._held_ids += piece
            if self._again:
                return []
            piece, self._held_ids = self._held_ids, []
        return piece

    def mark(self, key: Key) -> bool:
        is_new = key not in self._marks
        self._marks.add(key)
        return is_new

    def finish(self, index: int) -> bool:
        if self._again:
            raise DivergedError("it ended before what the client has")
        return self.mark((index, "finish"))
