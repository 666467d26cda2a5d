"""Real gateways in virtual worlds: a broken one is found, and the clock of the edge is given back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from penstock.serve.admission.admission import Admission
from penstock.serve.answer import Answer
from penstock.serve.delivered import Replay
from penstock.serve.exchange import Exchange
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.flow.line import Line
from penstock.serve.flow.window import Window
from penstock.serve.io import client, gateway, second
from penstock.serve.io.upstream import Upstreams
from penstock.serve.race import Race
from penstock.serve.routing import hedging
from penstock.serve.routing.endpoints import EndpointTable
from penstock.serve.routing.hedging import Hedge
from penstock.simulate.io.system import simulate_seed
from penstock.simulate.system import world
from penstock.simulate.system.draw import Fault, draw

SEEDS = range(60)


def nothing(*args: Any, **more: Any) -> None:
    """Does not do what it should."""


def never_late(self: Exchange, now: float) -> str:
    return ""


def all_of_it(self: Replay, key: object, piece: Any) -> Any:
    return piece


def room_for_all(self: Line, ticket: object, now: float) -> list[Any]:
    return []


def always_kept(self: Upstreams, connection: Any, *, is_kept: bool, now: float) -> None:
    REAL_RELEASE(self, connection, is_kept=True, now=now)


def usage_stays(self: Answer, *args: Any, **more: Any) -> None:
    REAL_ANSWER(self, *args, **{**more, "strips_usage": False})


def no_endpoint(self: Race, *args: Any) -> str:
    return ""


def always_late(self: Hedge, kind: Any) -> Any:
    self.balance = 5.0
    usual = REAL_USUAL(self, kind)
    if usual is not None:
        usual.late_s = 0.02
    return usual


REAL_USUAL = Hedge.usual
REAL_RELEASE = Upstreams.release
REAL_ANSWER = Answer.__init__


@pytest.mark.parametrize(
    ("owner", "name", "broken", "words"),
    [
        (Admission, "_leave_queue", nothing, "waits|requests there|over its bounds"),
        (EndpointTable, "left", staticmethod(nothing), "in_flight is"),
        (LocalLimiter, "settle", nothing, "running by the limits"),
        (Line, "_make_room", room_for_all, "over its bounds"),
        (Window, "give", nothing, "still holds"),
        (Replay, "text", all_of_it, "a text that no engine said"),
        (Answer, "__init__", usage_stays, "was told"),
        (Exchange, "is_late", never_late, "not over 60 s after"),
        (Upstreams, "release", always_kept, "busy|still runs something"),
        (Race, "drop", no_endpoint, "in_flight is"),
        (Race, "unwatch", nothing, "watched when all is over"),
        (Hedge, "usual", always_late, "were sent twice"),
        (gateway.Gateway, "_pump", nothing, "not over 60 s after"),
    ],
)
def test_a_gateway_that_is_broken_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, broken: Callable[..., Any], words: str
) -> None:
    monkeypatch.setattr(owner, name, broken)
    found = next((v.failure for seed in SEEDS if (v := simulate_seed(seed)).failure), "")
    assert any(word in found for word in words.split("|")), found


@pytest.mark.parametrize(("what", "is_resumed"), [("half_open_one", True), ("preempt", False)])
def test_a_stream_that_lost_its_connection_goes_on_elsewhere_and_one_that_was_preempted_waits(
    monkeypatch: pytest.MonkeyPatch, what: str, is_resumed: bool
) -> None:
    """Both are silent for longer than the usual deadline and shorter than all others."""

    def few(seed: int) -> world.Scenario:
        faults = [Fault(at=at, lasts_s=2.8, what=what, target=0, amount=0.5) for at in (1.0, 4.0, 7.0)]
        return replace(draw(seed), pace_s=0.03, faults=tuple(faults))

    monkeypatch.setattr(world, "draw", few)
    verdicts = [simulate_seed(seed) for seed in range(40)]
    assert [v.failure for v in verdicts if v.failure] == []
    resumes = sum(v.resumes for v in verdicts)
    assert resumes > 5 if is_resumed else resumes == 0
    ends: Counter[str] = sum((v.outcomes for v in verdicts), Counter())
    assert not [end for end in ends if "interrupted" in end or "diverged" in end], ends


def test_the_edge_gets_its_clock_back() -> None:
    simulate_seed(1)
    assert client.monotonic is gateway.monotonic is second.monotonic is monotonic
    assert hedging.SAMPLES_MIN == 50
