"""A world without gateways worth the name: what is lost in it is found, and told with its story."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from penstock.serve.config import GatewayConfig
from penstock.serve.core import Core
from penstock.simulate.system.person import Line, Person
from penstock.simulate.system.world import World, run_seed


class Silent:
    """Accepts everybody and answers nobody."""

    def __init__(self, world: World, config: GatewayConfig, place: int) -> None:
        self.core = Core(config, random=Random(1))
        self.is_listening = True
        self.is_dead = False
        self.world = world

    def connect(self, person: Person) -> Line:
        return Line(self.world.clock, lambda act: act(), person)

    def freeze(self, seconds: float) -> None: ...

    def kill(self) -> None: ...

    def drain(self, seconds: float) -> None: ...

    def take(self, config: GatewayConfig) -> None: ...

    def change_pool(self, model: str, ports: Sequence[int], draining: Sequence[int] = ()) -> None: ...


def test_requests_that_nobody_answers_are_found_and_named() -> None:
    verdict = run_seed(2, Silent)
    assert verdict.failure.startswith("Foul: not over 60 s after the last fault: ['w")
    assert any("everything heals" in line for line in verdict.story)
    assert 60 < verdict.seconds < 90


def test_whatever_is_raised_is_the_seeds_failure() -> None:
    def broken(world: World, config: GatewayConfig, place: int) -> Silent:
        made = Silent(world, config, place)
        made.connect = lambda person: 1 // 0  # type: ignore[assignment]
        return made

    assert run_seed(2, broken).failure.startswith("ZeroDivisionError")
