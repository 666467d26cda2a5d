"""A template runs in a process of its own: without our secrets, and not for ever."""

from __future__ import annotations

import pytest

from penstock.operate.io.storage import template_run
from penstock.operate.io.storage.template_run import template_trouble

LOOP = "{% for m in messages %}{{ m.content }}{% endfor %}"


def test_a_good_template_has_no_trouble() -> None:
    assert template_trouble(LOOP, {"bos_token": "<s>"}) is None


def test_a_bad_template_is_told() -> None:
    assert "no way" in (template_trouble("{{ raise_exception('no way') }}", {}) or "")


def test_a_template_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_run, "_SECONDS", 3)
    nested = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a + b }}{% endfor %}{% endfor %}"

    trouble = template_trouble(nested, {}) or ""

    assert "does not end within 3 s" in trouble or "ends the process" in trouble


def test_a_template_that_fills_the_memory_is_told() -> None:
    assert template_trouble("{{ 'x' * 9999999999 }}" + LOOP, {})
