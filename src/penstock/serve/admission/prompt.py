"""What a request's prompt is, whatever API it came by: its text in order, and what else is in it.

`read_prompt` looks once at a body that was parsed and whose top-level types were checked; deeper shapes may be
anything. It copies no text that the body has as text, keeps no image or audio, and raises nothing. Lengths are the
business of `tokens`, bounds of `bounds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["Prompt", "read_prompt"]

Fields = Mapping[str, Any]


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost time
class Prompt:
    """A prompt as the gateway looks at it once."""

    pieces: list[str]
    """Its text in the order in which the engine sees it: roles, contents, tools, instructions."""
    chars: int = 0
    messages: int = 0
    images: int = 0
    """Images, and videos, of which each counts as one."""
    audios: int = 0
    tools: int = 0
    tokens: int = -1
    """Where the client sent token ids: how many; else -1."""
    batch: int = 1
    """Prompts in the request (completions and embeddings take several)."""
    longest: int = -1
    """Of several prompts: characters of the longest, or its tokens where ids were sent. -1 where there is one."""
    narrow_bytes: int = -1
    """Bytes of the pieces that are plain ASCII; -1 until `tokens.measure` looked."""
    wide_bytes: int = 0
    """Bytes in UTF-8 of the other pieces; long ones are sampled."""


_IMAGES = frozenset({"image_url", "image", "input_image", "image_pil", "image_embeds", "video_url", "video"})
_AUDIOS = frozenset({"input_audio", "audio_url", "audio", "audio_embeds"})
_TEXTS = ("text", "refusal", "thinking", "reasoning")
"""Where a part keeps its text: OpenAI's, Anthropic's and vLLM's names."""
_NESTING_MAX = 64
"""Parts within parts that are followed; templates and engines look two deep."""


def read_prompt(schema: str, fields: Fields) -> Prompt:
    """The prompt of a body; `schema` is a name of `wire.fields.SCHEMAS`."""
    prompt = Prompt([])
    reader = _READERS.get(schema)
    if reader is not None:
        reader(fields, prompt)
        if prompt.tokens < 0:
            prompt.chars = sum(map(len, prompt.pieces))
    return prompt


def _read_chat(fields: Fields, prompt: Prompt) -> None:
    _read_tools(fields.get("tools") or fields.get("functions"), prompt)
    messages = fields.get("messages")
    if type(messages) is list:
        _read_messages(messages, prompt)


def _read_tools(tools: Any, prompt: Prompt) -> None:
    if tools and type(tools) is list:
        prompt.tools = len(tools)
        _read_json(tools, prompt)


def _read_messages(messages: list[Any], prompt: Prompt) -> None:
    add = prompt.pieces.append
    prompt.messages += len(messages)
    for message in messages:
        if type(message) is not dict:
            continue
        role = message.get("role")
        if type(role) is str:
            add(role)
        content = message.get("content")
        if type(content) is str:
            add(content)
        elif content is not None:
            _read_parts(content, prompt)
        if len(message) > 2:
            _read_rest(message, prompt)


def _read_rest(message: dict[str, Any], prompt: Prompt) -> None:
    """What a message has beside role and content: name, reasoning, calls of tools."""
    for name in ("name", "reasoning", "reasoning_content", "tool_call_id"):
        value = message.get(name)
        if type(value) is str:
            prompt.pieces.append(value)
    calls = message.get("tool_calls") or message.get("function_call")
    if type(calls) is dict:
        calls = [calls]
    if type(calls) is list:
        for call in calls:
            function = call.get("function", call) if type(call) is dict else None
            if type(function) is dict:
                for value in (function.get("name"), function.get("arguments")):
                    if type(value) is str:
                        prompt.pieces.append(value)
                    elif value:
                        _read_json(value, prompt)


def _read_parts(content: Any, prompt: Prompt, depth: int = 0) -> None:
    """Content that is not plain text: parts with a type, in OpenAI's, Anthropic's or the Responses API's names."""
    if type(content) is dict:
        content = (content,)
    elif type(content) is not list:
        return
    for part in content:
        if type(part) is str:
            prompt.pieces.append(part)
            continue
        if type(part) is not dict:
            continue
        kind = part.get("type")
        if type(kind) is not str:
            kind = ""
        if kind in _IMAGES or (not kind and ("image_url" in part or "image" in part)):
            prompt.images += 1
        elif kind in _AUDIOS or (not kind and ("audio_url" in part or "input_audio" in part)):
            prompt.audios += 1
        else:
            _read_part(part, prompt, depth)


def _read_part(part: dict[str, Any], prompt: Prompt, depth: int) -> None:
    for name in _TEXTS:
        value = part.get(name)
        if type(value) is str:
            prompt.pieces.append(value)
    for name in ("name", "input", "arguments"):  # a call of a tool
        value = part.get(name)
        if type(value) is str:
            prompt.pieces.append(value)
        elif value:
            _read_json(value, prompt)
    for name in ("content", "output", "summary"):  # a tool's result, a message inside
        value = part.get(name)
        if type(value) is str:
            prompt.pieces.append(value)
        elif value and depth < _NESTING_MAX:
            _read_parts(value, prompt, depth + 1)


def _read_json(value: Any, prompt: Prompt) -> None:
    """What templates print as JSON: tools, arguments. Written once by orjson; what it can't write is counted by its
    strings."""
    try:
        prompt.pieces.append(orjson.dumps(value).decode())
    except (TypeError, UnicodeError):
        _read_strings(value, prompt)


def _read_strings(value: Any, prompt: Prompt) -> None:
    left = [value]
    while left:
        item = left.pop()
        if type(item) is str:
            prompt.pieces.append(item)
        elif type(item) is dict:
            prompt.pieces.extend(k for k in item if type(k) is str)
            left.extend(item.values())
        elif type(item) is list:
            left.extend(item)


