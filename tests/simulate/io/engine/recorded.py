"""The recorded answers of a real vLLM 0.32: reading them, and what of an answer is free to differ.

An answer is compared as its shape: keys and their order, types, fixed values and texts stay; what depends on
the model's weights, its tokenizer, the clock or chance is replaced by a mark that keeps type and pattern.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[4].parent / "shared" / "reference" / "vllm-api"

_TEXTS = {"content", "text", "reasoning", "arguments", "delta", "token", "prompt", "decoded_token", "partial_json"}
_COUNTS = {
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
    *("original_input_tokens", "count", "rank", "sequence_number"),
}
_LISTS = {"token_ids", "prompt_token_ids", "tokens", "bytes", "text_offset", "token_logprobs", "token_strs"}
_TIMES = {"created", "created_at"}
_NUMBERS = {"logprob", "score", "relevance_score"}
_HEX = re.compile(r"[0-9a-f]{16}|(?<=vllm-0\.32\.0-)[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    request: bytes | None


def read_recorded(name: str) -> Recorded:
    """An answer by its name, with its request where that was kept."""
    raw = (FOLDER / f"{name}.http").read_bytes()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(line.partition(": ")[0], line.partition(": ")[2]) for line in lines]
    kept = FOLDER / f"{name}.req.json"
    return Recorded(int(first.split()[1]), headers, body, kept.read_bytes() if kept.exists() else None)


def dechunk(body: bytes) -> list[bytes]:
    """The HTTP chunks of a raw body."""
    chunks = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return [chunk for chunk in chunks if chunk]


def shape(value: Any, key: str = "") -> Any:
    """A JSON value with everything free replaced by a mark."""
    match value:
        case dict() if value and (all(type(v) is float for v in value.values()) or all(k.isdigit() for k in value)):
            return {"<token>": sorted({json.dumps(shape(v, "logprob")) for v in value.values()})}
        case dict():
            return {name: shape(part, name) for name, part in value.items()}
        case list() if key in _LISTS:
            return "<list of " + "|".join(sorted({type(part).__name__ for part in value}) or ["int"]) + ">"
        case list() if key in ("embedding", "data") and value and isinstance(value[0], float):
            return f"<{len(value)} floats>"
        case list() if key in ("top_logprobs", "prompt_logprobs", "content", "tool_calls"):
            return unique([shape(part, key) for part in value])
        case list():
            return [shape(part, key) for part in value]
        case str():
            return _shape_text(value, key)
        case bool() | None:
            return value
        case int() if key in _TIMES:
            return "<time>"
        case int() if key in _COUNTS or key == "max_output_tokens":
            return "<count>"
        case float() if key in _NUMBERS:
            return "<number>"
    return value


def _shape_text(value: str, key: str) -> str:
    if key == "embedding":
        return f"<{len(value)} characters>"
    if key in _TEXTS:
        return "<text>"
    if key in ("finish_reason", "stop_reason") and value in ("stop", "length", "max_tokens", "end_turn"):
        return "<end>"
    if key == "status" and value in ("completed", "incomplete"):
        return "<end>"
    if key == "root":
        return "<source>"
    return _HEX.sub("<hex>", value)


def unique(shapes: list[Any]) -> list[Any]:
    """Equal neighbours once: how many tokens there are is free."""
    kept: list[Any] = []
    for one in shapes:
        if not kept or kept[-1] != one:
            kept.append(one)
    return kept


def event_shapes(body: bytes) -> list[str]:
    """The shapes of a stream's events in order, equal neighbours once."""
    shapes = []
    for block in body.split(b"\n\n"):
        lines = []
        for line in block.decode().split("\n"):
            if line.startswith("data: {"):
                lines.append("data: " + json.dumps(shape(json.loads(line[6:]))))
            else:
                lines.append(line)
        shapes.append("\n".join(lines))
    return unique(shapes)


def body_shape(body: bytes, content_type: str | None) -> Any:
    """What of a body must be equal."""
    if content_type is not None and content_type.startswith("text/event-stream"):
        return event_shapes(body)
    return json.dumps(shape(json.loads(body)), indent=1) if body else ""


def header_shape(headers: list[tuple[str, str]], *, is_exact: bool) -> list[tuple[str, str]]:
    """Headers in order; the date is free, and the length where the body is."""
    free = {"date"} if is_exact else {"date", "content-length"}
    keep: Callable[[str, str], str] = lambda name, value: "<free>" if name in free else value  # noqa: E731
    return [(name, keep(name, value)) for name, value in headers]
