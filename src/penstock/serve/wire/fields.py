"""Type checks of request bodies: what each field of the API must be, and the words for it when it is not.

Checks only fields that are present and that the gateway or every engine relies on; values and ranges are the engine's
to judge. A check costs about 0.1 µs a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SCHEMAS", "wrong_field"]

Check = tuple[frozenset[type], str]
"""The types that a value may have, and the words for them. `bool` is no integer here."""

INT: Check = (frozenset({int}), "an integer")
NUMBER: Check = (frozenset({float, int}), "a number")
BOOL: Check = (frozenset({bool}), "true or false")
TEXT: Check = (frozenset({str}), "a string")
LIST: Check = (frozenset({list}), "an array")
OBJECT: Check = (frozenset({dict}), "an object")
TEXT_OR_LIST: Check = (frozenset({str, list}), "a string or an array")
TEXT_OR_LIST_OR_OBJECT: Check = (frozenset({str, list, dict}), "a string, an array or an object")
TEXT_OR_OBJECT: Check = (frozenset({str, dict}), "a string or an object")
STOP: Check = (frozenset({str, list}), "a string or an array of strings")

_SAMPLING: dict[str, Check] = {
    "model": TEXT,
    "stream": BOOL,
    "stream_options": OBJECT,
    "max_tokens": INT,
    "min_tokens": INT,
    "n": INT,
    "seed": INT,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "top_k": INT,
    "min_p": NUMBER,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "repetition_penalty": NUMBER,
    "stop": STOP,
    "stop_token_ids": LIST,
    "logit_bias": OBJECT,
    "ignore_eos": BOOL,
    "user": TEXT,
}
_CHAT = _SAMPLING | {
    "messages": LIST,
    "max_completion_tokens": INT,
    "logprobs": BOOL,
    "top_logprobs": INT,
    "tools": LIST,
    "tool_choice": TEXT_OR_OBJECT,
    "parallel_tool_calls": BOOL,
    "response_format": OBJECT,
    "reasoning_effort": TEXT,
    "chat_template_kwargs": OBJECT,
}

SCHEMAS: dict[str, tuple[dict[str, Check], tuple[str, ...]]] = {
    "chat": (_CHAT, ("messages",)),
    "chats": (_CHAT, ("messages",)),
    "completion": (_SAMPLING | {"prompt": TEXT_OR_LIST, "echo": BOOL, "best_of": INT, "logprobs": INT}, ()),
    "responses": (
        {
            "model": TEXT,
            "input": TEXT_OR_LIST,
            "stream": BOOL,
            "max_output_tokens": INT,
            "temperature": NUMBER,
            "top_p": NUMBER,
            "tools": LIST,
            "instructions": TEXT,
            "previous_response_id": TEXT,
            "store": BOOL,
            "background": BOOL,
            "reasoning": OBJECT,
            "text": OBJECT,
            "tool_choice": TEXT_OR_OBJECT,
            "metadata": OBJECT,
        },
        ("input",),
    ),
    "messages": (
        {
            "model": TEXT,
            "messages": LIST,
            "stream": BOOL,
            "max_tokens": INT,
            "temperature": NUMBER,
            "top_p": NUMBER,
            "top_k": INT,
            "tools": LIST,
            "stop_sequences": STOP,
            "system": TEXT_OR_LIST,
            "thinking": OBJECT,
            "tool_choice": OBJECT,
            "output_config": OBJECT,
            "metadata": OBJECT,
        },
        ("messages",),
    ),
    "embeddings": (
        {"model": TEXT, "input": TEXT_OR_LIST, "messages": LIST, "dimensions": INT, "encoding_format": TEXT},
        (),
    ),
    "embed": (
        {
            "model": TEXT,
            "texts": LIST,
            "images": LIST,
            "inputs": LIST,
            "input_type": TEXT,
            "embedding_types": LIST,
            "output_dimension": INT,
            "truncate": TEXT,
        },
        (),
    ),
    "rerank": (
        {"model": TEXT, "query": TEXT_OR_OBJECT, "documents": TEXT_OR_LIST_OR_OBJECT, "top_n": INT},
        ("query", "documents"),
    ),
    "score": ({"model": TEXT}, ()),
    "classify": ({"model": TEXT, "input": TEXT_OR_LIST}, ()),
    "pooling": ({"model": TEXT, "input": TEXT_OR_LIST}, ()),
    "tokenize": ({"model": TEXT, "prompt": TEXT, "messages": LIST}, ()),
    "detokenize": ({"model": TEXT, "tokens": LIST}, ("tokens",)),
    "any": ({"model": TEXT}, ()),
}
"""By schema name: check of each known field, and the fields that must be there."""

_CONVERSATIONS = frozenset({"chat", "messages", "tokenize"})
"""Schemas whose `messages` is one conversation; `chats` and embeddings take a list of conversations."""

_TYPE_WORDS = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def wrong_field(schema: str, body: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first field that is wrong, as (path, sentence); None when all is well. `null` counts as not given."""
    checks, required = SCHEMAS[schema]
    for name in required:
        if body.get(name) is None:
            return name, f"Missing required field: '{name}'."
    for name, value in body.items():
        check = checks.get(name)
        if check is None or value is None:
            continue
        if type(value) not in check[0] or (check is STOP and not _are_texts(value)):
            return name, f"Invalid type for '{name}': expected {check[1]}, got {_TYPE_WORDS[type(value)]}."
    messages = body.get("messages")
    return _wrong_message(messages) if messages is not None and schema in _CONVERSATIONS else None


def _are_texts(value: Any) -> bool:
    return type(value) is str or all(type(one) is str for one in value)


def _wrong_message(messages: list[Any]) -> tuple[str, str] | None:
    if not messages:
        return "messages", "'messages' is empty: send at least one message."
    for index, message in enumerate(messages):
        if type(message) is not dict:
            where = f"messages[{index}]"
            return where, f"Invalid type for '{where}': expected an object, got {_TYPE_WORDS[type(message)]}."
        if type(message.get("role")) is not str:
            where = f"messages[{index}].role"
            return where, f"'{where}' is missing or not a string."
    return None
