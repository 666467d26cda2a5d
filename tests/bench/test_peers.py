"""How the benchmark starts each gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.measure import Running, load_command
from bench.peers import KEY, PEERS, CannotRunError, Peer, Place
from bench.workloads import WORKLOADS
from penstock.spec import GatewaySpec
from penstock.spec.loader import load_fleet


def place(folder: Path) -> Place:
    return Place(port=18_000, spare_port=18_001, upstream_ports=[19_001, 19_002], folder=folder)


def named(name: str) -> Peer:
    return next(peer for peer in PEERS if peer.name == name)


def gateway_of(name: str, folder: Path) -> tuple[Peer, GatewaySpec]:
    peer = named(name)
    assert peer.command is not None
    peer.command(place(folder))
    file = folder / name / "fleet.yaml"
    return peer, load_fleet(file.read_text(), "fleet.yaml").spec.gateway


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.command], ids=lambda peer: peer.name)
def test_every_gateway_gets_its_port_and_both_upstreams(peer: Peer, tmp_path: Path) -> None:
    assert peer.command is not None
    told = " ".join(peer.command(place(tmp_path))) + "".join(
        file.read_text() for file in tmp_path.rglob("*") if file.is_file()
    )
    assert "18000" in told
    assert "127.0.0.1:19001" in told
    assert "127.0.0.1:19002" in told


def test_our_fleet_file_is_valid_and_has_keys_and_access_log_on(tmp_path: Path) -> None:
    penstock, gateway = gateway_of("penstock", tmp_path)
    assert gateway.tenants[0].keys[0].value is not None
    assert gateway.tenants[0].keys[0].value.get_secret_value() == KEY
    assert gateway.access_log.startswith(str(tmp_path))
    assert penstock.headers == (f"authorization: Bearer {KEY}",)
    assert (gateway.tenants[0].limits.requests_per_minute, gateway.tenants[0].keys[0].limits.tokens_per_minute) == (
        None,
        None,
    )


def test_limits_of_tenant_and_key_are_counted_and_refuse_nothing(tmp_path: Path) -> None:
    _, gateway = gateway_of("penstock-limits", tmp_path)
    for limits in (gateway.tenants[0].limits, gateway.tenants[0].keys[0].limits):
        assert limits.requests_per_minute is not None
        assert limits.tokens_per_minute is not None
        assert limits.requests_per_minute > 100 * 60 * 15_000  # a hundred times what a core relays
        assert limits.tokens_per_minute > limits.requests_per_minute * 500  # of a body of 1.5 KB


def test_rows_of_ours_share_neither_ledger_nor_access_log(tmp_path: Path) -> None:
    logs = {gateway_of(name, tmp_path)[1].access_log for name in ("penstock", "penstock-limits")}
    assert len({Path(log).parent for log in logs}) == 2


def test_a_gateway_that_can_not_take_thousands_of_streams_is_spared_them() -> None:
    spared = {load.name for load in WORKLOADS if not named("litellm").takes(load.name)}
    assert "plain" not in spared
    assert {load.name for load in WORKLOADS if load.connections >= 500} <= spared
    assert all(named("penstock-limits").takes(load.name) for load in WORKLOADS)


def test_a_slow_gateway_gets_longer_windows(tmp_path: Path) -> None:
    for peer, seconds in ((named("penstock"), "3.0"), (named("litellm"), "6.0")):
        running = Running(peer=peer, port=18_000, pid=None)
        command = load_command(WORKLOADS[0], running, tmp_path / "body.json")
        assert command[command.index("--seconds") + 1] == seconds


def test_a_gateway_that_is_not_installed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRunError, match="nginx is not installed"):
        named("nginx").prepare(lambda _: None)
