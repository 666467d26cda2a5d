from __future__ import annotations

from dataclasses import replace

from penstock.simulate.engine import VirtualEngine
from penstock.simulate.fleet.gauges import Gauges, columns
from simulate.fleet.rig import engine

IDLE = VirtualEngine(engine()).stats()


def test_a_tick_adds_replicas_up_and_keeps_the_fullest_cache() -> None:
    gauges = Gauges(3)
    gauges.read(0, replace(IDLE, running=3, waiting=1, kv_usage=0.2))
    gauges.read(2, replace(IDLE, running=4, waiting=0, kv_usage=0.5))
    gauges.close(7)
    gauges.close()

    assert (list(gauges.running), list(gauges.waiting), list(gauges.kv)) == ([7, 0], [1, 0], [0.5, 0.0])
    assert list(gauges.queued) == [7, 0]
    assert [(one.running_max, one.busy_ticks, one.waiting_max) for one in gauges.replicas] == [
        (3, 1, 1),
        (0, 0, 0),
        (4, 1, 0),
    ]


def test_columns_draw_ticks_together() -> None:
    assert columns([1, 5, 2, 2, 9], 2.0, 4, max) == (5, 2, 9, 0)
