"""An engine that tells tokens, says something else than the one before it, and goes on from a text."""

from __future__ import annotations

import json

from serve.exchanges import DONE, END, SSE_HEAD, Call, answer, chunk
from serve.streams import chat, usage

PROMPT_IDS = [1, 2, 3, 4, 5]
TEXT_IDS = [10, 11]
TOKENS = answer(json.dumps({"count": 2, "tokens": TEXT_IDS}).encode())


def with_ids(events: list[bytes], ids: list[int]) -> list[bytes]:
    """Events as vLLM sends them when it is asked for token ids."""
    first, *others = events
    told = b'}],"prompt_token_ids":%b,"prompt_text":null}\n\n' % json.dumps(ids).encode()
    return [first.removesuffix(b"}]}\n\n") + told, *others]


def wire(texts: list[str], ids: list[int], created: int, tokens: int, prompt_tokens: int) -> list[bytes]:
    counts = usage(tokens, created).replace(b'"prompt_tokens":5', b'"prompt_tokens":%d' % prompt_tokens)
    events = with_ids(chat(texts, created=created), ids)
    return [SSE_HEAD, *(chunk(e) for e in [*events, counts, DONE]), END]


OTHER = wire(["a", "x", "y"], PROMPT_IDS, 2, 3, 5)
NEXT = wire(["-d", "e"], PROMPT_IDS + TEXT_IDS, 3, 2, 7)


def feed(call: Call, *reads: bytes) -> Call:
    """The endpoint sends these, as long as it is asked: another request ends what it was sending."""
    asked = len(call.dispatches)
    for data in reads:
        if len(call.dispatches) == asked and not call.is_over:
            call.engine(data)
    return call
