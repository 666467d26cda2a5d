"""`penstock smoke`: what it prints and how it exits."""

from __future__ import annotations

import json

import pytest

from fakes.engine import FakeEngine, Fault, serving
from penstock.cli.main import main


def test_a_sound_api_passes_with_a_line_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine(models=["chat"], embedding_models=["minilm"])) as engine:
        assert main(["smoke", engine.origin]) == 0

    out = capsys.readouterr().out
    assert "✓ models" in out
    assert "✓ chat stream" in out
    assert "– minilm chat" in out
    assert "all 4 checks passed" in out


def test_a_failure_exits_1_with_what_failed_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine(fault=Fault.NO_DONE)) as engine:
        assert main(["smoke", engine.origin]) == 1

    out = capsys.readouterr().out
    assert "✗ chat stream" in out
    assert "without [DONE]" in out
    assert "→ " in out
    assert "1 failed, 2 passed" in out


def test_json_holds_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine(fault=Fault.STATUS_500)) as engine:
        assert main(["smoke", f"{engine.origin}/v1", "--output", "json"]) == 1

    answer = json.loads(capsys.readouterr().out)
    assert answer["is_ok"] is False
    assert [(c["name"], c["verdict"]) for c in answer["checks"]] == [
        ("models", "ok"),
        ("chat", "failed"),
        ("embedding", "absent"),
    ]


def test_the_key_comes_from_the_option_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(FakeEngine(key="secret")) as engine:
        monkeypatch.delenv("PENSTOCK_KEY", raising=False)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        assert main(["smoke", engine.origin]) == 1
        assert main(["smoke", engine.origin, "--key", "secret"]) == 0
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        assert main(["smoke", engine.origin]) == 0
        monkeypatch.setenv("PENSTOCK_KEY", "wrong")
        assert main(["smoke", engine.origin]) == 1

    assert "secret" not in "".join(capsys.readouterr())


def test_only_the_named_model_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine(models=["a", "b"])) as engine:
        assert main(["smoke", engine.origin, "--model", "b"]) == 0

    assert "a chat" not in capsys.readouterr().out


def test_what_is_no_address_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "ftp://x"]) == 2

    assert "not the address of an API" in capsys.readouterr().err
