from __future__ import annotations

from penstock.simulate.fleet.gateways import gateways_of
from penstock.simulate.fleet.turn import Turn
from penstock.simulate.workload import Session
from simulate.fleet.rig import ask, scenario


def test_a_turn_is_the_request_at_its_place_of_the_session() -> None:
    first, second = ask(prompt=10), ask(prompt=20, gap_s=1.0)
    (gateway,) = gateways_of(scenario(), ["chat-0"])
    turn = Turn(id="7", session=Session(turns=(first, second)), place=1, due_s=3.0, gateway=gateway)

    assert turn.request is second
    assert turn.sent_s < 0 < turn.give_up_s
