"""Gateways are read over connections that are kept; one that does not answer well is told as that."""

from __future__ import annotations

from operate.io.kubernetes.clusters import run
from operate.io.scaling.fake_gateways import FLEET, FakeGateway, gateways
from penstock.operate.io.scaling.reader import Reader
from penstock.operate.scaling import GatewayAddress, Reading
from penstock.serve.io.metrics import MetricsPage
from penstock.serve.platform import ModelProfile
from penstock.serve.record import RequestRecord
from penstock.serve.routing.endpoints import EndpointTable
from penstock.serve.telemetry import Telemetry


def address(gateway: FakeGateway) -> GatewayAddress:
    return GatewayAddress(id=gateway.name, host="127.0.0.1", port=gateway.port, is_serving=True)


def test_gateways_are_read_side_by_side_each_over_one_connection() -> None:
    async def work() -> None:
        async with gateways({"a": {"chat": 3}, "b": {"chat": 4}}) as made, Reader() as reader:
            for _ in range(3):
                found = await reader.read([address(gateway) for gateway in made.values()], FLEET)

            loads = {name: word.in_flight for name, word in found.items() if isinstance(word, Reading)}
            assert loads == {"a": {"chat": 3.0}, "b": {"chat": 4.0}}
            assert [(each.reads, len(each.connections)) for each in made.values()] == [(3, 1), (3, 1)]

    run(work)


def test_a_real_gateways_page_is_read() -> None:
    telemetry = Telemetry({"chat": ModelProfile()}, FLEET, "1.2.3", 0.0)
    for outcome in ("shed", "limited"):
        telemetry.begin("chat", 0.0)
        telemetry.end(RequestRecord(model="chat", outcome=outcome, reason="x"), 0.0)
    telemetry.begin("chat", 0.0)
    page = MetricsPage(telemetry, EndpointTable(), now=lambda: 0.0, connections=lambda: 0).render()

    async def work() -> None:
        async with gateways({"a": {}}) as made, Reader() as reader:
            made["a"].body = page
            found = await reader.read([address(made["a"])], FLEET)

            assert found == {"a": Reading(in_flight={"chat": 1.0}, asked={"chat": 1.0})}

    run(work)


def test_one_that_does_not_answer_well_hinders_no_other() -> None:
    async def work() -> None:
        names = ("good", "dead", "broken", "stranger", "elsewhere")
        async with gateways({name: {"chat": 3} for name in names}) as made, Reader() as reader:
            made["broken"].status = 500
            made["stranger"].body = b"hello\n"
            made["elsewhere"].status = 302
            await made["dead"].die()
            found = await reader.read([address(gateway) for gateway in made.values()], FLEET)

            assert [name for name, word in found.items() if isinstance(word, Reading)] == ["good"]
            assert found["broken"] == "answered 500"
            assert found["elsewhere"] == "answered 302"
            assert "no answer" in str(found["dead"])
            assert "no whole page" in str(found["stranger"])

    run(work)
