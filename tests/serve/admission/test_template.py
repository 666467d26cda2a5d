"""Conversations become the text that vLLM would tokenize, or none where that can't be told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.serve.admission.template import ChatTemplate, template_of

PLAIN = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
PARTS = (
    "{% for m in messages %}<{{ m.role }}>"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endif %}"
    "{% endfor %}"
)
CONFIG = {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False}}


def template(text: str, config: dict[str, Any] | None = None) -> ChatTemplate:
    found = ChatTemplate.compiled(text, CONFIG if config is None else config, lambda: datetime(2026, 2, 3, tzinfo=UTC))
    assert found is not None
    return found


def rendered(text: str, *messages: dict[str, Any], **fields: Any) -> str | None:
    return template(text).render("chat", {"messages": list(messages), **fields})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_chat_is_rendered_with_the_tokenizers_own_tokens() -> None:
    assert rendered(PLAIN, {"role": "system", "content": "S"}, user("U")) == "<s><system>S</><user>U</><assistant>"


def test_the_beginning_of_the_answer_is_left_out_on_request() -> None:
    assert rendered(PLAIN, user("U"), add_generation_prompt=False) == "<s><user>U</>"


def test_parts_are_joined_for_a_template_that_takes_text_and_kept_for_one_that_takes_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert rendered(PLAIN, user(parts), add_generation_prompt=False) == "<s><user>a\nb</>"
    assert rendered(PARTS, user(parts)) == "<user>[a][b]"
    assert rendered(PARTS, user("a")) == "<user>[a]", "as vLLM wraps text for such a template"
    assert rendered(PARTS, {"role": "tool", "content": parts, "tool_call_id": "1"}) == "<tool>a\nb"


def test_arguments_of_calls_are_objects_to_the_template() -> None:
    calls = "{% for c in m.tool_calls or [] %}{{ c.function.arguments.x }}{% endfor %}"
    text = "{% for m in messages %}" + calls + "{{ m.content }}{% endfor %}"
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 7}'}}
    broken = {"id": "2", "type": "function", "function": {"name": "f", "arguments": "{"}}
    messages = ({"role": "assistant", "content": None, "tool_calls": [call, broken]}, user("u"))
    assert rendered(text, *messages) == "7u"


def test_tools_are_shown_as_vllm_dumps_them() -> None:
    tool = {"type": "function", "function": {"parameters": {"a": 1}, "name": "f"}, "frobnicate": 1}
    text = "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}"
    shown = '{"type": "function", "function": {"name": "f", "description": null, "parameters": {"a": 1}}}'
    assert rendered(text, user("u"), tools=[tool]) == shown + "u"


def test_a_developer_is_the_system_where_the_template_knows_none_and_comes_first() -> None:
    messages = (user("U"), {"role": "developer", "content": "D"}, {"role": "system", "content": "S"})
    assert rendered(PLAIN, *messages, add_generation_prompt=False) == "<s><system>D\n\nS</><user>U</>"
    knows = PLAIN.replace("{{ m.role }}", "{{ 'dev' if m.role == 'developer' else m.role }}")
    assert rendered(knows, *messages[:2], add_generation_prompt=False) == "<s><user>U</><dev>D</>"


def test_words_of_the_request_reach_the_template() -> None:
    text = "{{ enable_thinking }}{{ flavour }}{% for m in messages %}{{ m.content }}{% endfor %}"
    assert rendered(text, user("u"), reasoning_effort="none", chat_template_kwargs={"flavour": "mint"}) == "Falsemintu"


def test_the_sandbox_offers_what_transformers_offers() -> None:
    text = (
        "{{ strftime_now('%Y-%m-%d') }}{{ {'a': 'é<'} | tojson }}{{ {'b': 1} | tojson(indent=1) }}"
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    )
    assert rendered(text, user("u"), user("v")) == '2026-02-03{"a": "é<"}{\n "b": 1\n}u'


def test_anthropic_and_responses_bodies_of_text_alone_are_conversations_too() -> None:
    one = template(PLAIN)
    anthropic = {"system": [{"type": "text", "text": "S"}], "messages": [user([{"type": "text", "text": "U"}])]}
    assert one.render("messages", anthropic) == "<s><system>S</><user>U</><assistant>"
    assert one.render("responses", {"instructions": "S", "input": "U"}) == "<s><system>S</><user>U</><assistant>"
    assert one.render("responses", {"input": [user([{"type": "input_text", "text": "U"}])]}) == (
        "<s><user>U</><assistant>"
    )


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        ("chat", {"messages": [user([{"type": "image_url", "image_url": {"url": "x"}}])]}),
        ("chat", {"messages": [user("u")], "chat_template": "{{ messages }}"}),
        ("chat", {"messages": [user("u")], "documents": [{"text": "d"}]}),
        ("chat", {"messages": [user("u")], "continue_final_message": True}),
        ("chat", {"messages": []}),
        ("chat", {"messages": ["odd"]}),
        ("chat", {}),
        ("messages", {"messages": [user("u")], "tools": [{"name": "t"}]}),
        ("responses", {"input": "u", "previous_response_id": "r"}),
        ("responses", {"input": [{"type": "function_call_output", "output": "x"}]}),
        ("rerank", {"query": "q", "documents": ["d"]}),
    ],
)
def test_what_the_text_does_not_tell_is_not_rendered(schema: str, fields: dict[str, Any]) -> None:
    assert template(PLAIN).render(schema, fields) is None


@pytest.mark.parametrize(
    "text",
    [
        "{% for %}",
        "{{ raise_exception('never') }}",
        "nothing of the message",
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0].content }}",
        "{{ messages.append(1) }}{{ messages[0].content }}",
        "x" * ((1 << 20) + 1),
    ],
)
def test_a_template_that_is_broken_or_reaches_out_is_not_used(text: str) -> None:
    assert ChatTemplate.compiled(text, {}) is None


def test_the_template_of_a_configuration_is_its_default() -> None:
    several = [{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]
    assert template_of({"chat_template": "T"}) == "T"
    assert template_of({"chat_template": several}) == "D"
    assert template_of({"chat_template": several[:1]}) == ""
    assert template_of({}) == ""
