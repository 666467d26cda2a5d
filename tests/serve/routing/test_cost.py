"""The cost policy: fewest seconds, by what is cached, what goes before, and what each endpoint showed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from penstock.serve.routing import CostPolicy, Ended, Endpoint, EngineSample, Need
from penstock.serve.routing.learned import EndpointLearned
from serve.routing.fleets import TIMING, need, ready, table_of


def policy_of(**more: int) -> CostPolicy:
    return CostPolicy({"chat": TIMING}, **more)


def route(policy: CostPolicy, endpoints: Sequence[Endpoint], request: Need, now: float) -> Endpoint:
    endpoint = policy.choose(endpoints, request, now=now).endpoint
    endpoint.in_flight += 1
    policy.sent(endpoint, request, now)
    return endpoint


def end(policy: CostPolicy, endpoint: Endpoint, request: Need, now: float, *, ttft: float, cached: int = 0) -> None:
    endpoint.in_flight -= 1
    outcome = Ended(now=now, is_ok=True, sent_at=now - ttft - 0.1, ttft_s=ttft, cached_tokens=cached, output_tokens=10)
    policy.ended(endpoint, request, outcome)


def learned_of(endpoint: Endpoint) -> EndpointLearned:
    assert isinstance(endpoint.learned, EndpointLearned)
    return endpoint.learned


def test_a_prompt_goes_where_its_beginning_is_cached() -> None:
    policy, endpoints = policy_of(), ready(4)
    first = route(policy, endpoints, need(1000, blocks=range(1, 11)), 0.0)
    again = need(1200, blocks=range(1, 13))
    assert route(policy, endpoints, again, 60.0) is first
    weighed = policy.choose(endpoints, again, now=120.0).weighed
    assert {one[0] for one in weighed if one[5] > 0} == {first.id}


def test_a_hot_prefix_goes_to_a_second_endpoint_when_waiting_costs_more() -> None:
    policy, endpoints = policy_of(), ready(4)
    request = [need(2000, blocks=range(1, 20)) for _ in range(300)]
    used = [route(policy, endpoints, one, 0.001 * n).id for n, one in enumerate(request)]
    assert len(set(used[:2])) <= 2
    assert len(set(used)) > 1


def test_without_prefixes_equal_endpoints_get_equal_work() -> None:
    policy, endpoints = policy_of(), ready(4)
    counts: Counter[str] = Counter()
    for n in range(400):
        request = need(1000)
        endpoint = route(policy, endpoints, request, n * 0.2)
        counts[endpoint.id] += 1
        end(policy, endpoint, request, n * 0.2 + 0.15, ttft=0.11)
    assert max(counts.values()) - min(counts.values()) <= 4


def test_only_a_prompt_that_nobody_holds_is_moved_to_even_out_the_work_of_minutes() -> None:
    # given four seconds more of work at the endpoint that holds a conversation, prompts that are often cached, and a
    # short wait at the other
    policy, endpoints = policy_of(), ready(2)
    holder = route(policy, endpoints, need(1000, blocks=range(1, 11)), 0.0)
    other = next(endpoint for endpoint in endpoints if endpoint is not holder)
    for endpoint in endpoints:
        endpoint.in_flight = 0
    pool = learned_of(holder).pool
    pool.cached_share, pool.home_share = 0.5, 0.01
    learned_of(holder).work = learned_of(other).work + 4.0
    learned_of(other).busy_until = 60.1
    # when the conversation goes on, and others begin
    goes_on = policy.choose(endpoints, need(1200, blocks=range(1, 13)), now=60.0).endpoint
    begun = [
        policy.choose(endpoints, need(1000, blocks=range(start, start + 10)), now=60.0).endpoint
        for start in range(1000, 1200, 20)
    ]
    # then only those that lose nothing go to the other
    assert goes_on is holder
    assert {endpoint.id for endpoint in begun} == {other.id}


def test_what_nobody_told_anything_of_is_spread_by_load() -> None:
    policy, endpoints = CostPolicy(), ready(3)
    endpoints[0].in_flight, endpoints[1].in_flight, endpoints[2].in_flight = 9, 4, 9
    assert policy.choose(endpoints, Need(), now=0.0).endpoint is endpoints[1]


def test_what_others_have_waiting_there_counts() -> None:
    policy, table = policy_of(), table_of(2)
    table.observe("chat-0", EngineSample(at=1.0, running=5, waiting=20))
    assert policy.choose(table.all(), need(), now=1.0).endpoint.id == "chat-1"


def test_a_prompt_that_does_not_fit_goes_where_there_is_room() -> None:
    policy, table = policy_of(), table_of(2)
    table.observe("chat-0", EngineSample(at=1.0, running=3, kv_usage=0.99, kv_tokens=10_000))
    table.observe("chat-1", EngineSample(at=1.0, running=3, kv_usage=0.2, kv_tokens=10_000))
    request = need(900)
    endpoint = route(policy, table.all(), request, 1.0)
    assert endpoint.id == "chat-1"
    endpoint.in_flight -= 1
    policy.ended(endpoint, request, Ended(now=6.0, is_ok=True, sent_at=1.0, ttft_s=0.1, output_tokens=10))
    first, second = policy.choose(table.all(), need(900), now=6.0, explains=True).weighed
    before = {first[0]: first[3], second[0]: second[3]}
    assert before["chat-1"] == 0.0
    assert 0.3 < before["chat-0"] < 0.6  # 910 tokens where 100 are free, of 9,900 that come free in five seconds


def test_a_slow_endpoint_is_learned_and_tried_again_when_that_has_faded() -> None:
    policy, table = policy_of(), table_of(2)
    endpoints = table.all()
    for n in range(40):
        request = need(1000)
        endpoint = route(policy, endpoints, request, float(n))
        end(policy, endpoint, request, n + 0.9, ttft=0.66 if endpoint.id == "chat-0" else 0.11)
    slow, quick = (learned_of(e).ratio for e in endpoints)
    assert slow > 1.5 * quick
    late = Counter(route(policy, endpoints, need(1000), 40.0 + n).id for n in range(20))
    assert late["chat-1"] > late["chat-0"]
    for endpoint in endpoints:
        table.observe(endpoint.id, EngineSample(at=4000.0))
    policy.choose(endpoints, need(1000), now=4000.0)
    assert learned_of(endpoints[0]).ratio < 1.5 * learned_of(endpoints[1]).ratio


def test_a_restarted_engine_holds_nothing() -> None:
    policy, table = policy_of(), table_of(1)
    (endpoint,) = table.all()
    table.observe("chat-0", EngineSample(at=1.0, prompt_tokens_total=5000))
    route(policy, [endpoint], need(1000, blocks=range(10)), 1.0)
    table.observe("chat-0", EngineSample(at=2.0, prompt_tokens_total=6000))
    policy.choose([endpoint], need(), now=2.0)
    assert len(learned_of(endpoint).held) == 10
    table.observe("chat-0", EngineSample(at=3.0, prompt_tokens_total=10))
    policy.choose([endpoint], need(), now=3.0)
    assert len(learned_of(endpoint).held) == 0


def test_an_endpoint_that_reports_no_hits_is_believed_and_forgotten() -> None:
    policy, endpoints = policy_of(), ready(1)
    for n in range(40):
        request = need(1000, blocks=range(9))
        route(policy, endpoints, request, float(n))
        end(policy, endpoints[0], request, n + 0.5, ttft=0.1, cached=0)
        if not len(learned_of(endpoints[0]).held):
            break
    assert len(learned_of(endpoints[0]).held) == 0


def test_a_request_that_never_ran_leaves_nothing_behind() -> None:
    policy, endpoints = policy_of(), ready(1)
    request = need(1000, blocks=range(9))
    endpoint = route(policy, endpoints, request, 0.0)
    endpoint.in_flight -= 1
    policy.ended(endpoint, request, Ended(now=0.001, is_ok=False, sent_at=0.0))
    learned = learned_of(endpoint)
    assert (len(learned.held), round(learned.work, 9)) == (0, 0.0)
    assert learned.busy_until <= 0.001 + 1e-9


def test_an_adapter_goes_where_it_is_loaded() -> None:
    policy, table = policy_of(), table_of(3)
    table.observe("chat-2", EngineSample(at=1.0, adapters=("sql",)))
    assert policy.choose(table.all(), need(adapter="sql"), now=1.0).endpoint.id == "chat-2"
    first = route(policy, table.all(), need(adapter="poet"), 2.0)
    assert route(policy, table.all(), need(adapter="poet"), 9.0) is first


def test_two_gateways_that_know_nothing_of_each_other_agree_on_a_conversation() -> None:
    one, other = policy_of(), policy_of()
    mine, theirs = ready(4), ready(4)
    agreed = sum(
        route(one, mine, need(3000, blocks=(n, n + 1)), n * 10.0).id
        == route(other, theirs, need(3000, blocks=(n, n + 1)), n * 10.0).id
        for n in range(0, 400, 2)
    )
    assert agreed > 150  # by chance alone it would be 50 of 200


def test_the_index_is_bounded_over_all_endpoints() -> None:
    policy, endpoints = policy_of(blocks_max=100), ready(4)
    for n in range(200):
        route(policy, endpoints, need(2000, blocks=range(n * 20, n * 20 + 20)), float(n))
    assert policy.index.blocks <= 100


def test_events_of_the_engine_forget_what_it_lost() -> None:
    policy, endpoints = policy_of(), ready(1)
    route(policy, endpoints, need(1000, blocks=range(9)), 0.0)
    policy.cache_seen(endpoints[0], 1000, False)
    assert len(learned_of(endpoints[0]).held) == 9
    policy.cache_seen(endpoints[0], 0, True)
    assert len(learned_of(endpoints[0]).held) == 0


def test_equal_endpoints_that_never_answered_come_last() -> None:
    policy, table = policy_of(), table_of(2)
    table.all()[0].health = "unproven"
    assert all(policy.choose(table.all(), need(), now=float(n)).endpoint.id == "chat-1" for n in range(4))
