"""The commands of keys and tenants are there, and ask for what they need."""

from __future__ import annotations

import pytest

from penstock.cli.main import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["keys", "--help"], "create"),
        (["keys", "create", "--help"], "--expires"),
        (["keys", "rotate", "--help"], "--overlap"),
        (["tenants", "--help"], "list"),
    ],
)
def test_each_says_what_it_takes(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    assert main(words) == 0
    assert told in capsys.readouterr().out


def test_a_key_needs_a_tenant_and_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "fleet.yaml", "--tenant", "acme"]) == 2
    assert "--name" in capsys.readouterr().err
