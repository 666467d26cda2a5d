"""The benchmark's requests."""

from __future__ import annotations

import json

import pytest

from bench.workloads import NONCE, WORKLOADS, Workload, request_body


@pytest.mark.parametrize("load", WORKLOADS, ids=lambda load: load.name)
class TestEveryLoad:
    def test_its_body_has_the_stated_size(self, load: Workload) -> None:
        assert len(request_body(load)) == load.body_bytes

    def test_its_body_is_json_with_one_nonce_and_the_same_every_time(self, load: Workload) -> None:
        body = request_body(load)
        assert body == request_body(load)
        assert body.count(NONCE.encode()) == 1
        assert json.loads(body)["messages"][-1]["role"] == "user"

    def test_it_asks_for_a_stream_exactly_when_it_counts_tokens(self, load: Workload) -> None:
        fields = json.loads(request_body(load))
        assert bool(fields.get("stream")) == load.is_stream
        if load.is_stream:
            assert fields["max_tokens"] == load.tokens


def test_a_paced_load_offers_connections_over_gap() -> None:
    paced = next(load for load in WORKLOADS if load.name == "paced-2000")
    assert paced.offered_tokens_per_s == 20_000


def test_loads_have_names_of_their_own() -> None:
    assert len({load.name for load in WORKLOADS}) == len(WORKLOADS)
