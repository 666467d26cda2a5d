"""How the benchmark starts each gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.peers import KEY, PEERS, CannotRunError, Peer, Place
from penstock.spec.loader import load_fleet


def place(folder: Path) -> Place:
    return Place(port=18_000, spare_port=18_001, upstream_ports=[19_001, 19_002], folder=folder)


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.command], ids=lambda peer: peer.name)
def test_every_gateway_gets_its_port_and_both_upstreams(peer: Peer, tmp_path: Path) -> None:
    assert peer.command is not None
    told = " ".join(peer.command(place(tmp_path))) + "".join(file.read_text() for file in tmp_path.iterdir())
    assert "18000" in told
    assert "127.0.0.1:19001" in told
    assert "127.0.0.1:19002" in told


def test_our_fleet_file_is_valid_and_has_keys_and_access_log_on(tmp_path: Path) -> None:
    penstock = next(peer for peer in PEERS if peer.name == "penstock")
    assert penstock.command is not None
    penstock.command(place(tmp_path))
    gateway = load_fleet((tmp_path / "fleet.yaml").read_text(), "fleet.yaml").spec.gateway
    assert gateway.tenants[0].keys[0].value is not None
    assert gateway.tenants[0].keys[0].value.get_secret_value() == KEY
    assert gateway.access_log.startswith(str(tmp_path))
    assert penstock.headers == (f"authorization: Bearer {KEY}",)


def test_a_gateway_that_is_not_installed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    nginx = next(peer for peer in PEERS if peer.name == "nginx")
    with pytest.raises(CannotRunError, match="nginx is not installed"):
        nginx.prepare(lambda _: None)
