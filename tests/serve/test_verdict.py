"""What is wrong is said, with its name and weight; what is merely starting or idle is not called broken."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.verdict import problems, with_leanings

GATEWAY = {"is_ready": True, "loop_lag_ms": 1.0}


def endpoint(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"chat-{number}",
        "health": "ready",
        "phase": "ready",
        "restarts": 0,
        "last_error": "",
        "kv_usage": 0.2,
        **fields,
    }


def model(*endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    quiet = {"p50": None, "p95": None, "p99": None}
    return {
        "name": "chat",
        "replicas_desired": len(endpoints),
        "replicas_ready": sum(e["health"] == "ready" for e in endpoints),
        "endpoints": list(endpoints),
        "last_minute": {"requests": 100, "errors": 0},
        "ttft_ms": quiet,
        "tpot_ms": quiet,
        "total_ms": quiet,
        "objectives": {"ttft_ms": None, "itl_ms": None, "e2e_ms": None},
        "fallbacks": [],
        **fields,
    }


def found(*models: dict[str, Any], **gateway: Any) -> list[tuple[str, str, str]]:
    return [(p["severity"], p["subject"], p["message"]) for p in problems({**GATEWAY, **gateway}, list(models))]


def test_a_fleet_that_is_well_has_no_problems() -> None:
    assert found(model(endpoint(0), endpoint(1))) == []


def test_a_model_scaled_to_zero_is_no_problem() -> None:
    assert found(model(replicas_desired=0)) == []


def test_a_replica_that_is_down_is_broken_and_says_why() -> None:
    down = endpoint(1, health="down", last_error="connection refused")
    assert found(model(endpoint(0), down)) == [("broken", "chat-1", "down: connection refused")]


def test_a_model_without_any_answering_replica_is_broken_as_a_whole() -> None:
    down = endpoint(health="down")
    assert found(model(down)) == [
        ("broken", "chat", "no replica answers, so its requests get 503"),
        ("broken", "chat-0", "down"),
    ]


@pytest.mark.parametrize(
    ("able", "words"),
    [
        (("spare", "far/big"), "so its requests go to its fallback spare"),
        (("far/big",), "so its requests go to its fallback far/big"),
        ((), "nor does its fallback (spare, far/big), so its requests fail"),
    ],
)
def test_what_becomes_of_its_requests_is_told_of_its_fallbacks(able: tuple[str, ...], words: str) -> None:
    fallbacks = [{"model": name, "is_able": name in able} for name in ("spare", "far/big")]
    assert found(model(endpoint(health="down"), fallbacks=fallbacks))[0] == (
        "broken",
        "chat",
        f"no replica answers, {words}",
    )


def test_a_model_that_only_starts_is_a_notice() -> None:
    assert found(model(endpoint(health="unproven", phase="starting"))) == [
        ("notice", "chat", "starting: no replica has answered yet")
    ]


def test_a_crash_loop_stays_broken_while_it_starts_once_more() -> None:
    for phase, restarts in (("backoff", 1), ("recycling", 1), ("starting", 3)):
        looping = endpoint(1, health="unproven", phase=phase, restarts=restarts, last_error="exit code 1")
        assert found(model(endpoint(0), looping)) == [
            ("broken", "chat-1", f"does not stay up after {restarts} restarts: exit code 1")
        ]


def test_failed_requests_weigh_by_their_share() -> None:
    assert found(model(endpoint(), last_minute={"requests": 1000, "errors": 9})) == []
    words = "2% of requests failed in the last minute (20 of 1000)"
    assert found(model(endpoint(), last_minute={"requests": 1000, "errors": 20})) == [("warning", "chat", words)]
    words = "50% of requests failed in the last minute (2 of 4)"
    assert found(model(endpoint(), last_minute={"requests": 4, "errors": 2})) == [("broken", "chat", words)]


def test_a_missed_objective_is_a_warning_with_both_figures() -> None:
    slow = model(endpoint(), ttft_ms={"p95": 1234.0}, objectives={"ttft_ms": 500.0, "itl_ms": None, "e2e_ms": None})
    assert found(slow) == [("warning", "chat", "TTFT p95 is 1.2 s, the objective is 500 ms")]
    met = model(endpoint(), ttft_ms={"p95": 500.0}, objectives={"ttft_ms": 500.0, "itl_ms": None, "e2e_ms": None})
    assert found(met) == []


def test_a_full_kv_cache_is_a_warning() -> None:
    assert [severity for severity, _, _ in found(model(endpoint(kv_usage=0.97)))] == ["warning"]
    assert found(model(endpoint(kv_usage=None))) == []


def test_a_late_event_loop_is_the_gateway_s_own_warning() -> None:
    assert [(severity, subject) for severity, subject, _ in found(loop_lag_ms=250.0)] == [("warning", "gateway")]


def test_a_gateway_that_is_not_ready_for_no_other_reason_says_so() -> None:
    assert [severity for severity, _, _ in found(model(endpoint()), is_ready=False)] == ["notice"]


def test_what_is_broken_comes_first() -> None:
    late = model(endpoint(kv_usage=0.99), endpoint(1, health="down"))
    assert [severity for severity, _, _ in found(late, loop_lag_ms=500.0)] == ["broken", "warning", "warning"]


DISCOVERY = {"source": "kubernetes", "is_synced": True, "is_connected": False, "error": "refused"}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, [("warning", "gateway", "kubernetes is not heard, the last known endpoints hold: refused")]),
        ({"is_connected": True}, []),
        ({"is_synced": False, "error": ""}, []),
        (
            {"is_synced": False},
            [("broken", "gateway", "kubernetes has not told yet which endpoints there are: refused")],
        ),
    ],
)
def test_a_cluster_that_is_not_heard_is_told(state: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert found(discovery={**DISCOVERY, **state}) == expected


STORE = {"is_connected": True, "source": "store", "error": "", "snapshot_error": ""}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, []),
        ({"is_connected": False, "source": None}, []),
        (
            {"is_connected": False, "error": "It is away."},
            [("warning", "gateway", "the last known keys hold: It is away.")],
        ),
        (
            {"is_connected": False, "source": None, "error": "It is away."},
            [("broken", "gateway", "no key of it is known: It is away.")],
        ),
        (
            {"snapshot_error": "It can't be written."},
            [("warning", "gateway", "it can't start again without its store: It can't be written.")],
        ),
    ],
)
def test_a_store_that_is_away_is_a_warning_while_its_keys_are_known(
    state: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    assert found(store={**STORE, **state}) == expected


LIMITS = {"where": "redis.example:6379/0", "is_connected": True, "error": ""}
LEDGER = {
    "is_connected": True,
    "error": "",
    "journal_error": "",
    "waiting": 0,
    "silent_s": 0.0,
    "dropped_total": 0,
}


@pytest.mark.parametrize(
    ("limits", "ledger", "expected"),
    [
        ({}, {}, []),
        ({"where": "", "is_connected": False}, {}, []),
        ({"is_connected": False}, {}, []),
        (
            {"is_connected": False, "error": "no answer"},
            {},
            [("warning", "it allows its own share of the limits: no answer")],
        ),
        ({}, {"is_connected": False, "silent_s": 59.0, "error": "refused"}, []),
        (
            {},
            {"is_connected": False, "silent_s": 60.0, "waiting": 1200, "error": "refused"},
            [
                (
                    "warning",
                    "use is not entered in the store, 1,200 finished requests wait in the journal: refused",
                )
            ],
        ),
        (
            {},
            {"journal_error": "no space", "dropped_total": 3},
            [
                ("broken", "3 entries of use found no room and are lost"),
                ("warning", "use is kept in memory, where a kill takes it: no space"),
            ],
        ),
    ],
)
def test_limits_and_use_that_have_nowhere_to_go_are_told(
    limits: dict[str, Any], ledger: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    told = with_leanings([], {"limits": {**LIMITS, **limits}, "ledger": {**LEDGER, **ledger}})
    assert [(p["severity"], p["message"]) for p in told] == expected
    assert {p["subject"] for p in told} <= {"gateway"}


def test_what_was_found_before_stays_and_the_worst_is_first() -> None:
    before = [{"severity": "notice", "subject": "chat", "message": "starting"}]
    told = with_leanings(before, {"limits": None, "ledger": {**LEDGER, "journal_error": "no space"}})
    assert [p["severity"] for p in told] == ["warning", "notice"]
    assert with_leanings(before, {}) == before
