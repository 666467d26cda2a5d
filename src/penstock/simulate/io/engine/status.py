"""Routes that tell of the engine: health, version, models, load, metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from penstock.simulate.engine.api.encoding import dump
from penstock.simulate.engine.api.exposition import render
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.service import VERSION, EngineService

__all__ = ["health", "kv_event_sources", "load", "metrics", "models", "version"]


def _process_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    GCCollector(registry)
    PlatformCollector(registry)
    ProcessCollector(registry=registry)
    return registry


_PROCESS = _process_registry()


async def health(_service: EngineService, exchange: HttpExchange) -> None:
    """An empty 200: the API server is alive, whatever the engine does."""
    await exchange.answer(b"", content_type=None)


async def version(_service: EngineService, exchange: HttpExchange) -> None:
    """The version of vLLM that is simulated."""
    await exchange.answer(dump({"version": VERSION}))


async def load(_service: EngineService, exchange: HttpExchange) -> None:
    """Always 0: vLLM counts only with `--enable-server-load-tracking`."""
    await exchange.answer(dump({"server_load": 0}))


async def kv_event_sources(_service: EngineService, exchange: HttpExchange) -> None:
    """None: KV events are not simulated."""
    await exchange.answer(dump({}))


async def models(service: EngineService, exchange: HttpExchange) -> None:
    """The names that requests may use."""
    await exchange.answer(dump({"object": "list", "data": service.model_cards()}))


async def metrics(service: EngineService, exchange: HttpExchange) -> None:
    """The exposition: the process first, then the engine, then HTTP."""
    text = render(service.gauges(), service.driver.metrics, service.http)
    body = generate_latest(_PROCESS) + text.encode()
    await exchange.answer(body, content_type=CONTENT_TYPE_LATEST.encode())
