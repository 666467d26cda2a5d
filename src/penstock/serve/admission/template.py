"""A model's chat template: a conversation to the text that the engine tokenizes, as vLLM 0.32 prepares and renders it.

Pure. The sandbox is transformers' (`utils/chat_template_utils.py`): an immutable environment with `trim_blocks` and
`lstrip_blocks`, loop controls, the `generation` block, `tojson`, `raise_exception`, `strftime_now`. Before it, what
vLLM's renderer (`vllm/renderers/`) does to messages is done here. `render` gives None where the text alone does not
tell what the engine will see: images, other renderers' fields, conversations kept elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

__all__ = ["TEMPLATE_CHARS_MAX", "ChatTemplate", "template_of"]

TEMPLATE_CHARS_MAX = 1 << 20
"""The longest published ones have some tens of thousands."""
Json = dict[str, Any]
Now = Callable[[], datetime]
_SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_UNTOLD = ("chat_template", "documents", "media_io_kwargs", "mm_processor_kwargs", "kv_transfer_params")
"""Fields with which the prompt is made otherwise."""


class TemplateTrouble(Exception):
    """The template asked for its own failure: `raise_exception`."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}`: marks what the assistant says; renders its body."""

    tags = {"generation"}  # noqa: RUF012 — Jinja's own way of declaring it

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node | list[jinja2.nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


class ChatTemplate:
    """One compiled template. Used from several threads; keeps nothing of what it renders."""

    def __init__(self, compiled: jinja2.Template, specials: Mapping[str, str], *, text: str, takes_parts: bool) -> None:
        self._compiled = compiled
        self._specials = dict(specials)
        self._has_developer = '"developer"' in text or "'developer'" in text
        self._takes_parts = takes_parts

    @classmethod
    def compiled(cls, text: str, tokenizer_config: Mapping[str, Any], now: Now = datetime.now) -> Self | None:
        """The template of a model, or None where it has a mistake or cannot render the simplest chat."""
        if len(text) > TEMPLATE_CHARS_MAX:
            return None
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: now().strftime(form)
        specials = {name: token for name in _SPECIALS if (token := _special(tokenizer_config.get(name)))}
        try:
            compiled = environment.from_string(text)
            one = cls(compiled, specials, text=text, takes_parts=False)
            if _PROBE not in one._rendered([{"role": "user", "content": _PROBE}], {}):
                return None
        except Exception:  # a template is anybody's program
            return None
        one._takes_parts = one._renders_parts()
        return one

    def _renders_parts(self) -> bool:
        """Whether content is a list of parts, always: vLLM makes it one for templates that go through it, and joins
        the parts' texts by line breaks for the others. (It reads that from the template's text, where this tries.)"""
        parts = [{"type": "text", "text": _PROBE}]
        try:
            rendered = self._rendered([{"role": "user", "content": parts}], {})
        except Exception:  # a template is anybody's program
            return False
        return _PROBE in rendered and "'text'" not in rendered and '"text"' not in rendered

    def render(self, schema: str, fields: Mapping[str, Any]) -> str | None:
        """The text of a body's conversation; None where it can't be told. Raises whatever the template raises."""
        if any(fields.get(name) is not None for name in _UNTOLD):
            return None
        match schema:
            case "chat" | "tokenize":
                messages = fields.get("messages")
            case "messages":
                messages = _of_anthropic(fields)
            case "responses":
                messages = _of_responses(fields)
            case _:
                return None
        prepared = self._prepared(messages) if type(messages) is list else None
        if not prepared or fields.get("continue_final_message"):
            return None
        return self._rendered(prepared, self._words(schema, fields))

    def _words(self, schema: str, fields: Mapping[str, Any]) -> Json:
        """What the template gets beside the messages."""
        extra = fields.get("chat_template_kwargs")
        words: Json = dict(extra) if type(extra) is dict else {}
        effort = fields.get("reasoning_effort")
        if effort is not None:
            words.setdefault("enable_thinking", effort != "none")
            words["reasoning_effort"] = effort
        tools = fields.get("tools")
        if tools and type(tools) is list:
            words["tools"] = [_tool(tool, schema) for tool in tools]
        generates = fields.get("add_generation_prompt")
        words["add_generation_prompt"] = True if generates is None else generates
        return words

    def _rendered(self, messages: list[Json], words: Json) -> str:
        given = {"add_generation_prompt": True, "tools": None, "documents": None, **self._specials, **words}
        return self._compiled.render(given | {"messages": messages})

    def _prepared(self, messages: list[Any]) -> list[Json] | None:
        """Messages as vLLM hands them to templates; None where one has what is not text."""
        prepared: list[Json] = []
        for message in messages:
            one = self._one(message) if type(message) is dict else None
            if one is None:
                return None
            prepared.append(one)
        if not self._has_developer and any(m["role"] == "developer" for m in prepared):
            return _with_one_system(prepared)
        return prepared

    def _one(self, message: Json) -> Json | None:
        role, content = message.get("role"), message.get("content")
        parts = content if type(content) is list else [] if content is None else [content]
        texts = [text for part in parts if (text := _text_of(part)) is not None]
        if len(texts) != len(parts):
            return None
        if self._takes_parts and role != "tool":
            one: Json = {"role": role, "content": [{"type": "text", "text": text} for text in texts]}
        else:
            one = {"role": role, "content": "\n".join(texts)}
        if role == "assistant":
            reasoning = message.get("reasoning")
            if reasoning is not None:
                one["reasoning"] = one["reasoning_content"] = reasoning
            calls = message.get("tool_calls")
            if calls:
                one["tool_calls"] = [_call(call) for call in calls]
        elif role == "tool" and "tool_call_id" in message:
            one["tool_call_id"] = message["tool_call_id"]
        if type(message.get("name")) is str:
            one["name"] = message["name"]
        return one


_PROBE = "penstock-probe"


def template_of(config: Mapping[str, Any]) -> str:
    """The template inside a `tokenizer_config.json` or `chat_template.json`: the default of several; "" for none."""
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, Mapping)}
        found = named.get("default")
    return found if isinstance(found, str) else ""


