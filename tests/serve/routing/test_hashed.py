"""`session` and `prefix-hash`: together what belongs together, by load what does not."""

from __future__ import annotations

from penstock.serve.routing.hashed import PrefixHash, Session
from serve.routing.fleets import need, ready


def test_a_session_stays_where_it_is() -> None:
    endpoints, policies = ready(6), (Session(), Session())
    for n in range(50):
        request = need(session=f"s{n}")
        chosen = {policy.choose(endpoints, request, now=float(n)).endpoint.id for policy in policies}
        assert len(chosen) == 1


def test_without_a_session_the_least_loaded_takes_it() -> None:
    endpoints = ready(3)
    endpoints[0].in_flight = endpoints[2].in_flight = 5
    decision = Session().choose(endpoints, need(), now=0.0, explains=True)
    assert (decision.endpoint, decision.policy) == (endpoints[1], "session")
    assert dict(decision.scores)["chat-0"] == 5


def test_a_drowning_endpoint_gives_its_sessions_to_others() -> None:
    endpoints, policy = ready(4), Session()
    request = need(session="s")
    home = policy.choose(endpoints, request, now=0.0).endpoint
    home.in_flight = 100
    assert policy.choose(endpoints, request, now=0.0).endpoint is not home


def test_prompts_with_a_common_system_prompt_are_told_apart_behind_it() -> None:
    endpoints, policy = ready(4), PrefixHash()
    system = [1, 2, 3]
    homes = set()
    for n in range(300):
        request = need(blocks=(*system, 1000 + 2 * n, 1001 + 2 * n))
        endpoint = policy.choose(endpoints, request, now=0.0).endpoint
        policy.sent(endpoint, request, 0.0)
        if n > 100:
            homes.add(endpoint.id)
    assert homes == {"chat-0", "chat-1", "chat-2", "chat-3"}
    again = need(blocks=(*system, 1500, 1501, 1502))
    assert policy.choose(endpoints, again, now=0.0).endpoint is policy.choose(endpoints, again, now=1.0).endpoint
