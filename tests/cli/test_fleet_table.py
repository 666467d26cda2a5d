"""The live table."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from penstock.cli.fleet_table import fleet_table


def endpoint(**fields: Any) -> dict[str, Any]:
    plain = {"id": "chat-0", "health": "ready", "phase": "ready", "in_flight": 2, "running": 1, "waiting": 7}
    return {**plain, "kv_usage": 0.125, "tokens_per_s": 1234.0, "restarts": 0, "last_error": "", **fields}


def drawn(*endpoints: dict[str, Any], width: int = 140, **fields: Any) -> str:
    chat = {"name": "chat", "engine": "simulated", "requests_per_s": 1.5, "tokens_per_s": 210.0, "endpoints": endpoints}
    models = [chat | fields]
    outcomes = {"ok": 90, "client_error": 3, "cancelled": 5, "upstream_error": 2}
    gateway = {"outcomes": outcomes, "in_flight": 3, "requests_total": 100}
    console = Console(file=io.StringIO(), width=width)
    console.print(fleet_table({"models": models, "gateway": gateway}, "http://127.0.0.1:8081/"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_replica_is_a_row_with_its_load() -> None:
    row = next(line for line in drawn(endpoint()).splitlines() if "chat-0" in line)
    assert row.split() == ["chat-0", "simulated", "ready", "2", "1", "7", "12%", "1,234", "0"]


def test_what_is_not_measured_is_a_dash() -> None:
    row = drawn(endpoint(running=None, waiting=None, kv_usage=None, tokens_per_s=None))
    assert ["chat-0", "simulated", "ready", "2", "-", "-", "-", "-", "0"] in [line.split() for line in row.splitlines()]


def test_the_gateways_view_of_a_ready_replica_counts() -> None:
    assert " down " in drawn(endpoint(health="down"))
    assert " ready " in drawn(endpoint(health="unproven"))


def test_a_crash_loop_is_called_so_and_its_error_shown() -> None:
    text = drawn(endpoint(phase="backoff", last_error="crash loop, 3 exits in a row: exited with code 1"))
    assert " crash loop " in text
    assert "exited with code 1" in text


def test_the_foot_sums_up_the_traffic() -> None:
    text = drawn(endpoint())
    assert "1.5 requests/s   210 tokens/s   3 in flight   100 served, 5 failed" in text
    assert "http://127.0.0.1:8081/" in text


def test_a_model_without_replicas_is_there_too() -> None:
    assert "no replicas" in drawn()


def test_it_fits_a_narrow_terminal() -> None:
    text = drawn(endpoint(phase="backoff", last_error="a very long error " * 20), width=100)
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "chat-0" in text


def test_what_waits_in_the_gateway_is_told_by_class_and_only_while_it_does() -> None:
    waiting = {"interactive": 1200, "batch": 0, "experimental": 3}
    text = drawn(endpoint(), width=80, waiting=waiting)
    assert "chat: 1,200 interactive, 3 experimental waiting in the gateway" in text
    assert "in the gateway" not in drawn(endpoint(), waiting=dict.fromkeys(waiting, 0))
    assert all(len(line) <= 80 for line in text.splitlines())