def _read_completion(fields: Fields, prompt: Prompt) -> None:
    _read_texts(fields.get("prompt"), prompt)
    suffix = fields.get("suffix")
    if type(suffix) is str:
        prompt.pieces.append(suffix)


def _read_texts(value: Any, prompt: Prompt) -> None:
    """A text, several, token ids, several lists of them: `prompt` of completions, `input` of embeddings."""
    if type(value) is str:
        prompt.pieces.append(value)
        return
    if type(value) is not list or not value:
        return
    first = value[0]
    if type(first) is int:
        prompt.tokens = len(value)
        return
    if type(first) is list:
        lengths = [len(ids) for ids in value if type(ids) is list]
        prompt.tokens, prompt.longest = sum(lengths), max(lengths)
    else:
        texts = [text for text in value if type(text) is str]
        prompt.pieces.extend(texts)
        if len(texts) != len(value):
            _read_parts([item for item in value if type(item) is dict], prompt)
        prompt.longest = max(map(len, texts), default=0)
    prompt.batch = len(value)
    if prompt.batch == 1:
        prompt.longest = -1


def _read_responses(fields: Fields, prompt: Prompt) -> None:
    _read_tools(fields.get("tools"), prompt)
    instructions = fields.get("instructions")
    if type(instructions) is str:
        prompt.messages = 1
        prompt.pieces.append(instructions)
    value = fields.get("input")
    if type(value) is str:
        prompt.messages += 1
        prompt.pieces.append(value)
    elif type(value) is list:
        prompt.messages += len(value)
        for item in value:
            if type(item) is dict and type(item.get("role")) is str:
                prompt.pieces.append(item["role"])
        _read_parts(value, prompt)


def _read_anthropic(fields: Fields, prompt: Prompt) -> None:
    _read_tools(fields.get("tools"), prompt)
    system = fields.get("system")
    if system:
        prompt.messages = 1
        if type(system) is str:
            prompt.pieces.append(system)
        else:
            _read_parts(system, prompt)
    messages = fields.get("messages")
    if type(messages) is list:
        _read_messages(messages, prompt)


def _read_embeddings(fields: Fields, prompt: Prompt) -> None:
    messages = fields.get("messages")
    if type(messages) is not list or not messages:
        _read_texts(fields.get("input"), prompt)
    elif type(messages[0]) is list:  # several conversations
        prompt.batch, longest = len(messages), 0
        for conversation in messages:
            if type(conversation) is list:
                at = len(prompt.pieces)
                _read_messages(conversation, prompt)
                longest = max(longest, sum(map(len, prompt.pieces[at:])))
        prompt.longest = longest if prompt.batch > 1 else -1
    else:
        _read_messages(messages, prompt)


def _read_embed(fields: Fields, prompt: Prompt) -> None:
    """Cohere's: texts, images, or inputs of parts."""
    inputs, images = fields.get("inputs"), fields.get("images")
    if type(images) is list:
        prompt.images, prompt.batch = len(images), max(len(images), 1)
    elif type(inputs) is list:
        _read_parts([part for item in inputs if type(item) is dict for part in _parts_of(item)], prompt)
        prompt.batch = max(len(inputs), 1)
    else:
        _read_texts(fields.get("texts"), prompt)


def _parts_of(item: Fields) -> list[Any]:
    content = item.get("content")
    return content if type(content) is list else []


def _read_rerank(fields: Fields, prompt: Prompt) -> None:
    """The query is read again with each document, as a cross-encoder reads them."""
    documents = fields.get("documents")
    if type(documents) is dict:
        documents = documents.get("content", documents)
    _read_pairs((fields.get("query"),), documents, prompt)


def _read_score(fields: Fields, prompt: Prompt) -> None:
    one = next((fields[n] for n in ("text_1", "queries", "query", "data_1") if fields.get(n) is not None), None)
    two = next((fields[n] for n in ("text_2", "documents", "items", "data_2") if fields.get(n) is not None), None)
    _read_pairs(one if type(one) is list else (one,), two, prompt)


def _read_pairs(queries: Any, documents: Any, prompt: Prompt) -> None:
    """One query with every document, or as many queries as documents, pair by pair."""
    if type(documents) is not list:
        documents = [documents]
    count = max(len(documents), len(queries))
    longest, pieces = 0, prompt.pieces
    for index in range(count):
        at = len(pieces)
        for side in (queries, documents):
            if side:
                text = side[index if len(side) > 1 and index < len(side) else 0]
                if type(text) is str:
                    pieces.append(text)
                else:
                    _read_parts(text, prompt)
        longest = max(longest, sum(map(len, pieces[at:])))
    prompt.batch = max(count, 1)
    prompt.longest = longest if count > 1 else -1


def _read_inputs(fields: Fields, prompt: Prompt) -> None:
    _read_embeddings(fields, prompt)
    data = fields.get("data")
    if type(data) is str:
        prompt.pieces.append(data)


def _read_tokenize(fields: Fields, prompt: Prompt) -> None:
    if fields.get("messages"):
        _read_chat(fields, prompt)
    else:
        _read_texts(fields.get("prompt"), prompt)


_READERS: dict[str, Callable[[Fields, Prompt], None]] = {
    "chat": _read_chat,
    "chats": _read_embeddings,
    "completion": _read_completion,
    "responses": _read_responses,
    "messages": _read_anthropic,
    "embed": _read_embed,
    "embeddings": _read_embeddings,
    "rerank": _read_rerank,
    "score": _read_score,
    "classify": _read_inputs,
    "pooling": _read_inputs,
    "tokenize": _read_tokenize,
}
"""By schema; what is not here (`detokenize`, `any`) has no prompt that is text."""
