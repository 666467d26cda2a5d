"""The process of a gateway: turns, standing still, and the end."""

from __future__ import annotations

from penstock.simulate.system.clock import Clock
from penstock.simulate.system.host import Host


def test_what_is_put_off_happens_in_the_same_turn() -> None:
    seen: list[str] = []
    host = Host(Clock(), lambda: seen.append("turned"))

    def act() -> None:
        host.soon.append(lambda: seen.append("b"))
        seen.append("a")

    host.enter(act)
    assert seen == ["a", "b", "turned"]


def test_what_comes_while_it_stands_still_waits_in_order_and_timers_are_late() -> None:
    clock, seen = Clock(0.0), []
    host = Host(clock, lambda: None)
    host.every(1.0, lambda: seen.append(clock.now))
    clock.run_until(0.5)
    host.freeze(3.0)
    host.enter(lambda: seen.append("a"))
    host.enter(lambda: seen.append("b"))
    clock.run_until(3.4)
    assert seen == []
    clock.run_until(5.0)
    assert seen == ["a", "b", 3.5, 4.5]


def test_nothing_happens_in_a_process_that_was_killed() -> None:
    clock, seen = Clock(0.0), []
    host = Host(clock, lambda: None)
    host.every(1.0, lambda: seen.append("timer"))
    host.kill()
    host.enter(lambda: seen.append("socket"))
    clock.run_until(5.0)
    assert seen == []
