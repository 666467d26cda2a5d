"""What a client has been given of a stream, and what another attempt at the same answer adds to it.

`Delivered` keeps the bytes that went to the client and reads them only when somebody asks: after a failure, or when
they have grown past `KEPT_BYTES_MAX`. An `Attempt` takes the events of another attempt and lets through what the client
has not got yet, under the identity of the first; a `Replay` is one at the same answer from its first token. All see an
event through `walk`: texts that grow, lists that grow, and marks that are set once. Guarantees: what a replay lets
through continues what was delivered, character by character, or it raises `DivergedError`. Leaves to others: whether a
replay is worth an attempt (`failover`), and how an answer goes on where it diverged (`continued`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import orjson

from penstock.serve.walk import Key, UnreadableError, walk
from penstock.serve.walk_responses import ENDINGS, Names, is_response_event, walk_response
from penstock.serve.wire.responses import ChunkedBody
from penstock.serve.wire.sse import Usage

__all__ = ["IDS", "KEPT_BYTES_MAX", "TEXT_CHARS_MAX", "Attempt", "Delivered", "DivergedError", "Replay", "Seam"]

KEPT_BYTES_MAX = 65_536
"""Bytes that are kept unread: some 250 tokens. Past it they are read, so that a long stream costs the memory of its
text and not of its events; 65,536 bytes take about half a millisecond."""
TEXT_CHARS_MAX = 1 << 20
"""Characters of text that are kept of one stream. Past it the stream can't be resumed; it is about 250,000 tokens."""
IDS: Key = (0, "token_ids")
"""Channel of the tokens of the one choice."""
SEAMS_MAX = 64
"""Ends of events that are kept, the latest: a text seldom runs more than a few tokens behind what it is made of."""
_DONE = b"[DONE]"
_IDENTITY = ("id", "created", "model")
_Part = TypeVar("_Part", str, list[Any])


class DivergedError(Exception):
    """Another attempt said something else than what the client has already got."""


class Seam(NamedTuple):
    """The end of an event that brought text: so many tokens had been told, so many characters of text."""

    ids: int
    chars: int
    is_exact: bool
    """The text is that of those tokens, as far as no stop string held any back: the last one brought it."""
    is_sure: bool = False
    """It is, whatever was held back: another attempt went on from there."""


class Delivered:
    """What one client got of one stream. Owned by its exchange; `pieces` is appended to by its answer."""

    __slots__ = (
        "_body",
        "_lists",
        "_marks",
        "_texts",
        "chars",
        "events",
        "finish_reason",
        "identity",
        "ids",
        "is_readable",
        "keeps_ids",
        "last_key",
        "names",
        "pieces",
        "prompt_ids",
        "seams",
    )

    def __init__(self, pieces: list[bytes], *, is_chunked: bool, keeps_ids: bool = False) -> None:
        """`keeps_ids`: the engine was asked for token ids on the gateway's own account. They go on with their events,
        which go on as they came, but are nothing that the client asked for."""
        self.keeps_ids = keeps_ids
        self.prompt_ids = b""
        """The tokens of the prompt as the engine listed them, unread; empty where it was not asked, or did not."""
        self.ids = array("Q")
        """The tokens of the answer so far."""
        self.seams: deque[Seam] = deque(maxlen=SEAMS_MAX)
        self.pieces = pieces
        """As they were sent, not yet read; whoever sends appends."""
        self.is_readable = True
        """False once something went that is not understood, or too much."""
        self.identity: dict[str, Any] = {}
        """`id`, `created` and `model` of the first event."""
        self.names = Names()
        """Ids and numbers, of the Responses API."""
        self.finish_reason = ""
        """Of the first choice, of chat and completions."""
        self.events = 0
        """Events other than comments."""
        self.chars = 0
        """Characters of text, in all channels together."""
        self.last_key: Key = ()
        """The channel that grew last."""
        self._body = ChunkedBody() if is_chunked else None
        self._texts: dict[Key, list[str]] = {}
        self._lists: dict[Key, int] = {}
        self._marks: set[Key] = set()

    def settle(self) -> None:
        """Reads what was kept, and keeps what it means instead."""
        data = b"".join(self.pieces)
        self.pieces.clear()
        if not self.is_readable:
            return
        try:
            self._read(data if self._body is None else self._body.feed(data))
        except UnreadableError:
            self._give_up()
        if self.chars > TEXT_CHARS_MAX:
            self._give_up()

    def _read(self, payload: bytes) -> None:
        for event in _events(payload):
            data = _data(event)
            if not data:
                continue
            self.events += 1
            if data == _DONE:
                continue
            fields = _fields(data)
            if not self.identity:
                self.identity = {name: fields[name] for name in _IDENTITY if name in fields}
            if is_response_event(fields):
                self.names.learn(fields)
                walk_response(fields, self)
                continue
            ids, chars = len(self.ids), self.chars
            walk(fields, self)
            self._learn_reason(fields)
            if self.keeps_ids and self.chars > chars:
                self._seam(len(self.ids) - ids)

    def _learn_reason(self, fields: dict[str, Any]) -> None:
        choices = fields.get("choices")
        for choice in choices if type(choices) is list else ():
            reason = choice.get("finish_reason")
            if type(reason) is str and choice.get("index", 0) == 0:
                self.finish_reason = reason

    def _seam(self, more: int) -> None:
        """An event with text has ended, which told so many tokens."""
        if more:
            self.seams.append(Seam(len(self.ids), self.chars, more == 1))
        else:  # text of tokens that are not known
            self.keeps_ids = False
            self.seams.clear()

    def restart(self, ids: Iterable[int], chars: int) -> None:
        """Another attempt goes on from these tokens, the text of which ends after `chars` characters."""
        self.ids = array("Q", ids)
        self.seams.clear()
        if self.ids:
            self.seams.append(Seam(len(self.ids), chars, is_exact=True, is_sure=True))

    def _give_up(self) -> None:
        self.is_readable = False
        self._texts, self._lists, self._marks = {}, {}, set()
        self.seams.clear()

    @property
    def has_text(self) -> bool:
        """Whether anything went that another attempt could contradict, as far as it was read."""
        return bool(self.chars or self._lists or any(key[-1] == "finish" for key in self._marks))

    @property
    def texts(self) -> dict[Key, str]:
        """All text so far, by channel."""
        return {key: "".join(parts) for key, parts in self._texts.items()}

    @property
    def lists(self) -> dict[Key, int]:
        """Lengths of all lists so far, by channel."""
        return self._lists

    @property
    def marks(self) -> set[Key]:
        """What was said that is said once."""
        return self._marks

    def text(self, key: Key, piece: str) -> str:
        """More text of a channel."""
        self._texts.setdefault(key, []).append(piece)
        self.chars += len(piece)
        if piece:
            self.last_key = key
        return piece

    def items(self, key: Key, piece: list[Any]) -> list[Any]:
        """More of a list.

        Raises:
            UnreadableError: tokens that are no such numbers.
        """
        if self.keeps_ids and key == IDS:
            try:
                self.ids.extend(piece)
            except (TypeError, OverflowError) as error:
                raise UnreadableError("a token was not a number") from error
            return piece
        self._lists[key] = self._lists.get(key, 0) + len(piece)
        return piece

    def mark(self, key: Key) -> bool:
        """Something that is said once."""
        self._marks.add(key)
        return True

    def finish(self, index: int) -> bool:
        """The choice or block is complete."""
        return self.mark((index, "finish"))


