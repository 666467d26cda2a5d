"""What all exchanges of a gateway share."""

from __future__ import annotations

import re
from random import Random

from penstock.serve.core import Core
from penstock.serve.wire.heads import clean_request_id
from serve.gateways import TENANTS, config
from serve.hedges import HEDGING


def test_request_ids_are_like_vllms_own_and_follow_from_the_seed() -> None:
    first, second = (Core(config(), random=Random(7)) for _ in range(2))
    ids = [first.new_request_id() for _ in range(100)]
    assert ids == [second.new_request_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch(rb"[0-9a-f]{16}", i) and clean_request_id(i) == i for i in ids)


def test_a_core_begins_idle_with_its_own_endpoints() -> None:
    first, second = (Core(config(), random=Random(7)) for _ in range(2))
    assert first.in_flight == 0
    assert not first.is_draining
    assert first.endpoints is not second.endpoints


def test_hedging_is_off_until_the_file_asks_for_it_and_follows_a_reload() -> None:
    on, off = config(TENANTS + HEDGING), config()
    core = Core(off, random=Random(7))
    assert not core.is_hedging
    core.configure(on)
    assert core.is_hedging
    learned = core.hedging.hedge("chat")
    core.configure(off)
    core.configure(on)
    assert core.hedging.hedge("chat") is learned
    core.configure(config(TENANTS + "    hedging: {enabled: true, shareMax: 0.2}\n"))
    assert core.hedging.hedge("chat").share == 0.2
