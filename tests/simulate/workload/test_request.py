from __future__ import annotations

from penstock.simulate.workload.request import Session, TraceRequest, faster, sessions_of


def request(at_s: float, gap_s: float = 0.0) -> TraceRequest:
    return TraceRequest(at_s=at_s, prompt_tokens=10, output_tokens=2, tenant="a", prefix_blocks=(1,), gap_s=gap_s)


def test_a_session_is_due_when_its_first_turn_is() -> None:
    assert Session(turns=(request(3.0), request(9.0))).at_s == 3.0


def test_requests_become_sessions_of_one_turn_in_order() -> None:
    sessions = list(sessions_of([request(1.0), request(2.0)]))

    assert [s.turns for s in sessions] == [(request(1.0),), (request(2.0),)]


def test_faster_shortens_arrivals_and_pauses_alike_and_changes_nothing_else() -> None:
    slow = Session(turns=(request(10.0), request(20.0, gap_s=4.0)))

    (fast,) = faster([slow], 2.0)

    assert fast.turns == (request(5.0), request(10.0, gap_s=2.0))
