"""Several gateways in the simulation: each knows what it sent, and of the others what engines show."""

from __future__ import annotations

from penstock.simulate.fleet.gateways import gateways_of, need_of
from penstock.simulate.fleet.report import draw_up
from penstock.simulate.fleet.scenario import TenantRules
from simulate.fleet.rig import ask, ran, scenario


def test_a_need_has_the_chained_blocks_of_the_prompt_that_are_whole() -> None:
    one, other = (need_of(ask(prompt=1100, prefix_blocks=ids)) for ids in ((1, 2, 3), (9, 2, 3)))
    assert (len(one.blocks), one.block_tokens, one.prompt_tokens) == (2, 512, 1100)
    assert not set(one.blocks) & set(other.blocks)


def test_each_gateway_counts_its_own_requests() -> None:
    one, other = gateways_of(scenario(gateways=2), ["chat-0", "chat-1"])
    ticket = one.submit(ask(), TenantRules(), "who asked", 0.0)
    assert ticket.state == "granted"
    assert sum(e.in_flight for e in one.endpoints) == 1
    assert [e.in_flight for e in other.endpoints] == [0, 0]


def test_requests_are_shared_among_gateways_and_all_are_answered() -> None:
    run = ran([ask(at_s=n * 0.05) for n in range(200)], gateways=4)
    by_gateway = [sum(e.dispatched_total for e in seen) for seen in run.endpoints]
    assert sum(by_gateway) == 200 == run.ledger.count("ok")
    assert min(by_gateway) > 25  # of 50 each, less five standard deviations of a fair draw
    assert [one.requests for one in draw_up(run).replicas] == [
        sum(seen[place].dispatched_total for seen in run.endpoints) for place in range(2)
    ]


def test_conversations_find_their_cache_whichever_gateway_they_come_by() -> None:
    turns = [
        ask(
            at_s=turn * 60.0 + who,
            prompt=1024 + turn * 512,
            prefix_blocks=tuple(who * 100 + n for n in range(turn + 2)),
        )
        for who in range(40)
        for turn in range(3)
    ]
    shares = {
        gateways: draw_up(
            ran(turns, gateways=gateways, replicas=4, settings={"num_gpu_blocks": 20_000})
        ).prefix_hit_share
        for gateways in (1, 4)
    }
    assert shares[1] is not None
    assert shares[4] is not None
    assert shares[1] > 0.5
    assert shares[4] >= 0.9 * shares[1]
