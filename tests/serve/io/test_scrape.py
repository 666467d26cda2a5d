"""The scraper against real sockets: readings reach the table, and only a failed contact counts as a failure."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from penstock.serve.io import scrape
from penstock.serve.io.scrape import Scraper
from penstock.serve.routing.endpoints import Endpoint, EndpointAddress, EndpointTable

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def engine(answer: Answer, *, health: Answer | None = None) -> AsyncIterator[int]:
    """An engine's `/metrics` on a free port, and its `/health`."""
    app = web.Application()
    app.router.add_get("/metrics", answer)
    if health is not None:
        app.router.add_get("/health", health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def table_of(port: int) -> tuple[EndpointTable, Endpoint]:
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=port)])
    return table, table.pools["chat"].endpoints[0]


def unused_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def text(body: str, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, status=status)

    return answer


def read_once(answer: Answer) -> tuple[Endpoint, bool]:
    """Reads an engine that answers so, once."""

    async def main() -> tuple[Endpoint, bool]:
        async with engine(answer) as port:
            table, endpoint = table_of(port)
            has_metrics = await Scraper(table, clock=lambda: 50.0).read(endpoint)
            return endpoint, has_metrics

    return asyncio.run(main())


def test_a_reading_reaches_the_table_and_proves_life() -> None:
    endpoint, has_metrics = read_once(text('vllm:num_requests_running{engine="0"} 4\n'))
    assert endpoint.sample is not None
    assert (endpoint.sample.running, endpoint.sample.at) == (4, 50.0)
    assert (endpoint.health, has_metrics) == ("ready", True)


@pytest.mark.parametrize(("body", "status"), [("no such page", 404), ("not allowed", 401), ("python_info 1\n", 200)])
def test_an_engine_without_metrics_is_alive_all_the_same(body: str, status: int) -> None:
    endpoint, has_metrics = read_once(text(body, status))
    assert (endpoint.health, endpoint.sample, has_metrics) == ("ready", None, False)


def test_a_server_error_changes_nothing() -> None:
    endpoint, _ = read_once(text("boom", 500))
    assert (endpoint.health, endpoint.failures_total) == ("unproven", 0)


def test_a_refused_connection_is_a_failure_with_its_reason() -> None:
    async def main() -> Endpoint:
        table, endpoint = table_of(unused_port())
        await Scraper(table, clock=lambda: 50.0).read(endpoint)
        return endpoint

    endpoint = asyncio.run(main())
    assert (endpoint.health, endpoint.failures_total) == ("down", 1)
    assert endpoint.last_error == "metrics: connection refused"
    assert endpoint.retry_at > 50.0


def test_an_engine_that_hangs_up_is_a_failure() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    endpoint, _ = read_once(hang_up)
    assert (endpoint.health, endpoint.failures_total) == ("down", 1)


def test_an_engine_that_is_too_slow_is_not_called_dead() -> None:
    async def main() -> Endpoint:
        released = asyncio.Event()

        async def slow(_: web.Request) -> web.StreamResponse:
            await released.wait()
            return web.Response()

        async with engine(slow) as port:
            table, endpoint = table_of(port)
            await Scraper(table).read(endpoint, timeout_s=0.05)
            released.set()
            return endpoint

    endpoint = asyncio.run(main())
    assert (endpoint.health, endpoint.failures_total) == ("unproven", 0)


def test_a_body_without_end_is_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "BODY_BYTES_MAX", 1000)
    endpoint, has_metrics = read_once(text("vllm:num_requests_running 4\n" * 1000))
    assert (endpoint.sample, endpoint.health, has_metrics) == (None, "ready", False)


def test_a_reading_of_an_endpoint_that_was_replaced_is_dropped() -> None:
    async def main() -> tuple[Endpoint, Endpoint]:
        table = EndpointTable()

        async def replace(_: web.Request) -> web.StreamResponse:
            table.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=1)])
            return web.Response(text="vllm:num_requests_running 4\n")

        async with engine(replace) as port:
            table.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=port)])
            old = table.pools["chat"].endpoints[0]
            await Scraper(table).read(old)
            return old, table.pools["chat"].endpoints[0]

    old, new = asyncio.run(main())
    assert old.sample is None
    assert (new.sample, new.health) == (None, "unproven")


def test_it_follows_the_pool_and_keeps_one_connection_to_each_engine() -> None:
    async def main() -> None:
        peers: set[str | None] = set()
        readings: asyncio.Queue[str] = asyncio.Queue()

        async def answer(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            peers.add(str(request.transport.get_extra_info("peername")))
            readings.put_nowait(request.host)
            return web.Response(text="vllm:num_requests_running 1\n")

        async with engine(answer) as port:
            table, _ = table_of(port)
            running = asyncio.create_task(Scraper(table, interval_s=0.005).run())
            for _ in range(3):
                await readings.get()
            assert len(peers) == 1
            table.set_pool("chat", [])
            table.set_pool("embed", [EndpointAddress(id="embed-0", host="localhost", port=port)])
            while await readings.get() != f"localhost:{port}":
                pass
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert running.cancelled()

    asyncio.run(main())


def test_a_dead_engine_core_is_heard_of_by_its_health_though_its_metrics_answer() -> None:
    async def main() -> Endpoint:
        async def metrics(_: web.Request) -> web.StreamResponse:
            return web.Response(text="vllm:num_requests_running 1\n")

        async def health(_: web.Request) -> web.StreamResponse:
            return web.Response(status=503)

        async with engine(metrics, health=health) as port:
            table, endpoint = table_of(port)
            scraper = Scraper(table, clock=lambda: 50.0)
            await scraper.ask_health(endpoint)  # without a connection there is nothing to ask on
            assert endpoint.health == "unproven"
            await scraper.read(endpoint)
            assert endpoint.health == "ready"
            await scraper.ask_health(endpoint)
            return endpoint

    endpoint = asyncio.run(main())
    assert (endpoint.health, endpoint.guard.signal) == ("down", "unhealthy")
