"""Endpoints and pools: state follows an address for as long as it stays, and a failure is waited out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.endpoints import Endpoint, EndpointAddress, EndpointTable, EngineSample


def address(number: int, port: int = 9000, *, is_draining: bool = False) -> EndpointAddress:
    return EndpointAddress(id=f"chat-{number}", host="127.0.0.1", port=port + number, is_draining=is_draining)


def table(count: int = 2) -> EndpointTable:
    endpoints = EndpointTable()
    endpoints.set_pool("chat", [address(n) for n in range(count)])
    return endpoints


def ids(endpoints: list[Endpoint]) -> list[str]:
    return [e.id for e in endpoints]


def candidates(endpoints: EndpointTable, now: float = 0.0) -> list[str]:
    return ids(endpoints.pools["chat"].candidates(now))


class TestPools:
    def test_an_endpoint_that_stays_keeps_its_state(self) -> None:
        endpoints = table()
        kept = endpoints.pools["chat"].endpoints[1]
        kept.in_flight = 3
        endpoints.set_pool("chat", [address(1), address(2)])
        assert endpoints.pools["chat"].endpoints[0] is kept
        assert ids(endpoints.all()) == ["chat-1", "chat-2"]
        assert endpoints.get("chat-0") is None

    def test_the_same_name_at_another_address_is_another_endpoint(self) -> None:
        endpoints = table()
        old = endpoints.get("chat-0")
        endpoints.set_pool("chat", [address(0, port=9500), address(1)])
        assert endpoints.get("chat-0") is not old
        assert old is not None
        old.in_flight = 1  # requests in flight keep what they hold
        assert endpoints.pools["chat"].endpoints[0].in_flight == 0

    def test_a_draining_endpoint_gets_nothing_new_and_may_come_back(self) -> None:
        endpoints = table()
        endpoints.set_pool("chat", [address(0, is_draining=True), address(1)])
        assert candidates(endpoints) == ["chat-1"]
        endpoints.set_pool("chat", [address(0), address(1)])
        assert candidates(endpoints) == ["chat-0", "chat-1"]

    def test_a_model_that_goes_takes_its_endpoints_along(self) -> None:
        endpoints = table()
        endpoints.set_pool("embed", [EndpointAddress(id="embed-0", host="::1", port=1)])
        endpoints.remove_pool("chat")
        endpoints.remove_pool("never-there")
        assert ids(endpoints.all()) == ["embed-0"]
        assert endpoints.get("chat-0") is None

    def test_a_url_with_an_ipv6_host_has_brackets(self) -> None:
        endpoints = EndpointTable()
        endpoints.set_pool("chat", [EndpointAddress(id="chat-0", host="::1", port=9000)])
        assert endpoints.all()[0].url == "http://[::1]:9000"
        assert endpoints.all()[0].authority == "[::1]:9000"

    @given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=4, unique_by=lambda t: t[0])))
    def test_whatever_discovery_says_the_table_holds_just_that(self, steps: list[list[tuple[int, bool]]]) -> None:
        endpoints = EndpointTable()
        for step in steps:
            endpoints.set_pool("chat", [address(n, is_draining=d) for n, d in step])
            assert ids(endpoints.all()) == [f"chat-{n}" for n, _ in step]
            assert all(endpoints.get(e.id) is e for e in endpoints.all())
            assert candidates(endpoints) == [f"chat-{n}" for n, d in step if not d]


class TestHealth:
    def test_a_failed_endpoint_is_not_tried_until_its_back_off_is_over(self) -> None:
        endpoints = table()
        failed = endpoints.pools["chat"].endpoints[0]
        endpoints.failed(failed, "refused the connection", now=10.0)
        assert (failed.health, failed.failures_total, failed.last_error) == ("down", 1, "refused the connection")
        assert candidates(endpoints, 10.1) == ["chat-1"]
        assert candidates(endpoints, failed.retry_at) == ["chat-0", "chat-1"]

    def test_the_back_off_grows_to_a_bound(self) -> None:
        endpoints = table()
        failed = endpoints.pools["chat"].endpoints[0]
        waits, now = [], 100.0
        for _ in range(10):
            endpoints.failed(failed, "x", now=now)
            waits.append(failed.retry_at - now)
            now = failed.retry_at
        assert waits == sorted(waits)
        assert waits[0] <= 0.25
        assert waits[-1] == waits[-2] == 5.0

    def test_an_answer_ends_the_failure(self) -> None:
        endpoints = table()
        failed = endpoints.pools["chat"].endpoints[0]
        endpoints.failed(failed, "x", now=10.0)
        endpoints.succeeded(failed)
        assert (failed.health, failed.consecutive_failures, failed.last_error) == ("ready", 0, "")
        assert failed.failures_total == 1

    def test_a_draining_endpoint_stays_so_whatever_happens_on_it(self) -> None:
        endpoints = table()
        endpoints.set_pool("chat", [address(0, is_draining=True)])
        endpoint = endpoints.all()[0]
        endpoints.failed(endpoint, "x", now=1.0)
        assert endpoint.health == "draining"
        endpoints.succeeded(endpoint)
        assert endpoint.health == "draining"

    def test_what_can_serve_is_counted(self) -> None:
        endpoints = table(3)
        first, second, _ = endpoints.all()
        endpoints.succeeded(first)
        endpoints.failed(second, "x", now=0.0)
        assert endpoints.pools["chat"].ready_count == 2

    def test_what_is_sent_and_leaves_is_counted(self) -> None:
        endpoints = table()
        endpoint = endpoints.all()[0]
        assert [endpoints.sent(endpoint, 1.0) for _ in range(3)] == [0, 0, 0]
        endpoints.left(endpoint)
        assert (endpoint.in_flight, endpoint.dispatched_total) == (2, 3)

    def test_a_signal_of_an_endpoint_whose_pool_is_gone_harms_nothing(self) -> None:
        endpoints = table()
        endpoint = endpoints.all()[0]
        endpoints.remove_pool("chat")
        endpoints.heard(endpoint, "connect_failed", 1.0)
        assert endpoint.health == "down"

    def test_times_to_first_token_are_learned(self) -> None:
        endpoints = table()
        endpoint = endpoints.all()[0]
        endpoints.measured(endpoint, 0.2)
        assert endpoint.guard.ttft_s == 0.2
        for _ in range(200):
            endpoints.measured(endpoint, 1.0)
        assert endpoint.guard.ttft_s == pytest.approx(1.0, rel=0.01)


class TestReadings:
    def test_a_reading_of_metrics_is_proof_of_life(self) -> None:
        endpoints = table()
        endpoints.failed(endpoints.all()[0], "x", now=1.0)
        endpoints.observe("chat-0", EngineSample(at=1.0, generation_tokens_total=100))
        endpoints.observe("chat-0", EngineSample(at=3.0, generation_tokens_total=300))
        endpoints.observe("gone", EngineSample(at=3.0))
        assert endpoints.all()[0].health == "ready"
        assert endpoints.all()[0].tokens_per_s() == pytest.approx(100.0)

    def test_a_rate_needs_two_readings_of_one_engines_life(self) -> None:
        endpoints = table()
        endpoints.observe("chat-0", EngineSample(at=1.0, generation_tokens_total=500))
        assert endpoints.all()[0].tokens_per_s() == 0.0
        endpoints.observe("chat-0", EngineSample(at=2.0, generation_tokens_total=5))
        assert endpoints.all()[0].tokens_per_s() == 0.0
        assert endpoints.all()[0].guard.progress.restarts == 1

    def read(self, endpoints: EndpointTable, seconds: float, since: float, running: int = 2) -> float:
        """Readings four times a second that show no step; returns when it went out, or -1."""
        for n in range(1, round(4 * seconds) + 1):
            endpoints.observe("chat-0", EngineSample(at=since + n / 4, running=running, generation_tokens_total=9))
            endpoints.health_answered(endpoints.all()[0], 200, since + n / 4)
            if endpoints.all()[0].health == "down":
                return n / 4
        return -1.0

    @pytest.mark.parametrize(("itl_s", "deadline"), [(0.01, 2.0), (0.1, 5.0), (0.0, 30.0)])
    def test_a_hung_engine_is_found_within_three_deadlines_though_its_health_is_good(
        self, itl_s: float, deadline: float
    ) -> None:
        endpoints = table()
        endpoint = endpoints.all()[0]
        endpoints.observe("chat-0", EngineSample(at=100.0, running=2, generation_tokens_total=9))
        endpoint.itl_s = itl_s
        found_s = self.read(endpoints, 100.0, since=100.0)
        assert deadline < found_s <= 3 * deadline
        assert (endpoint.guard.signal, endpoint.is_stalled) == ("no_progress", True)
        assert "2 running and no step for" in endpoint.last_error

    def test_a_step_brings_a_hung_engine_back_and_an_answer_of_its_metrics_does_not(self) -> None:
        endpoints = table()
        endpoint = endpoints.all()[0]
        endpoints.stalled(endpoint, 100.0)
        endpoints.observe("chat-0", EngineSample(at=100.5, running=2, generation_tokens_total=9))
        endpoints.observe("chat-0", EngineSample(at=101.0, running=2, generation_tokens_total=9))
        endpoints.health_answered(endpoint, 200, 101.1)
        assert (endpoint.health, endpoint.is_stalled) == ("down", True)
        endpoints.observe("chat-0", EngineSample(at=101.5, running=0, generation_tokens_total=9))
        assert (endpoint.health, endpoint.is_stalled) == ("ready", False)

    def test_counters_that_stand_while_it_answers_put_it_out_once(self) -> None:
        endpoints = table()
        endpoint = endpoints.all()[0]
        endpoints.observe("chat-0", EngineSample(at=100.0, running=2, generation_tokens_total=9))
        endpoint.itl_s = 0.01
        out_at = 100.0 + self.read(endpoints, 100.0, since=100.0)
        trial = endpoints.sent(endpoint, out_at + 30)
        endpoints.heard(endpoint, "began", out_at + 31, trial=trial)
        assert endpoint.health == "ready"
        assert self.read(endpoints, 100.0, since=out_at + 31) == -1.0

    def test_health_that_says_dead_puts_out_until_it_says_alive(self) -> None:
        endpoints = table()
        endpoint = endpoints.all()[0]
        endpoints.health_answered(endpoint, 503, 10.0)
        endpoints.observe("chat-0", EngineSample(at=10.1))
        assert (endpoint.health, endpoint.guard.signal) == ("down", "unhealthy")
        endpoints.health_answered(endpoint, 404, 10.2)
        assert endpoint.health == "down"
        endpoints.health_answered(endpoint, 200, 10.3)
        assert endpoint.health == "ready"


class TestWatch:
    def begun(self) -> tuple[EndpointTable, Endpoint]:
        """Readings each quarter of a second until 110, and a request at it."""
        endpoints = table()
        endpoint = endpoints.all()[0]
        endpoint.itl_s = 0.01
        for n in range(41):
            endpoints.observe("chat-0", EngineSample(at=100.0 + n / 4, running=1, generation_tokens_total=n))
            endpoints.watch(100.0 + n / 4)
        endpoints.sent(endpoint, 110.0)
        return endpoints, endpoint

    def test_an_api_server_that_hangs_is_found_by_its_silence(self) -> None:
        endpoints, endpoint = self.begun()
        for n in range(20):
            endpoints.watch(110.0 + n / 4)
        assert endpoint.health == "ready"
        endpoints.watch(115.25)
        assert (endpoint.health, endpoint.guard.signal) == ("down", "unheard")

    def test_streams_that_go_on_and_requests_that_are_not_there_need_no_metrics(self) -> None:
        endpoints, endpoint = self.begun()
        for n in range(200):
            endpoint.progress_at = 110.0 + n / 4
            endpoints.watch(110.0 + n / 4)
        assert endpoint.health == "ready"
        endpoints.left(endpoint)
        for n in range(200, 400):
            endpoints.watch(110.0 + n / 4)
        assert endpoint.health == "ready"

    def test_a_gateway_that_stood_still_blames_nobody(self) -> None:
        endpoints, endpoint = self.begun()
        endpoints.watch(4000.0)
        endpoints.watch(4000.25)
        assert endpoint.health == "ready"
        endpoints.watch(50.0)
        assert endpoint.health == "ready"
