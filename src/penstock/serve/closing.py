"""The end of a stream that lacks nothing else, told by the gateway where its endpoint no longer can. Pure.

A client that has the finish reason, or as many tokens as it may have, lacks at most the reason, the usage and the last
event. `known_end` says what they are where the engine told the tokens, `end_of_text` and `end_of_count` where the
tokens of the client's text were counted; `last_events` are the events. Guarantees: no reason that the engine could not
have given, and no end for a stream whose text may be longer. Whether that is done is `failover`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from penstock.serve.continued import output_limit, stops_of
from penstock.serve.delivered import Delivered

__all__ = ["End", "end_of_count", "end_of_text", "known_end", "last_events"]

TOKEN_PATHS = frozenset({"/v1/chat/completions", "/v1/completions"})
DONE = b"data: [DONE]\n\n"
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class End(NamedTuple):
    """How a stream ends."""

    reason: str
    """The finish reason; empty where the client has it."""
    prompt_tokens: int
    output_tokens: int


def known_end(path: str, request: Mapping[str, Any], delivered: Delivered, prompt_tokens: int) -> End | None:
    """The end of a stream whose engine told all its tokens; None where more may follow, or they are not known."""
    said = len(delivered.ids)
    if path not in TOKEN_PATHS or not (prompt_tokens and said and delivered.keeps_ids and delivered.is_readable):
        return None
    if delivered.finish_reason:
        return End("", prompt_tokens, said)
    limit, seam = output_limit(path, request), delivered.seams[-1] if delivered.seams else None
    if limit is None or said < limit or seam is None or stops_of(request) or request.get("tools"):
        return None
    if seam.ids != said or seam.chars != delivered.chars or not (seam.is_exact or seam.is_sure):
        return None  # the last of its text may be held back
    return End(_reason(request, "", delivered.ids[-1]), prompt_tokens, said)


def end_of_text(
    path: str, request: Mapping[str, Any], text: str, ids: tuple[int, ...], prompt_tokens: int
) -> End | None:
    """The end of a text that was cut into these tokens, if none may follow it; None where it may go on. A text has a
    token at least, so that a limit of one is reached, however it was said."""
    if path not in TOKEN_PATHS or not ids or output_limit(path, request) != 1:
        return None
    return End(_reason(request, text, ids[-1]), prompt_tokens, 1)


def end_of_count(
    path: str, request: Mapping[str, Any], reason: str, prompt_tokens: int, ids: tuple[int, ...] | None = None
) -> End | None:
    """The end of a stream whose client has the finish reason. `ids`: what its text was cut into; None while that is not
    known, which it need not be where the limit ended it. A model that stops says one token more, which ends it."""
    limit = output_limit(path, request)
    if not prompt_tokens or not reason:
        return None
    if reason == "length" and limit is not None:
        return End("", prompt_tokens, limit)
    if ids is None:
        return None
    said = len(ids) + (reason != "length")
    return End("", prompt_tokens, said if limit is None else min(said, limit))


def _reason(request: Mapping[str, Any], text: str, last_id: int) -> str:
    """Why an answer ended that reached its limit: it did, unless its last token ends it too."""
    stop_ids = request.get("stop_token_ids")
    if type(stop_ids) is list and last_id in stop_ids:
        return "stop"
    keeps_stop = request.get("include_stop_str_in_output") is True
    return "stop" if keeps_stop and any(text.endswith(stop) for stop in stops_of(request)) else "length"


def last_events(path: str, delivered: Delivered, end: End | None, *, wants_usage: bool) -> bytes:
    """The events that are left: the finish reason and the usage, as far as the client lacks them, and the last event.
    `end` is None where the client lacks only that."""
    if path == "/v1/messages":
        return _end_of_message(delivered, end) + MESSAGE_STOP
    if end is None:
        return DONE
    is_chat = path == "/v1/chat/completions"
    frame = {"object": "chat.completion.chunk" if is_chat else "text_completion", **delivered.identity}
    out = b""
    if end.reason:
        said: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
        out += _event(frame, choices=[{"index": 0, **said, "logprobs": None, "finish_reason": end.reason}])
    if wants_usage and (-1, "usage") not in delivered.marks:
        total = end.prompt_tokens + end.output_tokens
        told = {"prompt_tokens": end.prompt_tokens, "total_tokens": total, "completion_tokens": end.output_tokens}
        out += _event(frame, choices=[], usage=told)
    return out + DONE


def _end_of_message(delivered: Delivered, end: End | None) -> bytes:
    if end is None or (-1, "message_delta") in delivered.marks:
        return b""
    index, out = delivered.last_key[0] if delivered.last_key else 0, b""
    if (index, "finish") not in delivered.marks:
        out = _named("content_block_stop", index=index)
    delta = {"stop_reason": "max_tokens" if end.reason == "length" else "end_turn", "stop_sequence": None}
    usage = {"input_tokens": end.prompt_tokens, "output_tokens": end.output_tokens}
    return out + _named("message_delta", delta=delta, usage=usage)


def _named(name: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))


def _event(frame: Mapping[str, Any], **fields: Any) -> bytes:
    return b"data: " + orjson.dumps({**frame, **fields}) + b"\n\n"
