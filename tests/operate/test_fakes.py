"""The fake machine keeps its word: it is what the supervisor's tests and the fleet simulation stand on."""

from __future__ import annotations

from penstock.operate.engines import EnginePlan
from penstock.operate.events import DesiredChanged, ModelTarget, ReplicaProven, StartReplica
from penstock.operate.fakes import Behaviour, FakeMachine
from penstock.operate.supervisor import Supervisor

PLAN = EnginePlan(kind="simulated", reason="", notes=(), argv=("engine",), env=())
CHAT = DesiredChanged(models=(ModelTarget(name="chat", replicas=1, plan=PLAN),))


def test_a_process_becomes_ready_and_dies_when_its_behaviour_says() -> None:
    machine = FakeMachine(Supervisor(), lambda _: Behaviour(ready_s=1.0, dies_s=3.0))
    machine.post(CHAT)
    machine.run_until(2.0)
    assert [a.id for a in machine.pools["chat"]] == ["chat-0"]
    machine.run_until(3.0)
    assert machine.processes == {}
    assert machine.pools["chat"] == ()


def test_a_dead_process_says_nothing_more() -> None:
    machine = FakeMachine(Supervisor(), lambda start: Behaviour(ready_s=5.0 if start.attempt == 1 else None))
    machine.post(CHAT)
    machine.crash("chat-0")
    machine.run_until(60.0)
    assert machine.pools["chat"] == ()


def test_the_same_calls_give_the_same_history() -> None:
    def run() -> list[tuple[float, object]]:
        machine = FakeMachine(Supervisor(), lambda _: Behaviour(dies_s=2.5))
        machine.post(CHAT)
        machine.run_until(100.0)
        return [(now, action) for now, action in machine.history if isinstance(action, StartReplica)]

    assert run() == run()
    assert len(run()) > 3


def test_time_never_runs_backwards() -> None:
    machine = FakeMachine(Supervisor())
    seen: list[float] = []
    machine.after_each = lambda: seen.append(machine.now)
    machine.post(CHAT)
    machine.run_until(10.0)
    machine.run_until(5.0)
    machine.post(ReplicaProven(id="nobody-0", attempt=1, host="127.0.0.1", port=1))
    assert seen == sorted(seen)
    assert machine.now == 10.0