class Attempt(ABC):
    """Another attempt at an answer, less what the client has. Owned by its answer.

    `text`, `items`, `mark` and `finish` are for `walk`: each returns what is new to the client. `prompt_ids` are the
    tokens of the prompt, as the engine told them; empty before, or where it was not asked.
    """

    __slots__ = ("_identity", "_keeps_ids", "_names", "_others", "_takes_ids", "last", "prompt_ids")

    def __init__(self, delivered: Delivered, *, takes_ids: bool) -> None:
        """`delivered` was settled just now. `takes_ids`: the engine was asked for token ids, which are kept here, or go
        on where they did before; else those that come are the client's."""
        self._identity = dict(delivered.identity)
        self._keeps_ids = delivered.keeps_ids
        self._names, self._others = delivered.names.copy(), Names()
        self._takes_ids = takes_ids or delivered.keeps_ids
        self.prompt_ids: tuple[int, ...] = ()
        self.last = b""
        """What `feed` let through last."""

    def feed(self, payload: bytes) -> bytes:
        """Takes whole events, returns those that are new to the client, cut to what is new in them.

        Raises:
            DivergedError: they do not follow what the client got, or they can't be read.
        """
        out = b"".join(self._event(event) for event in _events(payload))
        if out:
            self.last = out
        return out

    def _event(self, event: bytes) -> bytes:
        data = _data(event)
        if not data:
            return event if event.startswith(b":") else b""
        if data == _DONE:
            self._done()
            return event
        try:
            fields = _fields(data)
            if self._takes_ids:
                self._take_ids(fields)
            self._look(fields)
            if not (self._walk_response(fields) if is_response_event(fields) else walk(fields, self)):
                return b""
        except UnreadableError as error:
            raise DivergedError(str(error)) from error
        for name, value in self._identity.items():
            if name in fields:
                fields[name] = value
        head = b"".join(line + b"\n" for line in event.splitlines() if line and not line.startswith(b"data:"))
        return head + b"data: " + orjson.dumps(fields) + b"\n\n"

    def _walk_response(self, fields: dict[str, Any]) -> bool:
        self._others.learn(fields)
        if fields["type"] in ENDINGS:
            self._done()
        if not walk_response(fields, self):
            return False
        self._names.mend(fields, self._others)
        if "sequence_number" in fields:
            fields["sequence_number"] = self._names.next()
        return True

    def _take_ids(self, fields: dict[str, Any]) -> None:
        """Takes token ids out of an event: chat tells those of the prompt beside the choices, completions within."""
        told = [fields.pop("prompt_token_ids", None)]
        fields.pop("prompt_text", None)
        choices = fields.get("choices")
        for choice in choices if type(choices) is list else ():
            if type(choice) is dict:
                if not self._keeps_ids:
                    choice.pop("token_ids", None)
                told.append(choice.pop("prompt_token_ids", None))
        for ids in told:
            if not self.prompt_ids and type(ids) is list and all(type(token) is int for token in ids):
                self.prompt_ids = tuple(ids)

    def _look(self, fields: dict[str, Any]) -> None:  # noqa: B027 — a replay needs no look
        """An event, before it is cut."""

    def _done(self) -> None:  # noqa: B027 — nor has a continuation a rest
        """The attempt is whole."""

    @property
    @abstractmethod
    def has_caught_up(self) -> bool:
        """Whether it has said all the text that the client had when it began."""

    def usage(self, told: Usage) -> Usage:
        """The usage of the whole answer, from what the engine told of this attempt."""
        return told

    @abstractmethod
    def text(self, key: Key, piece: str) -> str:
        """The part of a text that the client has not got."""

    @abstractmethod
    def items(self, key: Key, piece: list[Any]) -> list[Any]:
        """The part of a list that the client has not got."""

    @abstractmethod
    def mark(self, key: Key) -> bool:
        """Whether the client has not got this yet."""

    @abstractmethod
    def finish(self, index: int) -> bool:
        """Whether the client does not know yet that this choice or block is complete."""


