"""An answer that goes on from what its client has, and not from its first token.

Two ways lead there. A stream that told its tokens goes on from those whose text the client has (decision 10): one
prompt to read, and no token again. Where another attempt from the first token said something else (decision 9), the
engine gets the tokens of the prompt and those that it cuts the client's text into (`/tokenize`). `Continuation` makes
the requests, `Continued` lets through what comes, as the end of the client's stream. Guarantees: the text is one,
nothing twice and nothing but what was asked for; usage is that of prompt, delivered text and new text. `CONTINUATIONS`
says for which requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, assert_never

import orjson

from penstock.serve.delivered import IDS, Attempt, Delivered, DivergedError, Replay, Seam
from penstock.serve.failover import is_greedy
from penstock.serve.walk import Key
from penstock.serve.wire.responses import EofBody, ResponseError, ResponseHead, parse_head
from penstock.serve.wire.sse import Usage

__all__ = [
    "Continuation",
    "Continued",
    "continued_fields",
    "stops_of",
    "text_key",
    "token_ids",
    "token_list",
    "tokens_said",
]

ASKS_IDS = b'"return_token_ids":true,'
"""What a replay asks for besides, so that it can be continued from where it diverges."""
COMPLETION_TOKENS = 16
"""`max_tokens` of completions that say none, as OpenAI's API and vLLM 0.32 have it."""
BIAS_MAX = 100.0
"""Of `logit_bias`, either way: https://platform.openai.com/docs/api-reference/chat/create"""
TOKENIZE_PATH = "/tokenize"
DETOKENIZE_PATH = "/detokenize"
SPELLED_MAX = 4
"""Places that are looked at for where some tokens end in the client's text; each costs a short request. A text was at
most five tokens behind in 625 cuts of a real engine."""
_BROKEN = "\ufffd"
"""What stands for a character that is not whole."""
TOKENS_BYTES_MAX = 16 << 20
"""Bytes of the engine's answer about the tokens of a text: more than its longest text has."""
SEEDS = 1 << 31
_NUMBERS = (int, float)
_LIMITS = ("max_tokens", "max_completion_tokens")
TEXTS = frozenset({"content", "text"})
"""Channels that a text can go on in."""


def text_key(delivered: Delivered) -> Key | None:
    """The one channel that the client has text of; None where there are several, or others than plain text."""
    keys = [key for key, text in delivered.texts.items() if text]
    lists = any(delivered.lists.values())
    if lists or len(keys) != 1 or len(keys[0]) != 2 or keys[0][0] != 0 or keys[0][1] not in TEXTS:
        return None
    return keys[0]


