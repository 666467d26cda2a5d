"""`penstock usage --help`: what can be asked."""

from __future__ import annotations

import pytest

from penstock.cli.main import main


def test_the_help_names_what_use_is_told_by(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in ("--by", "--since", "--until", "--tenant", "csv", "tenant, key, model, day, class, outcome"):
        assert word in text
