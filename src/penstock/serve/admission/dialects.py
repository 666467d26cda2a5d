"""What a request of the Messages API or of Responses has that no other has: it is mended or written out before it goes
to an engine, its answer may be translated or kept. Pure; one `Way` belongs to one request.

    fields ─▶ way_of ─▶ (Way, fields that an engine takes) ─▶ engine ─▶ Way.read_through, Way.whole, Way.kept
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from penstock.serve.stored import (
    Stored,
    is_storing,
    last_response,
    previous_id,
    remember,
    unsupported_state,
)
from penstock.serve.wire.errors import Failure, lacks_path
from penstock.serve.wire.messages import CHAT_PATHS, TranslatedBody, mend, translated_answer, translated_request
from penstock.serve.wire.requests import json_object
from penstock.serve.wire.responses import Body

__all__ = ["LACKS_S", "OWN_WAYS", "Lacking", "Way", "way_of"]

OWN_WAYS = frozenset({"messages", "responses"})
"""Schemas whose requests have a `Way`."""
MESSAGES_PATH = "/v1/messages"
LACKS_S = 600.0
"""Seconds for which a model's engines are taken not to serve a path that one of them did not: then it is tried anew, as
they may have been updated."""
NOTES_MAX = 10
"""Notes that are told of one request."""
_GOES_ON = ("add_generation_prompt", "continue_final_message")
_LAST_TYPES = (b"response.completed", b"response.incomplete")


@dataclass(slots=True, kw_only=True)
class Way:
    """What is special about one request."""

    path: str
    asked: str
    """The model as the client named it."""
    notes: bytes = b""
    """Header line for the answer that says what was mended; or empty."""
    previous: str = ""
    """The response that the request goes on from."""
    keeps: bool = False
    """Whether the client wants its response kept."""
    is_translated: bool = False
    """Whether the engine is asked for a chat completion."""

    @property
    def lines(self) -> bytes:
        """Header lines for the answer."""
        if not self.is_translated:
            return self.notes
        return self.notes + b"x-penstock-translated: " + CHAT_PATHS[self.path].encode() + b"\r\n"

    @property
    def wants_whole(self) -> bool:
        """Whether an answer that is no stream must be there whole before it goes on."""
        return self.is_translated or self.keeps

    def can_be_translated(self, status: int, body: bytes) -> bool:
        """Whether an engine's answer says that it must be asked for a chat completion."""
        return self.path in CHAT_PATHS and not self.is_translated and lacks_path(status, body)

    def translate(self, body: bytes, edits: Mapping[str, Any] | None = None) -> bytes:
        """The body that asks for a chat completion. `edits`: what a provider wants changed in that; None for an engine
        of the fleet."""
        self.is_translated = True
        translated = translated_request(self.path, body, is_vllm=edits is None)
        if edits is None:
            return translated
        fields = json_object(translated) | dict(edits)
        return orjson.dumps({name: value for name, value in fields.items() if value is not None})

    def as_chat(self, body: bytes) -> dict[str, Any] | None:
        """What the engine got, as a chat completion; None where it can't be asked so."""
        if self.path != MESSAGES_PATH:
            return None
        return json_object(body if self.is_translated else translated_request(self.path, body))

    def restate(self, body: bytes) -> bytes:
        """The body that asks, as a chat completion, for what an engine has begun to answer under the API's own path.
        vLLM begins a new turn there after a last one of the assistant's, and a translated request goes on with that."""
        fields = json_object(self.translate(body))
        return orjson.dumps({name: value for name, value in fields.items() if name not in _GOES_ON})

    def read_through(self, body: Body) -> Body:
        """The body of a stream as the client is to get it."""
        return cast("Body", TranslatedBody(body, model=self.asked)) if self.is_translated else body

    def whole(self, body: bytes) -> bytes | Failure:
        """A whole answer as the client is to get it."""
        return translated_answer(self.path, body, model=self.asked) if self.is_translated else body

    def kept(self, answer: bytes, sent: bytes, *, tenant: str, now: float) -> Stored | None:
        """What to keep of a whole answer to the body `sent`. `now`: Unix seconds."""
        if not self.keeps:
            return None
        return remember(answer, json_object(sent), tenant=tenant, previous=self.previous, now=now)

    def ends_with(self, events: bytes) -> bool:
        """Whether these may hold the last event of a response that is to be kept. Cheap, and never wrong with no."""
        return self.keeps and any(kind in events for kind in _LAST_TYPES)

    def kept_of(self, events: bytes, sent: bytes, *, tenant: str, now: float) -> Stored | None:
        """What to keep of a stream that ends with these events; what is kept once is not kept again."""
        answer = last_response(events)
        stored = self.kept(answer, sent, tenant=tenant, now=now) if answer else None
        self.keeps = self.keeps and stored is None
        return stored


def way_of(
    schema: str, path: str, fields: dict[str, Any], *, asked: str, has_reasoning: bool = False
) -> tuple[Way, dict[str, Any]] | Failure:
    """The way of a request, and its fields as an engine takes them: the very object where nothing had to change.

    Args:
        schema: one of `OWN_WAYS`.
        path: as the client asked for it.
        fields: the parsed body; never changed.
        asked: the model as the client named it.
        has_reasoning: the model's engines are known to have a reasoning parser.
    """
    if schema == "responses":
        failure = unsupported_state(fields)
        way = Way(path=path, asked=asked, previous=previous_id(fields), keeps=is_storing(fields))
        return (way, fields) if failure is None else failure
    mended = mend(fields, keeps_thinking_budget=has_reasoning)
    if isinstance(mended, Failure):
        return mended
    return Way(path=path, asked=asked, notes=_note_line(mended.notes)), mended.fields


def _note_line(notes: tuple[str, ...]) -> bytes:
    """Notes may name kinds of blocks as the client wrote them: nothing but plain characters goes into a head."""
    if not notes:
        return b""
    text = "; ".join(notes[:NOTES_MAX]).encode("ascii", "replace")
    return b"x-penstock-mended: " + bytes(c if 32 <= c < 127 else 63 for c in text) + b"\r\n"


class Lacking:
    """Which models' engines do not serve the Messages API. Only for names of the configuration."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}

    def note(self, model: str, path: str, now: float) -> None:
        """One of them has just said so."""
        self._until[model, path] = now + LACKS_S

    def __call__(self, model: str, path: str, now: float) -> bool:
        """Whether a request is translated without being tried."""
        return bool(self._until) and self._until.get((model, path), 0.0) > now
