"""Chat templates: those that engines render, render; those that they do not, are told; none reaches out."""

from __future__ import annotations

import pytest

from penstock.operate.storage.chat_template import render_two_messages, template_of

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
LOOP = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"


@pytest.mark.parametrize(
    "template",
    [
        LOOP,
        "{{ bos_token }}{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
        "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
        "{{ strftime_now('%Y') }}{{ messages | tojson(indent=2) }}",
        "{% for m in messages %}{% for p in m.content %}{{ p.text or raise_exception('') }}{% endfor %}{% endfor %}",
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + LOOP,
    ],
)
def test_a_template_as_models_have_them_renders(template: str) -> None:
    assert render_two_messages(template, TOKENS) is None


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m.content }}", "mistake in line 1"),
        ("{{ raise_exception('only tools') }}", "only tools"),
        ("{{ messages[7].content.x }}", "UndefinedError"),
        ("hello", "without 'What is two and two?'"),
        ("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}", "without 'Four.'"),
        ("{{ 'x' * 2000000 }}" + LOOP, "characters"),
    ],
)
def test_a_template_that_would_fail_is_told(template: str, said: str) -> None:
    assert said in (render_two_messages(template, TOKENS) or "")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}" + LOOP,
        "{{ messages.append(1) }}" + LOOP,
        "{{ raise_exception.__globals__['json'] }}" + LOOP,
        "{% include '/etc/passwd' %}" + LOOP,
        "{% for i in range(99999999) %}{% endfor %}" + LOOP,
    ],
)
def test_a_template_reaches_nothing_outside(template: str) -> None:
    assert render_two_messages(template, TOKENS) is not None


def test_the_default_of_several_templates_is_taken() -> None:
    several = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]

    assert template_of({"chat_template": several}) == "d"
    assert template_of({"chat_template": several[:1]}) == "t"
    assert template_of({"chat_template": "x"}) == "x"
    assert template_of({"chat_template": []}) is None
    assert template_of({}) is None
