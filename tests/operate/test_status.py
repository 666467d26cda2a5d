"""The supervisor's knowledge in the words of the state record."""

from __future__ import annotations

from penstock.operate.engines import EnginePlan
from penstock.operate.events import DesiredChanged, ModelTarget
from penstock.operate.fakes import Behaviour, FakeMachine
from penstock.operate.status import platform_models
from penstock.operate.supervisor import Supervisor
from penstock.serve.routing import EndpointAddress

PLAN = EnginePlan(kind="simulated", reason="vllm is not installed", notes=(), argv=("engine",), env=())


def test_a_replica_that_starts_is_there_before_it_has_an_address() -> None:
    machine = FakeMachine(Supervisor())
    machine.post(DesiredChanged(models=(ModelTarget(name="chat", replicas=2, plan=PLAN),)))
    chat = platform_models(machine.supervisor)["chat"]
    assert (chat.engine, chat.engine_reason, chat.replicas_desired) == ("simulated", "vllm is not installed", 2)
    assert {name: e.phase for name, e in chat.endpoints.items()} == {"chat-0": "starting", "chat-1": "starting"}


def test_a_crash_loop_is_called_so_with_its_restarts_and_error() -> None:
    machine = FakeMachine(Supervisor(), lambda _: Behaviour(ready_s=None, dies_s=0.5))
    machine.post(DesiredChanged(models=(ModelTarget(name="chat", replicas=1, plan=PLAN),)))
    machine.run_until(6.0)
    endpoint = platform_models(machine.supervisor)["chat"].endpoints["chat-0"]
    assert (endpoint.phase, endpoint.restarts) == ("backoff", 2)
    assert endpoint.last_error.startswith("crash loop, 3 exits in a row: exited with code 1")


def test_an_engine_elsewhere_is_external() -> None:
    machine = FakeMachine(Supervisor())
    far = EndpointAddress(id="chat-0", host="10.0.0.1", port=9001)
    machine.post(DesiredChanged(models=(ModelTarget(name="chat", addresses=(far,)),)))
    chat = platform_models(machine.supervisor)["chat"]
    assert (chat.engine, chat.replicas_desired) == ("external", 1)
    assert chat.endpoints["chat-0"].phase == "external"


def test_a_removed_model_is_shown_until_its_replicas_are_gone() -> None:
    machine = FakeMachine(Supervisor())
    machine.post(DesiredChanged(models=(ModelTarget(name="chat", replicas=1, plan=PLAN),)))
    machine.run_until(5.0)
    machine.post(DesiredChanged(models=()))
    removed = platform_models(machine.supervisor)["chat"]
    assert (removed.replicas_desired, removed.endpoints["chat-0"].phase) == (0, "draining")
    machine.run_until(10.0)
    assert platform_models(machine.supervisor) == {}
