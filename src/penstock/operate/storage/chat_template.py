"""Renders a model's chat template on two messages, as an engine would, in a sandbox.

Pure, but a template can loop for hours: the edge runs this in a process of its own with a time limit. Guarantees that
the template reaches no attribute, file or module; what it offers is what engines offer (their `tojson`, loop controls,
the `generation` block, `raise_exception`, `strftime_now`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

__all__ = ["TEMPLATE_BYTES_MAX", "TemplateTrouble", "render_two_messages", "template_of"]

TEMPLATE_BYTES_MAX = 1024 * 1024
"""The longest published ones have some tens of kilobytes."""
_RENDERED_CHARS_MAX = 1024 * 1024
_NOW = datetime(2025, 1, 2, 3, 4, 5)  # noqa: DTZ001 — a template only prints it


class TemplateTrouble(Exception):
    """The template asked for its own failure: `raise_exception`."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}`: marks what the assistant says; renders its body."""

    tags = {"generation"}  # noqa: RUF012 — Jinja's own way of declaring it

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node | list[jinja2.nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def render_two_messages(template: str, tokens: Mapping[str, str]) -> str | None:
    """What is wrong with the template, in words; None when it renders. `tokens`: `bos_token` and the like."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _NOW.strftime
    try:
        compiled = environment.from_string(template)
    except jinja2.TemplateSyntaxError as error:
        return f"has a mistake in line {error.lineno}: {error.message}"
    first = _render(compiled, tokens, in_parts=False)
    if first is None or _render(compiled, tokens, in_parts=True) is None:
        return None
    return first


def _render(compiled: jinja2.Template, tokens: Mapping[str, str], *, in_parts: bool) -> str | None:
    """Trouble with text as content, or with a list of parts as models that see take it."""
    said = ("What is two and two?", "Four.")
    contents: list[Any] = [[{"type": "text", "text": text}] for text in said] if in_parts else list(said)
    messages = [{"role": r, "content": c} for r, c in zip(("user", "assistant"), contents, strict=True)]
    try:
        text = compiled.render(messages=messages, tools=None, documents=None, add_generation_prompt=False, **tokens)
    except Exception as error:
        return f"does not render a chat of two messages: {type(error).__name__}: {str(error)[:200]}"
    if len(text) > _RENDERED_CHARS_MAX:
        return f"renders a chat of two messages to {len(text)} characters"
    missing = [words for words in said if words not in text]
    return f"renders a chat of two messages without {missing[0]!r}" if missing else None


def template_of(tokenizer_config: Mapping[str, Any]) -> str | None:
    """The template inside a `tokenizer_config.json` or `chat_template.json`: the default of several."""
    found = tokenizer_config.get("chat_template")
    if isinstance(found, list):
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, Mapping)}
        found = named.get("default", next(iter(named.values()), None))
    return found if isinstance(found, str) else None


def _to_json(value: Any, *, ensure_ascii: bool = False, indent: int | None = None, **_rest: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise(message: object) -> None:
    raise TemplateTrouble(str(message))
