"""`penstock controller`: what it says of a wrong start."""

from __future__ import annotations

import pytest

from penstock.cli.main import main


@pytest.mark.parametrize("option", ["--listen", "--scaler"])
def test_a_wrong_address_is_told(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["controller", option, "nowhere"]) == 2
    assert f"{option} nowhere" in capsys.readouterr().err


def test_no_cluster_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("none") / "absent"))

    assert main(["controller", "--listen", "127.0.0.1:0"]) == 2
    assert "no cluster: " in capsys.readouterr().err
