"""What the routes share."""

from __future__ import annotations

import asyncio
import re

import pytest

from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.faults import Fault
from penstock.simulate.io.engine.service import EngineService, random_id
from simulate.io.engine.running import settings


class Clock:
    """Time that stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def service(clock: Clock | None = None, refusals: list[bool] | None = None, **given: object) -> EngineService:
    seen = [] if refusals is None else refusals
    return EngineService(settings=settings(**given), clock=clock or Clock(), on_refuse=seen.append)


def test_ids_are_sixteen_hex_digits_and_never_twice() -> None:
    ids = {random_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in ids)


def test_any_served_name_is_known_and_none_is_fine() -> None:
    one = service(served_names=("tiny", "small"))

    for name in ("tiny", "small", None, ""):
        one.check_model(name)
    with pytest.raises(ApiError, match="Valid aliases: tiny, small"):
        one.check_model("large")
    assert [card["id"] for card in one.model_cards()] == ["tiny", "small"]


def test_one_answer_id_may_be_used_twice_at_once() -> None:
    one = service()

    assert one.engine_id("cmpl-a", 0) != one.engine_id("cmpl-a", 0)


def test_the_fingerprint_changes_with_the_configuration() -> None:
    assert service().fingerprint == service().fingerprint != service(seed=1).fingerprint
    assert re.fullmatch(r"vllm-0\.32\.0-[0-9a-f]{8}", service().fingerprint)


def test_it_is_quiet_when_nothing_is_in_flight() -> None:
    one = service()

    with one.answering(), one.answering():
        assert not one.quiet.is_set()
    assert one.quiet.is_set()
    assert one.in_flight == 0


def test_a_draining_server_refuses_new_work() -> None:
    one = service()
    one.check_open()
    one.is_draining = True

    with pytest.raises(ApiError, match="cannot schedule new futures after shutdown"):
        one.check_open()


def test_a_fault_is_felt_and_heals_in_time() -> None:
    clock, refusals = Clock(), list[bool]()

    async def main() -> None:
        one = service(clock, refusals)
        one.arm(Fault(mode="refuse", for_s=5.0))
        one.heal()
        clock.now = 5.0
        one.heal()

    asyncio.run(main())
    assert refusals == [True, False]


def test_gauges_tell_of_the_cache() -> None:
    gauges = service(num_gpu_blocks=4096, block_size=16).gauges()

    assert (gauges.cache.num_gpu_blocks, gauges.cache.block_size, gauges.model_name) == (4096, 16, "tiny")
