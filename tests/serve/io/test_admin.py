"""The admin port over real sockets: every path answers, mistakes are told in JSON, starting and stopping are clean."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from penstock.errors import StartError
from penstock.serve.io.admin import AdminServer, TelemetrySource, admin_app
from penstock.serve.platform import DiscoveryState, ModelProfile
from penstock.serve.record import RequestRecord
from penstock.serve.routing.endpoints import EndpointAddress, EndpointTable
from penstock.serve.telemetry import Telemetry


class Gateway:
    """Stands for the gateway: what a `TelemetrySource` reads."""

    def __init__(self) -> None:
        self.telemetry = Telemetry({"chat": ModelProfile(), "embed": ModelProfile()}, "demo", "1.0", 0.0)
        self.table = EndpointTable()
        self.is_accepting = True
        self.discovery: DiscoveryState | None = None
        self.source = TelemetrySource(
            self.telemetry,
            self.table,
            listen=lambda: "127.0.0.1:8080",
            connections=lambda: 5,
            is_accepting=lambda: self.is_accepting,
            discovery=lambda: self.discovery,
        )

    def add_endpoint(self) -> None:
        self.table.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=9)])

    def finish(self, record: RequestRecord) -> None:
        self.telemetry.begin(record.model, 0.0)
        self.telemetry.end(record, 0.0)


@asynccontextmanager
async def served(gateway: Gateway) -> AsyncIterator[aiohttp.ClientSession]:
    server = AdminServer(admin_app(gateway.source), "127.0.0.1", 0)
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as session:
            yield session
    finally:
        await server.stop()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with session.get(path) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


def test_every_path_of_the_index_answers() -> None:
    async def main() -> None:
        gateway = Gateway()
        gateway.add_endpoint()
        async with served(gateway) as session:
            _, index = await get(session, "/api/v1")
            for path in index["paths"]:
                async with session.get(path) as response:
                    assert response.status == 200, path
            assert "/api/v1/state" in index["paths"]

    run(main())


def test_state_models_endpoints_and_requests_are_views_of_one_record() -> None:
    async def main() -> None:
        gateway = Gateway()
        gateway.add_endpoint()
        gateway.finish(RequestRecord(model="chat", request_id="a"))
        gateway.finish(RequestRecord(model="chat", request_id="b", outcome="timeout"))
        async with served(gateway) as session:
            _, state = await get(session, "/api/v1/state")
            _, models = await get(session, "/api/v1/models")
            _, endpoints = await get(session, "/api/v1/endpoints")
            _, recent = await get(session, "/api/v1/requests?limit=1")
            _, failed = await get(session, "/api/v1/requests?failed_only=true")
        assert state["gateway"]["requests_total"] == 2
        assert (state["gateway"]["listen"], state["gateway"]["connections"]) == ("127.0.0.1:8080", 5)
        assert [m["name"] for m in models["models"]] == ["chat", "embed"]
        assert [(e["model"], e["id"]) for e in endpoints["endpoints"]] == [("chat", "chat-0")]
        assert [r["request_id"] for r in recent["requests"]] == ["b"]
        assert [r["outcome"] for r in failed["requests"]] == ["timeout"]

    run(main())


def test_ready_means_the_gateway_accepts_and_some_model_has_an_endpoint() -> None:
    async def main() -> None:
        gateway = Gateway()
        async with served(gateway) as session:
            status, body = await get(session, "/readyz")
            assert (status, body["is_ready"]) == (503, False)
            assert body["reason"] == "no model has an endpoint that answers"
            gateway.add_endpoint()
            status, body = await get(session, "/readyz")
            assert (status, body["is_ready"], body["reason"]) == (200, True, "")

            gateway.table.remove_pool("chat")
            gateway.telemetry.set_models({"chat": ModelProfile(fallbacks=("far/big",))}, ["far/big"])
            assert (await get(session, "/readyz"))[0] == 503
            gateway.table.set_pool("far/big", [EndpointAddress(id="far/big", host="h", port=1, is_external=True)])
            assert (await get(session, "/readyz"))[0] == 200
            assert [m["name"] for m in body["models"]] == ["chat", "embed"]
            gateway.is_accepting = False
            status, body = await get(session, "/readyz")
            assert (status, "draining" in body["reason"]) == (503, True)
            assert (await get(session, "/healthz"))[0] == 200

    run(main())


def test_in_a_cluster_ready_means_that_it_has_told_which_endpoints_there_are() -> None:
    async def main() -> None:
        gateway = Gateway()
        gateway.discovery = DiscoveryState(source="kubernetes", error="it answered 403")
        async with served(gateway) as session:
            status, body = await get(session, "/readyz")
            told = "kubernetes has not told yet which endpoints there are: it answered 403"
            assert (status, body["reason"]) == (503, told)
            gateway.discovery = DiscoveryState(source="kubernetes", is_synced=True, error="it is away")
            status, body = await get(session, "/readyz")
            assert (status, body["reason"]) == (200, "")  # also without endpoints: it answers and waits for them
            _, state = await get(session, "/api/v1/state")
            assert state["gateway"]["discovery"]["error"] == "it is away"

    run(main())


def test_metrics_are_prometheus_text() -> None:
    async def main() -> None:
        async with served(Gateway()) as session, session.get("/metrics") as response:
            assert response.headers["content-type"].startswith("text/plain")
            assert "penstock_build_info{" in await response.text()

    run(main())


@pytest.mark.parametrize(
    "query",
    ["timeseries?window_s=0", "timeseries?window_s=901", "timeseries?window_s=nan", "timeseries?window_s=x",
     "requests?limit=0", "requests?limit=501", "requests?limit=", "requests?failed_only=maybe"],
)  # fmt: skip
def test_a_wrong_query_is_told_by_the_name_of_its_field(query: str) -> None:
    async def main() -> None:
        async with served(Gateway()) as session:
            status, body = await get(session, f"/api/v1/{query}")
            assert status == 400
            assert f"`{query.partition('?')[2].partition('=')[0]}`" in body["error"]["message"]

    run(main())


def test_an_unknown_path_is_a_404_that_says_where_to_look() -> None:
    async def main() -> None:
        async with served(Gateway()) as session:
            status, body = await get(session, "/api/v1/nothing")
            assert status == 404
            assert "/api/v1" in body["error"]["message"]

    run(main())


def test_another_site_s_name_is_refused() -> None:
    async def main() -> None:
        async with served(Gateway()) as session:
            async with session.get("/api/v1/state", headers={"host": "evil.example"}) as response:
                assert response.status == 421
            async with session.post("/api/v1/state") as response:
                assert response.status == 405

    run(main())


def test_a_port_in_use_is_told_with_a_way_out() -> None:
    async def main() -> None:
        first = AdminServer(admin_app(Gateway().source), "127.0.0.1", 0)
        await first.start()
        try:
            second = AdminServer(admin_app(Gateway().source), "127.0.0.1", first.port)
            with pytest.raises(StartError, match=f"127.0.0.1:{first.port} is in use") as caught:
                await second.start()
            assert "--admin" in (caught.value.hint or "")
        finally:
            await first.stop()

    run(main())


def test_an_address_that_is_not_ours_is_told() -> None:
    async def main() -> None:
        with pytest.raises(StartError, match=r"192\.0\.2\.1:1"):
            await AdminServer(admin_app(Gateway().source), "192.0.2.1", 1).start()

    run(main())


def test_the_port_is_free_again_after_stop_and_stop_may_come_twice() -> None:
    async def main() -> None:
        first = AdminServer(admin_app(Gateway().source), "127.0.0.1", 0)
        await first.start()
        await first.stop()
        await first.stop()
        second = AdminServer(admin_app(Gateway().source), "127.0.0.1", first.port)
        await second.start()
        await second.stop()

    run(main())


def test_signals_stay_the_process_s_own() -> None:
    async def main() -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        server = AdminServer(admin_app(Gateway().source), "localhost", 0)
        await server.start()
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        await server.stop()

    run(main())
