"""The live table of `penstock up`: the state record drawn for a terminal. Pure: a state in, what Rich draws out."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["fleet_table"]

_STYLES = {"ready": "green", "starting": "yellow", "draining": "cyan", "stopping": "cyan", "external": "green"}
"""Colour of a state; what is not here is trouble, and red."""
_QUEUES_MAX = 5
_TROUBLES_MAX = 5
"""Errors shown at once: the table must fit the screen."""


def fleet_table(state: dict[str, Any], dashboard: str) -> RenderableType:
    """Every replica in a row, and what the gateway does in a line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("replica", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("in flight", "running", "waiting", "KV", "tokens/s", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in state["models"]:
        for endpoint in model["endpoints"]:
            table.add_row(*_row(model, endpoint))
        if not model["endpoints"]:
            table.add_row(Text(model["name"]), Text(model["engine"]), Text("no replicas", style="dim"))
    return Group(table, *_queues(state), *_troubles(state), _footer(state, dashboard))


def _queues(state: dict[str, Any]) -> list[Text]:
    """A line for each model for which requests wait in the gateway, by class; cut to the terminal's width."""
    lines: list[Text] = []
    for model in state["models"]:
        waiting = [f"{count:,} {name}" for name, count in (model.get("waiting") or {}).items() if count]
        if waiting:
            line = f"{model['name']}: {', '.join(waiting)} waiting in the gateway"
            lines.append(Text(line, style="yellow", no_wrap=True, overflow="ellipsis"))
    return lines[:_QUEUES_MAX]


def _troubles(state: dict[str, Any]) -> list[Text]:
    """A line for each replica that is not well, cut to the terminal's width."""
    unwell = [e for m in state["models"] for e in m["endpoints"] if e["last_error"] and _state_word(e) != "ready"]
    lines = (f"{e['id']}: {e['last_error']}" for e in unwell[:_TROUBLES_MAX])
    return [Text(line, style="red", no_wrap=True, overflow="ellipsis") for line in lines]


def _row(model: dict[str, Any], endpoint: dict[str, Any]) -> list[Text]:
    word = _state_word(endpoint)
    counts = [endpoint["in_flight"], endpoint["running"], endpoint["waiting"]]
    return [
        Text(endpoint["id"]),
        Text(model["engine"], style="dim"),
        Text(word, style=_STYLES.get(word, "red")),
        *(Text(_number(value)) for value in counts),
        Text("-" if endpoint["kv_usage"] is None else f"{endpoint['kv_usage']:.0%}"),
        Text(_number(endpoint["tokens_per_s"])),
        Text(_number(endpoint["restarts"]), style="red" if endpoint["restarts"] else "dim"),
    ]


def _state_word(endpoint: dict[str, Any]) -> str:
    """One word for what the platform and the gateway know of a replica."""
    phase: str = endpoint["phase"]
    if phase in ("ready", "external"):
        return "ready" if endpoint["health"] in ("ready", "unproven") else str(endpoint["health"])
    return "crash loop" if endpoint["last_error"].startswith("crash loop") else phase


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _footer(state: dict[str, Any], dashboard: str) -> Text:
    gateway, models = state["gateway"], state["models"]
    failed = sum(count for outcome, count in gateway["outcomes"].items() if outcome not in ("ok", "cancelled"))
    parts = [
        f"{sum(m['requests_per_s'] for m in models):,.1f} requests/s",
        f"{sum(m['tokens_per_s'] for m in models):,.0f} tokens/s",
        f"{gateway['in_flight']:,} in flight",
        f"{gateway['requests_total']:,} served, {failed:,} failed",
    ]
    return Text(f"{'   '.join(parts)}\n{dashboard}   Ctrl-C drains and stops", style="dim")