def _special(value: object) -> str:
    """A special token as a tokenizer's configuration writes it: text, or an object that has it."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _text_of(part: Any) -> str | None:
    """The text of a part of content; None where it is something else."""
    if type(part) is str:
        return part
    if type(part) is not dict or part.get("type", "text") not in ("text", "input_text", "output_text", "refusal"):
        return None
    text = part.get("refusal" if part.get("type") == "refusal" else "text")
    return text if type(text) is str else None


def _call(call: Json) -> Json:
    """A call of a tool, its arguments as an object: vLLM parses them, and takes what does not parse for none."""
    function = dict(call["function"])
    arguments = function.get("arguments")
    if type(arguments) is str:
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = {}
    function["arguments"] = arguments if type(arguments) is dict else {}
    return call | {"function": function}


def _tool(tool: Json, schema: str) -> Json:
    """A tool as vLLM dumps it: the fields that it knows, in its order."""
    if schema == "messages":
        names = (("name", "name"), ("description", "description"), ("parameters", "input_schema"))
        function = {ours: tool.get(theirs) for ours, theirs in names}
        return {"type": "function", "function": function}
    given = tool if schema == "responses" else tool["function"]
    function = {name: given.get(name) for name in ("name", "description", "parameters")}
    function |= {name: given[name] for name in ("strict", "defer_loading") if given.get(name) is not None}
    return {"type": "function", "function": function}


def _with_one_system(messages: list[Json]) -> list[Json]:
    """For templates that know no developer: he is the system, and all of its words come first, in one message."""
    as_system = [m | {"role": "system"} if m["role"] == "developer" else m for m in messages]
    places = [place for place, m in enumerate(as_system) if m["role"] == "system"]
    if places == [0]:
        return as_system
    words = [_joined(as_system[place]["content"]) for place in places]
    rest = [m for m in as_system if m["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join(w for w in words if w)}, *rest]


def _joined(content: Any) -> str:
    return content if type(content) is str else "\n".join(part["text"] for part in content)


def _of_anthropic(fields: Mapping[str, Any]) -> list[Any] | None:
    """Messages of Anthropic's API, where they are text alone: tools and their results are the engine's to translate."""
    messages = fields.get("messages")
    if type(messages) is not list or fields.get("tools") or fields.get("thinking"):
        return None
    system = fields.get("system")
    if type(system) is list:
        if not all(type(block) is dict and type(block.get("text")) is str for block in system):
            return None
        system = "".join(block["text"] for block in system)
    return ([{"role": "system", "content": system}] if system else []) + messages


def _of_responses(fields: Mapping[str, Any]) -> list[Any] | None:
    """Messages of the Responses API, where they are all in the request, and text alone."""
    if fields.get("previous_response_id") is not None or fields.get("tools") or fields.get("reasoning") is not None:
        return None
    given, instructions = fields.get("input"), fields.get("instructions")
    messages: list[Any] = [{"role": "system", "content": instructions}] if type(instructions) is str else []
    if type(given) is str:
        return [*messages, {"role": "user", "content": given}]
    if type(given) is not list or not all(type(i) is dict and i.get("type", "message") == "message" for i in given):
        return None
    return messages + given


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: object) -> None:
    raise TemplateTrouble(str(message))
