"""What two attempts at one request hold, and give back."""

from __future__ import annotations

from penstock.serve.core import Core
from penstock.serve.flow import Ticket
from penstock.serve.race import Race
from penstock.serve.routing import Need
from penstock.serve.routing.hedging import Hedge, Usual
from serve.hedges import hedging


def raced(core: Core) -> tuple[Race, Ticket]:
    """A request that is at two endpoints."""
    ticket = Ticket("chat", "acme", Need(prompt_tokens=10, output_tokens=5), arrived_at=1.0)
    core.flow.submit(ticket, 1.0)
    race = Race(Hedge(), Usual(), 1.0)
    second = core.flow.beside(ticket, 2.0)
    assert second is not None
    race.begin(second, 2.0)
    return race, ticket


def in_flight(core: Core) -> dict[str, int]:
    return {e.id: e.in_flight for e in core.endpoints.all()}


def test_a_second_attempt_that_is_dropped_gives_its_place_back_once() -> None:
    core = hedging()
    race, ticket = raced(core)
    here = ticket.endpoint
    assert here is not None
    gone = race.drop(core, 3.0)
    assert gone not in ("", here.id)
    assert race.drop(core, 3.0) == ""
    assert in_flight(core) == {here.id: 1, gone: 0}


def test_a_second_attempt_that_failed_is_told_of_its_endpoint() -> None:
    core = hedging()
    race, _ = raced(core)
    assert race.second is not None
    endpoint = race.second.ticket.endpoint
    assert endpoint is not None
    race.drop(core, 3.0, "connect_failed", "refused the connection")
    assert endpoint.health == "down"
    assert endpoint.last_error == "refused the connection"


def test_a_second_attempt_that_was_not_needed_says_nothing_against_its_endpoint() -> None:
    core = hedging()
    race, _ = raced(core)
    race.drop(core, 3.0)
    assert all(e.health == "ready" and not e.failures_total for e in core.endpoints.all())


def test_the_request_goes_on_in_the_seconds_place_and_the_firsts_is_given_back() -> None:
    core = hedging()
    race, ticket = raced(core)
    assert race.second is not None
    first, there, opening = ticket.endpoint, race.second.ticket.endpoint, race.second.opening
    assert first is not None
    assert there is not None
    race.swap(core, ticket, 3.0)
    assert ticket.endpoint is there
    assert race.opening is opening
    assert race.has_second_won
    assert in_flight(core) == {first.id: 0, there.id: 1}
    assert race.swap(core, ticket, 3.0) is None
    core.flow.ended(ticket, 4.0)
    assert set(in_flight(core).values()) == {0}


def test_one_that_is_not_watched_any_more_is_not_told_of() -> None:
    usual = Usual()
    race = Race(Hedge(), usual, 1.0)
    usual.waiting["owner"] = 1.0
    race.unwatch("owner")
    race.unwatch("owner")
    assert not usual.waiting
