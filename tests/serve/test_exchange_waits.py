"""When every endpoint of a model is down at once: requests wait for one to come back, and no longer than they may."""

from __future__ import annotations

from penstock.serve.admission.admission import WAITS_MAX
from penstock.serve.core import Core
from penstock.serve.routing import EndpointAddress
from penstock.serve.routing.signals import Signal
from serve.exchanges import DONE, END, SSE_HEAD, TOKEN, Call, answer, chunk, core
from serve.gateways import MODELS, TENANTS, config


def back(gateway: Core, call: Call) -> None:
    """Its first endpoint answers its metrics again."""
    gateway.endpoints.heard(gateway.endpoints.all()[0], "lives", call.now)


def lose_all(call: Call, count: int, signal: Signal = "connect_failed") -> Call:
    for _ in range(count):
        call.take(call.exchange.upstream_lost("refused the connection", call.tick(), signal=signal))
    return call


def test_a_request_whose_endpoints_all_refuse_waits_for_one() -> None:
    gateway = core(2)
    call = lose_all(Call(gateway).send(), 2)
    assert not call.is_over
    call.pump()
    assert len(call.dispatches) == 2
    back(gateway, call)
    call.pump().engine(answer()).settled()
    assert (call.client.status, call.tried[-1]) == (200, "chat-0")


def test_a_stream_under_way_waits_for_one() -> None:
    gateway = core(2)
    call = Call(gateway, stream=True, temperature=0).send().engine(SSE_HEAD, chunk(TOKEN))
    lose_all(call, 1, "reset")
    lose_all(call, 1)
    for endpoint in gateway.endpoints.all():
        gateway.endpoints.heard(endpoint, "connect_failed", call.now)
    back(gateway, call)
    call.pump().engine(SSE_HEAD, chunk(TOKEN), chunk(DONE) + END).settled()
    assert call.client.events == [TOKEN, DONE]
    assert call.record.outcome == "ok"


def test_a_stream_that_goes_on_between_its_losses_may_wait_each_time() -> None:
    gateway = core(2)
    call = Call(gateway, stream=True, temperature=0).send().engine(SSE_HEAD, chunk(TOKEN))
    said = 1
    for _ in range(WAITS_MAX + 3):
        lose_all(call, 1, "reset")
        while not call.is_over and call.exchange.endpoint is not None:
            lose_all(call, 1)
        assert not call.is_over
        back(gateway, call)
        said += 1
        call.pump().engine(SSE_HEAD, *[chunk(TOKEN)] * said)
    call.engine(chunk(DONE) + END).settled()
    assert call.client.events == [*[TOKEN] * said, DONE]


def test_tries_that_never_reach_an_engine_may_be_many() -> None:
    gateway = core(2)
    call = lose_all(Call(gateway).send(), 2)
    for _ in range(6):
        back(gateway, call)
        lose_all(call.pump(), 1)
        assert not call.is_over
    back(gateway, call)
    for _ in range(40):  # its signs of life are no longer believed, so it is tried when its back-off is over
        call.pump(0.5)
    call.engine(answer()).settled()
    assert call.client.status == 200


def test_a_request_that_breaks_every_engine_it_reaches_does_not_go_on() -> None:
    gateway = core(2)
    call = Call(gateway).send()
    for _ in range(20):
        if not call.is_over:
            lose_all(call, 1, "reset")
            call.pump(60.0 if not call.exchange.endpoint else 0.0)
    assert call.client.status == 502
    assert len(call.dispatches) <= 6


def test_all_waits_together_are_no_longer_than_one() -> None:
    gateway = core(2)
    call = lose_all(Call(gateway).send(), 2)
    began, wait_s = call.now, gateway.config.wait_s["interactive"]
    while not call.is_over:
        assert call.now < began + wait_s + 10
        call.pump(1.0)
        if call.exchange.endpoint is not None:
            lose_all(call, 1)
    assert call.client.status in (502, 503)


def falls_back(to: str) -> Core:
    """A gateway whose model `chat` falls back to that, in a cluster, where more endpoints may come."""
    models = MODELS.replace("    - name: embed", f"      fallbacks: [{to}]\n    - name: embed")
    models += '    - {name: spare, endpoints: ["http://127.0.0.1:1"]}\n'
    providers = "    providers: [{name: far, url: 'http://127.0.0.1:9/v1'}]\n"
    gateway = core(2, settings=config(providers + TENANTS, models))
    for name in ("spare", "far/big"):
        gateway.endpoints.set_pool(name, [EndpointAddress(id=name, host="127.0.0.1", port=9, is_external="/" in name)])
    gateway.brings_endpoints = True
    return gateway


def all_out(gateway: Core, model: str) -> None:
    for endpoint in gateway.endpoints.pools[model].endpoints:
        gateway.endpoints.heard(endpoint, "connect_failed", 100.0, words="refused the connection")


def test_a_model_whose_endpoints_are_all_out_is_not_waited_for_where_another_answers() -> None:
    gateway = falls_back("{model: spare}")
    all_out(gateway, "chat")
    call = Call(gateway).send()
    assert (call.tried, call.record.fallbacks) == (["spare"], 1)
    call.engine(answer()).settled()
    assert call.client.headers["x-penstock-model"] == "spare"


def test_one_of_its_endpoints_that_may_be_tried_again_is_tried_before_another_model() -> None:
    gateway = falls_back("{model: spare}")
    all_out(gateway, "chat")
    call = Call(gateway)
    call.tick(60)
    assert call.send().tried[0].startswith("chat-")


def test_a_model_that_has_no_endpoint_yet_is_waited_for_though_another_would_answer() -> None:
    """It starts, or was asleep: the request is what wakes it."""
    gateway = falls_back("{model: spare}")
    gateway.endpoints.set_pool("chat", [])
    call = Call(gateway).send()
    assert (call.tried, call.is_over) == ([], False)
    assert "chat" in gateway.flow.wakes


def test_a_provider_that_is_out_is_not_waited_for_as_nobody_brings_another() -> None:
    gateway = falls_back("{provider: far, providerModel: big}")
    all_out(gateway, "chat")
    all_out(gateway, "far/big")
    call = Call(gateway).send().settled()
    assert (call.client.status, call.tried) == (502, [])
    message = call.client.json["error"]["message"]
    assert message == "No endpoint of 'far/big' could answer: far/big refused the connection."


def test_a_provider_that_refuses_is_not_waited_for_either() -> None:
    gateway = falls_back("{provider: far, providerModel: big}")
    all_out(gateway, "chat")
    call = lose_all(Call(gateway).send(), 1).settled()
    assert (call.client.status, call.tried) == (502, ["far/big"])
