"""What a request is taken to be. How it goes on is in `test_admission`, how a client sees it in `test_exchange_*`."""

from __future__ import annotations

import json

import pytest

from penstock.serve.admission.admission import Admission
from penstock.serve.core import Core
from penstock.serve.record import RequestRecord
from penstock.serve.stored import Stored
from penstock.serve.wire.errors import Failure
from serve.exchanges import core, request


def taken(gateway: Core, path: str, *, method: str = "GET") -> Admission:
    admission = Admission(gateway, gateway.config, request(path, method=method), RequestRecord(), 0.0)
    assert admission.check_head() is None
    return admission


def never(_came: object, _now: float) -> None:
    raise AssertionError("nothing here takes a moment")


@pytest.mark.parametrize(
    ("path", "method", "dialect"),
    [
        ("/v1/messages", "POST", "anthropic"),
        ("/v1/responses", "POST", "responses"),
        ("/v1/responses/resp_1", "GET", "openai"),
    ],
)
def test_errors_are_told_as_the_path_wants(path: str, method: str, dialect: str) -> None:
    assert taken(core(), path, method=method).dialect == dialect


def test_a_path_of_an_engine_asks_for_nothing_that_was_kept() -> None:
    assert taken(core(), "/v1/responses", method="POST").asks_for_kept is None
    assert taken(core(), "/v1/models").asks_for_kept is None


def test_a_look_up_finds_the_tenants_own_and_a_delete_takes_it_away() -> None:
    gateway = core()
    gateway.shelf.put(Stored(id="resp_1", tenant="acme", expires=2**40, body=b"{}", items=b"[]"), 0.0)
    for method, told in (("GET", b"{}"), ("DELETE", b""), ("GET", None)):
        admission = taken(gateway, "/v1/responses/resp_1", method=method)
        wanted = admission.asks_for_kept
        assert wanted is not None
        said = admission.look_up(wanted, 0.0, never)
        if told is None:
            assert isinstance(said, Failure)
            assert said.code == "response_not_found"
        elif told:
            assert said == told
        else:
            assert isinstance(said, bytes)
            assert json.loads(said)["deleted"] is True
