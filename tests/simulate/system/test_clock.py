"""Virtual time: order, and what is cancelled."""

from __future__ import annotations

from penstock.simulate.system.clock import Clock


def test_things_happen_when_they_are_due_and_in_the_order_of_planning() -> None:
    clock, seen = Clock(10.0), []
    clock.after(2.0, lambda: seen.append("c"))
    clock.after(1.0, lambda: seen.append("a"))
    clock.after(1.0, lambda: seen.append("b"))
    clock.run_until(11.5)
    assert (seen, clock.now) == (["a", "b"], 11.5)
    assert clock.step()
    assert (seen, clock.now, clock.events) == (["a", "b", "c"], 12.0, 3)
    assert not clock.step()


def test_what_is_cancelled_does_not_happen() -> None:
    clock, seen = Clock(), []
    clock.after(1.0, lambda: seen.append("a")).cancel()
    clock.run_until(clock.now + 5)
    assert (seen, clock.events) == ([], 0)


def test_the_past_is_now() -> None:
    clock, seen = Clock(10.0), []
    clock.at(3.0, lambda: seen.append(clock.now))
    clock.run_until(10.0)
    assert seen == [10.0]
