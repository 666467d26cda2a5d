"""The shelf of one gateway alone: a response is found by its tenant, until it is too old or taken away."""

from __future__ import annotations

from penstock.serve.kept import KeptResponses
from penstock.serve.shelf import Found, LocalShelf, ShelfState
from penstock.serve.stored import Stored


def response(number: int = 1, tenant: str = "acme", *, expires: int = 1000) -> Stored:
    return Stored(id=f"resp_{number}", tenant=tenant, expires=expires, body=b"{}", items=b"[]")


def never(_found: Found, _now: float) -> None:
    raise AssertionError("nothing here takes a moment")


def test_a_response_is_found_by_its_tenant_and_by_nobody_else() -> None:
    shelf = LocalShelf()
    shelf.put(response(), 0.0)
    assert shelf.find("acme", "resp_1", 1.0, never) == Found(stored=response())
    assert shelf.find("beta", "resp_1", 1.0, never) == Found()
    assert shelf.find("acme", "resp_2", 1.0, never) == Found()


def test_one_that_is_too_old_is_not_found() -> None:
    shelf = LocalShelf()
    shelf.put(response(), 0.0)
    assert shelf.find("acme", "resp_1", 1000.0, never) == Found()
    assert shelf.take_away("acme", "resp_1", 1000.0, never) == Found()


def test_one_that_is_taken_away_is_gone_and_another_tenants_stays() -> None:
    shelf = LocalShelf()
    shelf.put(response(), 0.0)
    assert shelf.take_away("beta", "resp_1", 1.0, never) == Found()
    assert shelf.take_away("acme", "resp_1", 1.0, never) == Found(stored=response())
    assert shelf.take_away("acme", "resp_1", 1.0, never) == Found()


def test_it_is_bounded() -> None:
    shelf = LocalShelf(KeptResponses(bytes_max=40, tenant_bytes_max=8))
    for number in range(20):
        shelf.put(response(number), 0.0)
    assert len(shelf.kept) == 2
    assert shelf.find("acme", "resp_19", 1.0, never) == Found(stored=response(19))


def test_what_it_holds_and_what_it_let_go_is_told() -> None:
    shelf = LocalShelf(KeptResponses(bytes_max=40, tenant_bytes_max=8))
    for number in range(3):
        shelf.put(response(number), 0.0)
    size = response().size
    assert shelf.state == ShelfState(kept=2, kept_bytes=2 * size, dropped_total=1)
    shelf.take_away("acme", "resp_2", 1.0, never)
    assert shelf.state == ShelfState(kept=1, kept_bytes=size, dropped_total=1)