class Replay(Attempt):
    """The same answer from another endpoint, from its first token."""

    __slots__ = ("_at", "_held_ids", "_lists", "_marks", "_texts")

    def __init__(self, delivered: Delivered, *, takes_ids: bool = False) -> None:
        super().__init__(delivered, takes_ids=takes_ids)
        self._texts = delivered.texts
        self._lists = dict(delivered.lists)
        self._lists[IDS] = self._lists.get(IDS, 0) + len(delivered.ids)
        self._held_ids: list[Any] = []
        self._marks = set(delivered.marks)
        self._at: dict[Key, int] = {}

    @property
    def has_caught_up(self) -> bool:
        """Whether it has said all the text that the client had when it began."""
        return all(self._at.get(key, 0) >= len(text) for key, text in self._texts.items())

    def text(self, key: Key, piece: str) -> str:
        """The part of a text that the client has not got.

        Raises:
            DivergedError: the other part is not what the client got.
        """
        known = self._texts.get(key, "")
        at = self._at.get(key, 0)
        self._at[key] = at + len(piece)
        overlap = piece[: max(0, len(known) - at)]
        if overlap and not known.startswith(overlap, at):
            raise DivergedError(f"its {key[-1]} differs after {at} characters")
        return self._new(key, piece[len(overlap) :])

    def items(self, key: Key, piece: list[Any]) -> list[Any]:
        """The part of a list that the client has not got. The gateway's own token ids go on no sooner than their text
        has caught up, so that text and tokens end together for who counts them."""
        if self._keeps_ids and key == IDS:
            self._held_ids += piece
            if not self.has_caught_up:
                return []
            piece, self._held_ids = self._held_ids, []
        at = self._at.get(key, 0)
        self._at[key] = at + len(piece)
        return self._new(key, piece[max(0, self._lists.get(key, 0) - at) :])

    def _new(self, key: Key, piece: _Part) -> _Part:
        if piece and (key[0], "finish") in self._marks:
            raise DivergedError(f"its {key[-1]} goes on where the first attempt had ended")
        return piece

    def mark(self, key: Key) -> bool:
        """Whether the client has not got this yet."""
        is_new = key not in self._marks
        self._marks.add(key)
        return is_new

    def finish(self, index: int) -> bool:
        """Whether the client does not know yet that this choice or block is complete.

        Raises:
            DivergedError: it is shorter than what the client got.
        """
        self._check(index)
        return self.mark((index, "finish"))

    def _check(self, index: int) -> None:
        for key, text in self._texts.items():
            if key[0] == index and self._at.get(key, 0) < len(text):
                raise DivergedError(f"its {key[-1]} ended after {self._at.get(key, 0)} of {len(text)} characters")

    def _done(self) -> None:
        for index in {key[0] for key in self._texts}:
            self._check(int(index))


def _events(payload: bytes) -> Iterator[bytes]:
    """Whole events, each with the blank line that ends it.

    Raises:
        UnreadableError: the last one is not whole.
    """
    if b"\r" in payload:
        payload = payload.replace(b"\r\n", b"\n")
    *events, rest = payload.split(b"\n\n")
    if rest:
        raise UnreadableError("an event was not whole")
    for event in events:
        yield event + b"\n\n"


def _data(event: bytes) -> bytes:
    """The data of an event; empty for a comment."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
        return event[6:-2]
    return b"\n".join(line[5:].lstrip(b" ") for line in event.splitlines() if line.startswith(b"data:"))


def _fields(data: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnreadableError("an event was not JSON") from error
    if type(fields) is not dict:
        raise UnreadableError("an event was not an object")
    return fields
