"""The steps by which a stream goes on at another endpoint: what is asked there, one thing after another.

    tokens known ──▶ (spelling: where they end) ──▶ text (what follows them)
          └ they do not do, or are not known ──▶ replay ── diverged ──▶ tokens (of the client's text) ──▶ text

`failover` says which way is taken, `resuming` takes it, `continued` makes the last request and reads its answer.
Guarantees: each way ends; what is asked last begins with tokens of which it is known that their text is the client's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, assert_never

import orjson

from penstock.serve.continued import (
    Continued,
    continued_fields,
    last_key,
    output_limit,
    stops_of,
    text_key,
    tokens_said,
)
from penstock.serve.delivered import Attempt, Delivered, Replay, Seam
from penstock.serve.failover import is_greedy
from penstock.serve.wire.responses import EofBody, ResponseError, ResponseHead, parse_head

__all__ = ["Continuation", "token_list"]

ASKS_IDS = b'"return_token_ids":true,'
"""What a replay asks for besides, so that it can be continued from where it diverges."""
TOKENIZE_PATH = "/tokenize"
DETOKENIZE_PATH = "/detokenize"
SPELLED_MAX = 5
"""Places that are looked at for where some tokens end in the client's text; each costs a short request."""
BROKEN_MAX = 3
"""Tokens that may have begun a character and not ended it: one of four bytes, a byte each, less the last."""
_BROKEN = "\ufffd"
"""What stands for a character that is not whole."""
TOKENS_BYTES_MAX = 16 << 20
"""Bytes of the engine's answer about the tokens of a text: more than its longest text has."""


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


class Continuation:
    """The steps of one stream. Owned by its exchange; begun with the first loss that may need them.

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

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt; 0 while they are not known."""
        return len(self._prompt_ids)

    @property
    def text_ids(self) -> tuple[int, ...]:
        """What the engine cut the client's text into, once it has told it (`go_on`)."""
        return self._text_ids

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
        self._spelled, self._places = 0, self._with_steps_back(self._find_places()) if self._uses_ids else []
        if not self._go_to_place():
            self.stage = "tokens" if self.has_diverged else "replay"

    # ------------------------------------------------------------------ where the known tokens end

    @property
    def _reach(self) -> int:
        """Characters that an engine holds back for the sake of stop strings, or may have to look at again."""
        return max(map(len, stops_of(self._request)), default=1) - 1

    @property
    def _is_parsed(self) -> bool:
        """Whether a parser of the engine may hold text back that it has read."""
        return bool(self._request.get("tools")) or text_key(self._delivered) is None

    def _find_places(self) -> list[Seam]:
        """Where the stream may go on, the best last: ends of events whose tokens end within the client's text."""
        delivered, limit, reach = self._delivered, output_limit(self._path, self._request), self._reach
        places = [s for s in delivered.seams if s.is_sure or s.chars + reach <= delivered.chars]
        if limit is not None:
            places = [s for s in places if s.ids < limit]
        if text_key(delivered) is None or not (reach or is_greedy(self._request)):
            places = [s for s in places if s.chars == delivered.chars]  # none may be said again: see `spelled`
        return places

    def _with_steps_back(self, places: list[Seam]) -> list[Seam]:
        """The same, and before the last of them the tokens that may have ended no character."""
        if not places or self._is_known(places[-1]):
            return places
        last = places[-1]
        steps = [Seam(last.ids - n, last.chars, is_exact=False) for n in range(BROKEN_MAX, 0, -1) if last.ids > n]
        return [*places[:-1], *steps, last]

    def _is_known(self, place: Seam) -> bool:
        """Whether its tokens end where its text does, without asking."""
        return place.is_sure or (place.is_exact and not self._is_parsed and not self._reach)

    def _go_to_place(self) -> bool:
        """To the next place that may do; False where there is none."""
        self._head, self._collected = None, b""
        self.is_from_ids = bool(self._places) and self._spelled < SPELLED_MAX
        if not self.is_from_ids:
            return False
        place = self._places.pop()
        self._text_ids = tuple(self._delivered.ids[: place.ids])
        if self._is_known(place):
            self._at, self.stage = place.chars, "text"
        else:
            self._spelled, self.stage = self._spelled + 1, "spelling"
        return True

    def spelled(self) -> bool:
        """The answer about the spelling is whole: whether there is a place to go on from, or another to look at."""
        spelled, delivered, at = spelled_text(self._collected) if self.status == 200 else None, self._delivered, -1
        if spelled is not None and (key := text_key(delivered)) is not None:
            text = delivered.texts[key]
            at = end_in(text, spelled)
            if at < len(text) and not is_greedy(self._request):
                at = -1  # what is drawn anew may not be what was said
        elif spelled is not None and (key := last_key(delivered)) is not None:
            # what marks the thoughts is in the tokens and not in the text, which can only be at their end
            at = delivered.chars if spelled.endswith(delivered.texts[key]) else -1
        if at < 0:
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
            at = None if self._at == self._delivered.chars else self._at
            return Continued(self._delivered, self._prompt_ids, self._text_ids, said=said, stops=stops, at=at)
        return Replay(self._delivered, takes_ids=True)
