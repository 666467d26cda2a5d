"""Every metric that a real engine and our gateway have said, with its labels: what queries may ask for.

Engines: the recorded `/metrics` of vLLM 0.32. The gateway: its own page, rendered here after a few requests.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random

from prometheus_client.parser import text_string_to_metric_families

from penstock.serve.core import Core
from penstock.serve.flow.limits_state import LimitsState
from penstock.serve.io.ledger import LedgerState
from penstock.serve.io.metrics import MetricsPage
from penstock.serve.io.metrics_flow import Leanings
from penstock.serve.platform import DiscoveryState, StoreState
from penstock.serve.record import RequestRecord
from penstock.serve.routing.endpoints import EndpointAddress, EndpointTable
from penstock.serve.shelf import LocalShelf, ShelfState
from penstock.serve.telemetry import ModelProfile, Telemetry
from serve.gateways import config

__all__ = ["RECORDED", "engine_series", "gateway_page", "gateway_series", "selectors"]

RECORDED = Path(__file__).resolve().parents[4].parent / "shared" / "reference" / "vllm-api"
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^{}]*)\}")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)\s*"')


@cache
def engine_series() -> dict[str, set[str]]:
    """Labels by series name."""
    pages = ("metrics-after-A.txt", "metrics-after-B.txt", "metrics-during-A.txt", "metrics-dp2.txt")
    return _series("".join((RECORDED / page).read_text() for page in pages if (RECORDED / page).exists()))


@cache
def gateway_series() -> dict[str, set[str]]:
    """Labels by series name."""
    return _series(gateway_page().decode())


def gateway_page() -> bytes:
    """What a gateway says that serves `chat`, whose requests end well and badly, and knows `nap`, which sleeps."""
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id="e1", host="127.0.0.1", port=1)])
    telemetry = Telemetry({"chat": ModelProfile(), "nap": ModelProfile()}, "demo", "1", 0.0)
    for outcome, reason in (("ok", ""), ("upstream_error", "no_endpoint")):
        telemetry.begin("chat", 0.0)
        record = RequestRecord(model="chat", tenant="acme", outcome=outcome, reason=reason)  # type: ignore[arg-type]
        record.is_stream, record.ttft_ms, record.total_ms, record.output_tokens = True, 5.0, 9.0, 3
        telemetry.end(record, 0.0)
    ledger = LedgerState(
        where="usage.db",
        journal="ledger",
        is_connected=True,
        error="",
        journal_error="",
        waiting=0,
        silent_s=0.0,
        journal_bytes=0,
        shipped_total=2,
        recovered_total=0,
        dropped_total=0,
        failures_total=0,
    )
    core = Core(config(), random=Random(1), endpoints=table)
    core.shelf = _Shared()
    return MetricsPage(
        telemetry,
        table,
        now=lambda: 100.0,
        connections=lambda: 0,
        discovery=lambda: DiscoveryState(source="kubernetes", heard_at=1.0),
        store=lambda: StoreState(kind="postgresql", where="db.example", read_at=1.0),
        core=core,
        leanings=Leanings(limits=lambda: LimitsState(is_connected=True), ledger=lambda: ledger),
    ).render()


class _Shared(LocalShelf):
    """A shelf before a store."""

    @property
    def state(self) -> ShelfState:
        return ShelfState(kept=0, kept_bytes=0, dropped_total=0, has_store=True)


def selectors(expr: str) -> list[tuple[str, set[str]]]:
    """Each metric that a query asks for, with the labels that it matches on."""
    return [(name, set(_LABEL.findall(labels))) for name, labels in _SELECTOR.findall(expr)]


def _series(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
