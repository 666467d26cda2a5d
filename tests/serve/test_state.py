"""The shape of state and requests: every endpoint once, null where nothing is known, no time that never came."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.serve.platform import DiscoveryState, ModelProfile, PlatformEndpoint, PlatformModel, StoreState
from penstock.serve.record import RequestRecord
from penstock.serve.routing.endpoints import EndpointAddress, EndpointTable, EngineSample, Pool
from penstock.serve.state import (
    SAMPLE_STALE_S,
    ModelView,
    discovery_state,
    fresh_sample,
    model_state,
    request_state,
    rfc3339,
    store_state,
)
from penstock.serve.tally import ModelTally


def pool(*ids: str) -> tuple[EndpointTable, Pool]:
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id=id_, host="10.0.0.1", port=80) for id_ in ids])
    return table, table.pools["chat"]


def view(of: Pool, platform: PlatformModel | None = None, now: float = 1.0) -> dict[str, Any]:
    return model_state(
        ModelView(
            now=now,
            name="chat",
            profile=ModelProfile(ttft_ms=500.0),
            platform=platform or PlatformModel(),
            pool=of,
            tally=ModelTally(),
            requests_per_s=0.0,
            tokens_per_s=0.0,
        )
    )


def test_a_replica_without_an_address_is_listed_in_the_platform_s_words() -> None:
    _, known = pool("chat-0")
    platform = PlatformModel(
        engine="simulated",
        replicas_desired=2,
        endpoints={"chat-1": PlatformEndpoint(phase="backoff", restarts=3, last_error="exit code 1")},
    )
    answer = view(known, platform)
    assert [e["id"] for e in answer["endpoints"]] == ["chat-0", "chat-1"]
    absent = answer["endpoints"][1]
    assert (absent["phase"], absent["restarts"], absent["last_error"]) == ("backoff", 3, "exit code 1")
    assert absent.keys() == answer["endpoints"][0].keys()
    assert answer["replicas_desired"] == 2


def test_without_a_platform_the_endpoints_are_what_is_desired() -> None:
    table, known = pool("chat-0", "chat-1")
    table.observe("chat-0", EngineSample(at=1.0))
    answer = view(known)
    assert (answer["engine"], answer["replicas_desired"], answer["replicas_ready"]) == ("external", 2, 1)
    assert [e["phase"] for e in answer["endpoints"]] == ["ready", "unproven"]


def test_endpoints_stand_in_the_order_of_their_numbers() -> None:
    _, known = pool("chat-10", "chat-9", "chat-0", "other")
    assert [e["id"] for e in view(known)["endpoints"]] == ["chat-0", "chat-9", "chat-10", "other"]


def test_what_only_the_engine_knows_is_null_while_it_is_silent() -> None:
    table, known = pool("chat-0")
    table.observe("chat-0", EngineSample(at=1.0, running=3, waiting=1, kv_usage=0.123456))
    fresh = view(known, now=2.0)["endpoints"][0]
    assert (fresh["running"], fresh["waiting"], fresh["kv_usage"]) == (3, 1, 0.1235)
    silent = view(known, now=1.0 + SAMPLE_STALE_S)["endpoints"][0]
    assert (silent["running"], silent["waiting"], silent["kv_usage"]) == (None, None, None)
    assert fresh_sample(known.endpoints[0], 1.0 + SAMPLE_STALE_S) is None


def test_a_request_shows_null_for_moments_and_tokens_that_never_came() -> None:
    answer = request_state(RequestRecord(at=0.0, total_ms=3.14159))
    assert [answer[k] for k in ("ttft_ms", "tpot_ms", "prompt_tokens", "output_tokens")] == [None] * 4
    assert answer["total_ms"] == 3.14
    assert answer["at"] == "1970-01-01T00:00:00.000Z"


def test_a_request_shows_what_sent_it_to_another_model() -> None:
    answer = request_state(RequestRecord(model="spare", requested_model="chat", rule="long", fallbacks=1))
    assert [answer[k] for k in ("model", "requested_model", "rule", "fallbacks")] == ["spare", "chat", "long", 1]


def test_only_a_stream_shows_when_its_first_token_came() -> None:
    times = {"ttft_ms": 100.0, "total_ms": 110.0, "output_tokens": 11}
    stream = request_state(RequestRecord(is_stream=True, **times))
    whole = request_state(RequestRecord(is_stream=False, **times))
    assert (stream["ttft_ms"], stream["tpot_ms"], stream["total_ms"]) == (100.0, 1.0, 110.0)
    assert (whole["ttft_ms"], whole["tpot_ms"], whole["total_ms"]) == (None, None, 110.0)


def test_a_name_that_a_client_chose_is_shown_shortened() -> None:
    answer = request_state(RequestRecord(requested_model="x" * 10_000, request_id="y" * 10_000))
    assert len(answer["requested_model"]) == len(answer["request_id"]) == 200


def test_time_is_rfc_3339_in_utc() -> None:
    assert rfc3339(1_767_225_600.1239) == "2026-01-01T00:00:00.123Z"


def test_silence_of_the_cluster_is_null_before_its_first_word() -> None:
    fresh = DiscoveryState(source="kubernetes")

    assert discovery_state(fresh, 10.0)["silent_s"] is None
    assert discovery_state(replace(fresh, heard_at=4.0), 10.0)["silent_s"] == 6.0


def test_a_store_is_shown_with_how_long_ago_it_was_read() -> None:
    state = StoreState(kind="postgresql", where="postgresql://u@db/p", is_connected=True, source="store", keys=3)

    assert store_state(state, 10.0)["silent_s"] is None
    shown = store_state(replace(state, read_at=4.0, source=""), 10.0)
    assert (shown["silent_s"], shown["keys"], shown["source"]) == (6.0, 3, None)