def stops_of(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The stop strings of a request."""
    stop = request.get("stop")
    given = [stop] if type(stop) is str else stop if type(stop) is list else []
    return tuple(text for text in given if type(text) is str and text)


def token_ids(answer: bytes) -> tuple[int, ...]:
    """The tokens in an answer of `/tokenize`; none where it is no such answer."""
    try:
        told = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return ()
    ids = told.get("tokens") if type(told) is dict else None
    return tuple(ids) if type(ids) is list and all(type(token) is int for token in ids) else ()


def token_list(listed: bytes) -> tuple[int, ...]:
    """Tokens as an engine lists them in an event; none where they are no list of numbers."""
    return token_ids(b'{"tokens":[%b]}' % listed)


def spelled_text(answer: bytes) -> str | None:
    """The text in an answer of `/detokenize`; None where it is no such answer."""
    try:
        told = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
    text = told.get("prompt") if type(told) is dict else None
    return text if type(text) is str else None


def end_in(text: str, spelled: str) -> int:
    """Where in a text its first tokens end that are spelled so; -1 where they are not how it begins. An engine may
    leave out the blank with which a text begins."""
    if spelled and not spelled.endswith(_BROKEN):
        for begun in (spelled, " " + spelled):
            if text.startswith(begun):
                return len(begun)
    return -1


def tokens_said(path: str, request: Mapping[str, Any], text_ids: tuple[int, ...]) -> int:
    """How many tokens the client's text is taken to have. An engine may cut a text into more than the model had said it
    in; but one that had not ended was at least one token below its limit."""
    limit = _output_limit(path, request)
    return len(text_ids) if limit is None else min(len(text_ids), limit - 1)


def _output_limit(path: str, request: Mapping[str, Any]) -> int | None:
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
        self._key = text_key(delivered)
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
        """All of it, if it goes on in the client's channel.

        Raises:
            DivergedError: it does not, it says something else than the client has after those tokens, or a stop string
                is complete that began in what the client has.
        """
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


class Continuation:
    """The steps by which one stream goes on. Owned by its exchange; begun with the first loss that may need them.

        tokens known ──▶ (spelling: where they end) ──▶ text (what follows them)
              └ they do not do, or are not known ──▶ replay ── diverged ──▶ tokens (of the client's text) ──▶ text

    Attributes:
        stage: what is asked of the endpoint next, or was.
        is_from_ids: the stage goes on from the tokens that the stream told.
        may_use_ids: nothing has spoken against that yet.
        has_diverged: a replay said something else: no further one is tried.
        status: of an answer about tokens that was none.
    """

    __slots__ = (
        "_at",
        "_collected",
        "_delivered",
        "_head",
        "_path",
        "_places",
        "_prompt_ids",
        "_request",
        "_spelled",
        "_text_ids",
        "_uses_ids",
        "has_diverged",
        "is_from_ids",
        "may_use_ids",
        "stage",
        "status",
    )

    def __init__(self, path: str, request: Mapping[str, Any], delivered: Delivered) -> None:
        """`request`: the body that the first endpoint got, for `path`, as the client meant it. `delivered` is settled
        before each step."""
        self.stage: Literal["replay", "spelling", "tokens", "text"] = "replay"
        self.status = 0
        self.is_from_ids = self.has_diverged = self._uses_ids = False
        self.may_use_ids = True
        self._path = path
        self._request = request
        self._delivered = delivered
        self._prompt_ids: tuple[int, ...] = ()
        self._text_ids: tuple[int, ...] = ()
        self._at: int | None = None
        self._places: list[Seam] = []
        self._spelled = 0
        self._head: ResponseHead | None = None
        self._collected = b""

    @property
    def asks_tokens(self) -> bool:
        """Whether what is asked of the endpoint is about tokens, and not the answer."""
        return self.stage in ("spelling", "tokens")

    def told(self, prompt_ids: tuple[int, ...]) -> None:
        """The stream, or an attempt from its first token, told the tokens of the prompt. The first word holds."""
        self._prompt_ids = self._prompt_ids or prompt_ids

    @property
    def has_places(self) -> bool:
        """Whether the stream told where it may go on from."""
        return self.may_use_ids and bool(self._prompt_ids and self._find_places())

    def use_ids(self, *, uses_ids: bool) -> None:
        """Whether to go on from the tokens that the stream told, as the table says."""
        self._uses_ids = uses_ids

    def diverged(self, prompt_ids: tuple[int, ...]) -> bool:
        """A replay told the prompt's tokens (or they were known), and then something else than the client has. Whether
        the stream can go on from its text."""
        self.told(prompt_ids)
        self.has_diverged = bool(self._prompt_ids)
        self.restart()
        return self.has_diverged

    def give_up_ids(self) -> None:
        """The tokens that the stream told do not do."""
        self.may_use_ids = self._uses_ids = False
        self.restart()

    def restart(self) -> None:
        """From the first step that is still needed: the client may have more text now, and the endpoint be another."""
        self._head, self._collected, self._text_ids, self.status, self._at = None, b"", (), 0, None
        self._spelled, self._places = 0, self._find_places() if self._uses_ids else []
        if not self._go_to_place():
            self.stage = "tokens" if self.has_diverged else "replay"

    # ------------------------------------------------------------------ where the known tokens end

    @property
    def _reach(self) -> int:
        """Characters that an engine holds back for the sake of stop strings, or may have to look at again."""
        return max(map(len, stops_of(self._request)), default=1) - 1

    def _find_places(self) -> list[Seam]:
        """Where the stream may go on, the best last: ends of events whose tokens end within the client's text."""
        delivered, limit, reach = self._delivered, _output_limit(self._path, self._request), self._reach
        places = [s for s in delivered.seams if s.is_sure or s.chars + reach <= delivered.chars]
        if limit is not None:
            places = [s for s in places if s.ids < limit]
        if not (reach or is_greedy(self._request)):  # what is drawn anew may not have been said
            places = [s for s in places if s.chars == delivered.chars]
        return places

    def _go_to_place(self) -> bool:
        """To the next place that may do; False where there is none."""
        self._head, self._collected = None, b""
        self.is_from_ids = bool(self._places) and self._spelled < SPELLED_MAX
        if not self.is_from_ids:
            return False
        place = self._places.pop()
        self._text_ids = tuple(self._delivered.ids[: place.ids])
        if place.is_sure or (place.is_exact and not self._reach):
            self._at, self.stage = place.chars, "text"
        else:
            self._spelled, self.stage = self._spelled + 1, "spelling"
        return True

    def spelled(self) -> bool:
        """The answer about the spelling is whole: whether there is a place to go on from, or another to look at."""
        spelled, delivered = spelled_text(self._collected), self._delivered
        text = delivered.texts[key] if (key := text_key(delivered)) is not None else ""
        at = end_in(text, spelled) if spelled is not None and self.status == 200 else -1
        if at < 0 or (at < len(text) and not is_greedy(self._request)):
            return self._go_to_place()
        self._at, self.stage = at, "text"
        return True

    # ------------------------------------------------------------------ requests and answers

    def request(self, body: bytes) -> tuple[str, bytes]:
        """Path and body for the endpoint. `body`: what the first one got."""
        match self.stage:
            case "replay":
                if self._delivered.keeps_ids:
                    return self._path, body  # it asks by itself
                start = body.index(b"{") + 1
                return self._path, body[:start] + ASKS_IDS + body[start:]
            case "spelling":
                return DETOKENIZE_PATH, orjson.dumps({"model": self._request.get("model"), "tokens": self._text_ids})
            case "tokens":
                key = text_key(self._delivered)
                text = self._delivered.texts[key] if key is not None else ""
                asked = {"model": self._request.get("model"), "prompt": text, "add_special_tokens": False}
                return TOKENIZE_PATH, orjson.dumps(asked)
            case "text":
                fields = continued_fields(self._path, self._request, self._prompt_ids, self._text_ids)
                return self._path, orjson.dumps(fields)
            case _:
                assert_never(self.stage)

    def take(self, data: bytes) -> bool:
        """Takes a read of the answer about tokens; whether it is whole. Then `spelled` or `go_on`.

        Raises:
            ResponseError: it breaks HTTP, or is endless.
        """
        head = self._head
        if head is None:
            data = self._collected + data
            self._head = head = parse_head(data)
            if head is None:
                self._collected = data
                return False
            data, self._collected, self.status = data[head.size :], b"", head.status
        self._collected += head.body.feed(data)
        if len(self._collected) > TOKENS_BYTES_MAX or isinstance(head.body, EofBody):
            raise ResponseError("told the tokens of a text without end")
        return head.body.is_done

    def go_on(self) -> bool:
        """Whether the whole answer about tokens was one, and leaves something to ask for: then that is the stage."""
        self._text_ids = token_ids(self._collected) if self.status == 200 else ()
        if not self._text_ids or not continued_fields(self._path, self._request, self._prompt_ids, self._text_ids):
            return False
        self.stage = "text"
        return True

    def attempt(self) -> Attempt:
        """Who reads the answer at this stage."""
        if self.stage == "text":
            said = tokens_said(self._path, self._request, self._text_ids)
            stops = () if self.is_from_ids else stops_of(self._request)  # those that reach over are within what comes
            return Continued(self._delivered, self._prompt_ids, self._text_ids, said=said, stops=stops, at=self._at)
        return Replay(self._delivered, takes_ids=True)
