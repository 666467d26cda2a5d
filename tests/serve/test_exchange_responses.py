"""A request for a response from first byte to last: what is kept of it, and what the client is told when it breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.serve.core import Core
from penstock.serve.shelf import Found
from penstock.serve.stored import Stored
from penstock.serve.wire.errors import Failure
from serve.exchanges import END, SSE_HEAD, Call, answer, chunk, core, request, sent
from serve.gateways import KEY, OTHER_KEY

CREATED = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "output": []}}


def named(fields: dict[str, Any]) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


def test_a_stream_that_the_engine_ends_in_order_before_its_last_event_ends_with_an_error() -> None:
    call = Call(core(1), request("/v1/responses"), stream=True).send()
    call.engine(SSE_HEAD, chunk(named(CREATED)), END).settled()
    last = call.client.events[-1]
    assert last.startswith(b"event: error\n")
    told = json.loads(last.partition(b"data: ")[2])
    assert (told["type"], told["code"]) == ("error", "stream_incomplete")
    assert call.outcome == ("upstream_error", "stream_incomplete")


COMPLETED: dict[str, Any] = {
    "type": "response.completed",
    "sequence_number": 9,
    "response": {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "chat",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Paris"}]}],
        "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
    },
}
BODY = json.dumps(COMPLETED["response"]).encode()


def asked(path: str, gateway: Core, *, method: str = "GET", key: str = KEY) -> Call:
    return Call(gateway, request(path, method=method, key=key)).send().settled()


def answered(gateway: Core, **fields: Any) -> Call:
    """A plain response, answered by an engine."""
    return Call(gateway, request("/v1/responses"), **fields).send().engine(answer(BODY)).settled()


def streamed(gateway: Core, **fields: Any) -> Call:
    call = Call(gateway, request("/v1/responses"), stream=True, **fields).send()
    return call.engine(SSE_HEAD, chunk(named(CREATED)), chunk(named(COMPLETED)), END).settled()


@pytest.mark.parametrize("answering", [answered, streamed])
def test_a_response_that_ended_is_kept_and_can_be_read(answering: Callable[..., Call]) -> None:
    gateway = core(1)
    call = answering(gateway, input="Which town?")
    assert (call.client.status, call.outcome) == (200, ("ok", ""))
    assert (call.record.prompt_tokens, call.record.output_tokens) == (3, 1)
    got = asked("/v1/responses/resp_1", gateway)
    assert (got.client.status, got.client.json["id"], got.client.json["store"]) == (200, "resp_1", True)
    assert got.record.route == "/v1/responses/{id}"
    items = asked("/v1/responses/resp_1/input_items", gateway).client.json["data"]
    assert [item["content"][0]["text"] for item in items] == ["Which town?"]


def test_a_plain_response_goes_on_as_the_engine_wrote_it() -> None:
    assert answered(core(1)).client.body == BODY


@pytest.mark.parametrize("answering", [answered, streamed])
def test_what_was_said_before_is_written_out_for_the_engine(answering: Callable[..., Call]) -> None:
    gateway = core(1)
    answering(gateway, input="Which town?")
    call = Call(gateway, request("/v1/responses"), input="And how old?", previous_response_id="resp_1").send()
    _, body = sent(call.dispatches[0])
    assert body["input"] == [
        {"role": "user", "content": "Which town?"},
        {"role": "assistant", "content": "Paris"},
        {"role": "user", "content": "And how old?"},
    ]
    assert "previous_response_id" not in body


def test_a_client_that_leaves_with_the_last_event_finds_its_response() -> None:
    gateway = core(1)
    call = Call(gateway, request("/v1/responses"), stream=True).send()
    call.engine(SSE_HEAD, chunk(named(CREATED)), chunk(named(COMPLETED)))
    call.exchange.client_lost(call.tick())
    assert asked("/v1/responses/resp_1", gateway).client.status == 200


@pytest.mark.parametrize("answering", [answered, streamed])
def test_a_response_that_the_client_does_not_want_kept_is_not(answering: Callable[..., Call]) -> None:
    gateway = core(1)
    answering(gateway, store=False)
    assert asked("/v1/responses/resp_1", gateway).client.status == 404


def test_a_stream_that_broke_off_is_not_kept() -> None:
    gateway = core(1)
    Call(gateway, request("/v1/responses"), stream=True).send().engine(SSE_HEAD, chunk(named(CREATED)), END)
    assert asked("/v1/responses/resp_1", gateway).client.status == 404


def test_another_tenants_response_is_one_that_never_was() -> None:
    gateway = core(1)
    answered(gateway)
    for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")]:
        hidden = asked(f"/v1/responses/resp_1{path}", gateway, method=method, key=OTHER_KEY)
        assert hidden.client.status == 404
        never = asked(f"/v1/responses/resp_2{path}", gateway, method=method, key=OTHER_KEY)
        assert hidden.client.body.replace(b"resp_1", b"resp_2") == never.client.body
    theirs = Call(gateway, request("/v1/responses", key=OTHER_KEY), model="embed", previous_response_id="resp_1").send()
    assert (theirs.client.status, theirs.client.json["error"]["code"]) == (404, "previous_response_not_found")
    assert asked("/v1/responses/resp_1", gateway).client.status == 200


def test_a_response_that_was_deleted_is_gone() -> None:
    gateway = core(1)
    answered(gateway)
    deleted = asked("/v1/responses/resp_1", gateway, method="DELETE")
    assert (deleted.client.status, deleted.client.json["deleted"]) == (200, True)
    assert asked("/v1/responses/resp_1", gateway, method="DELETE").client.status == 404


def test_nothing_can_be_cancelled_and_other_methods_are_refused() -> None:
    gateway = core(1)
    answered(gateway)
    cancelled = asked("/v1/responses/resp_1/cancel", gateway, method="POST")
    assert (cancelled.client.status, cancelled.client.json["error"]["code"]) == (400, "not_cancellable")
    refused = asked("/v1/responses/resp_1", gateway, method="POST")
    assert (refused.client.status, refused.client.headers["allow"]) == (405, "GET, HEAD, DELETE")
    assert asked("/v1/responses/resp_1", gateway, key="nobody").client.status == 401


@pytest.mark.parametrize("field", ["background", "conversation"])
def test_state_that_nobody_keeps_is_refused_by_name(field: str) -> None:
    call = Call(core(1), request("/v1/responses"), **{field: True}).send().settled()
    assert (call.client.status, call.client.json["error"]["param"]) == (400, field)


class SlowShelf:
    """A shelf whose store takes its time: a test says what it found, and when."""

    def __init__(self) -> None:
        self.looks: list[tuple[str, str, Any]] = []
        self.put_away: list[Stored] = []

    def put(self, stored: Stored, _now: float) -> None:
        self.put_away.append(stored)

    def find(self, tenant: str, response_id: str, _now: float, then: Any) -> Found | None:
        self.looks.append((tenant, response_id, then))
        return None

    take_away = find


def stored(tenant: str = "acme") -> Stored:
    return Stored(id="resp_1", tenant=tenant, expires=2**40, body=BODY, items=b'[{"role":"user","content":"Town?"}]')


class TestAStoreThatTakesItsTime:
    @pytest.fixture
    def shelf(self) -> SlowShelf:
        return SlowShelf()

    @pytest.fixture
    def gateway(self, shelf: SlowShelf) -> Core:
        made = core(1)
        made.shelf = shelf  # type: ignore[assignment]
        return made

    def test_a_request_waits_for_what_was_said_before(self, gateway: Core, shelf: SlowShelf) -> None:
        call = Call(gateway, request("/v1/responses"), input="More?", previous_response_id="resp_1").send()
        assert call.dispatches == []
        (tenant, response_id, then) = shelf.looks[0]
        assert (tenant, response_id) == ("acme", "resp_1")
        then(Found(stored=stored()), call.tick())
        assert [item["content"] for item in sent(call.dispatches[0])[1]["input"]] == ["Town?", "Paris", "More?"]
        call.engine(answer(BODY)).settled()
        assert shelf.put_away[0].items.count(b"content") == 3

    def test_a_look_up_waits_too(self, gateway: Core, shelf: SlowShelf) -> None:
        call = Call(gateway, request("/v1/responses/resp_1", method="GET")).send()
        assert not call.is_over
        shelf.looks[0][2](Found(stored=stored()), call.tick())
        assert (call.settled().client.status, call.client.body) == (200, BODY)

    def test_a_store_that_is_away_is_said_to_be(self, gateway: Core, shelf: SlowShelf) -> None:
        away = Failure(status=503, code="store_unavailable", message="Away.", retry_after_s=2)
        for head in (request("/v1/responses/resp_1", method="GET"), request("/v1/responses")):
            call = Call(gateway, head, previous_response_id="resp_1").send()
            shelf.looks[-1][2](Found(failure=away), call.tick())
            assert (call.settled().client.status, call.client.headers["retry-after"]) == (503, "2")

    def test_a_client_that_leaves_meanwhile_leaves_nothing(self, gateway: Core, shelf: SlowShelf) -> None:
        for head in (request("/v1/responses/resp_1", method="GET"), request("/v1/responses")):
            call = Call(gateway, head, previous_response_id="resp_1").send()
            call.exchange.client_lost(call.tick())
            shelf.looks[-1][2](Found(stored=stored()), call.tick())
            assert call.settled().dispatches == []
