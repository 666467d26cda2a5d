"""Every metric that a real engine and our gateway have said, with its labels: what queries may ask for.

Engines: the recorded `/metrics` of vLLM 0.32. The gateway: its own page, rendered here after a few requests.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from penstock.serve.io.metrics import MetricsPage
from penstock.serve.record import RequestRecord
from penstock.serve.routing.endpoints import EndpointAddress, EndpointTable
from penstock.serve.telemetry import ModelProfile, Telemetry

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
    return MetricsPage(telemetry, table, now=lambda: 0.0, connections=lambda: 0).render()


def selectors(expr: str) -> list[tuple[str, set[str]]]:
    """Each metric that a query asks for, with the labels that it matches on."""
    return [(name, set(_LABEL.findall(labels))) for name, labels in _SELECTOR.findall(expr)]


def _series(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
