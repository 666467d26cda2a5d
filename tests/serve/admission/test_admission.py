"""A request on its way to an endpoint: what refuses it, what it waits for, who answers instead, what stays behind."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.admission.fallbacks import TlsHost
from penstock.serve.core import Core
from penstock.serve.flow import Usage
from serve.admission.watched import (
    ELSEWHERE,
    ONE_AT_ONCE,
    PROVIDERS,
    TO_PROVIDER,
    TO_SMALL,
    add,
    models,
    tenants,
    watched,
)
from serve.exchanges import (
    DONE,
    END,
    SSE_HEAD,
    TOKEN,
    USAGE_EVENT,
    Call,
    answer,
    chunk,
    event,
    fail,
    request,
    sent,
)
from serve.gateways import KEY, config


class TestLimits:
    def test_past_the_limit_a_minute_it_is_429_with_when_to_try_again_and_whose_limit_it_was(self) -> None:
        gateway, _ = watched(config(tenants("requestsPerMinute: 2")))
        told = []
        for _ in range(2):
            call = Call(gateway).send().engine(answer())
            told.append([call.client.headers[f"x-ratelimit-{n}-requests"] for n in ("limit", "remaining")])
        assert told == [["2", "1"], ["2", "0"]]
        call = Call(gateway).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (429, "rate_limit_exceeded")
        assert call.client.headers["retry-after"] == "60"  # both of the minute were used at its first moment
        assert call.client.headers["x-ratelimit-remaining-requests"] == "0"
        assert "tenant 'acme'" in call.client.json["error"]["message"]
        assert (call.tried, call.outcome) == ([], ("limited", "rate_limit_exceeded"))

    def test_the_keys_own_limit_is_named_where_it_is_the_tighter_one(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 100", "requestsPerMinute: 1")))
        Call(gateway).send().engine(answer())
        call = Call(gateway).send().settled()
        assert call.client.status == 429
        assert "key 'laptop'" in call.client.json["error"]["message"]
        assert limiter.lent == []

    def test_a_limit_of_0_allows_nothing_and_promises_no_time(self) -> None:
        gateway, _ = watched(config(tenants("requestsPerMinute: 0")))
        call = Call(gateway).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (429, "insufficient_quota")
        assert "retry-after" not in call.client.headers

    def test_a_request_larger_than_the_limit_is_400_as_no_retry_can_pass(self) -> None:
        gateway, limiter = watched(config(tenants("outputTokensPerMinute: 100")))
        call = Call(gateway, max_tokens=101).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (400, "request_too_large")
        assert limiter.settled == []

    def test_who_names_no_limit_reserves_no_more_than_could_ever_be_granted(self) -> None:
        gateway, limiter = watched(config(tenants("tokensPerMinute: 1000")))
        call = Call(gateway).send()
        (lent,) = limiter.lent
        assert lent.ask.input_tokens + lent.ask.output_tokens <= 1000
        assert call.engine(answer()).settled().client.status == 200

    def test_one_at_once_means_that_the_next_may_come_when_the_first_is_over(self) -> None:
        gateway, _ = watched(config(tenants("concurrentRequests: 1")))
        first = Call(gateway).send()
        assert Call(gateway).send().client.status == 429
        first.engine(answer()).settled()
        assert Call(gateway).send().engine(answer()).settled().client.status == 200

    def test_what_the_engine_counted_is_charged_in_the_end(self) -> None:
        gateway, limiter = watched(config(tenants("tokensPerMinute: 1000")))
        call = Call(gateway, max_tokens=100).send()
        assert limiter.lent[0].ask.output_tokens == 100
        call.engine(answer()).settled()
        assert limiter.settled == [Usage(input_tokens=5, output_tokens=7)]
        assert limiter.lent == []

    def test_the_month_pays_by_the_models_price_with_cached_tokens_at_theirs(self) -> None:
        price = "      price: {inputPerMillion: 10, outputPerMillion: 100, cachedInputPerMillion: 1}\n"
        gateway, limiter = watched(config(tenants("costPerMonth: 1"), models(price)))
        call = Call(gateway, max_tokens=10).send().engine(answer()).settled()
        assert limiter.settled[0].cost_micros == 1 * 10 + 4 * 1 + 7 * 100  # one fresh, four cached, seven written
        assert call.record.cost_micros == 714


class TestRefunds:
    def test_a_request_that_only_waited_leaves_the_limits_as_they_were(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 2"), models(ONE_AT_ONCE)))
        first = Call(gateway).send()
        waits = Call(gateway).send()
        assert (waits.exchange.phase, len(limiter.lent)) == ("queued", 2)
        waits.exchange.client_lost(waits.tick())
        assert limiter.settled == [Usage(has_run=False)]
        first.engine(answer()).settled()
        assert Call(gateway).send().engine(answer()).settled().client.status == 200

    def test_a_request_for_which_no_endpoint_answered_leaves_the_limits_as_they_were(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 1")))
        for _ in range(2):
            assert Call(gateway).send().lose("refused the connection").settled().client.status == 502
        assert limiter.settled == [Usage(has_run=False)] * 2

    def test_a_cancelled_stream_costs_its_prompt_and_what_the_client_got(self) -> None:
        gateway, limiter = watched(config(tenants("tokensPerMinute: 1000")))
        call = Call(gateway, stream=True, max_tokens=100).send()
        text = event(choices=[{"index": 0, "delta": {"content": "four words are here"}}])
        call.engine(SSE_HEAD, chunk(text))
        call.exchange.client_lost(call.tick())
        (usage,) = limiter.settled
        assert usage.has_run
        assert usage.input_tokens == call.record.estimated_tokens > 0
        assert 4 <= usage.output_tokens <= 10  # 19 characters

    def test_a_stream_cancelled_before_its_first_token_costs_its_prompt_alone(self) -> None:
        gateway, limiter = watched(config(tenants("tokensPerMinute: 1000")))
        call = Call(gateway, stream=True, max_tokens=100).send()
        call.exchange.client_lost(call.tick())
        assert limiter.settled == [Usage(input_tokens=call.record.estimated_tokens)]

    @pytest.mark.parametrize("status", ["400 Bad Request", "429 Too Many Requests"])
    def test_what_the_engine_refused_costs_a_request_and_no_tokens(self, status: str) -> None:
        gateway, limiter = watched(config(tenants("tokensPerMinute: 1000")))
        Call(gateway, max_tokens=100).send().engine(answer(b'{"error": {"message": "no"}}', status=status)).settled()
        assert limiter.settled == [Usage()]

    def test_an_engines_500_costs_nothing(self) -> None:
        gateway, limiter = watched(config(tenants("tokensPerMinute: 1000")))
        Call(gateway, max_tokens=10).send().engine(answer(b"{}", status="500 Internal Server Error")).settled()
        assert limiter.settled == [Usage(has_run=False)]

    def test_what_was_refused_by_the_queue_costs_nothing(self) -> None:
        settings = config(tenants("requestsPerMinute: 5", more="    queue: {requestsMax: 0}\n"), models(ONE_AT_ONCE))
        gateway, limiter = watched(settings)
        Call(gateway).send()
        shed = Call(gateway).send()
        assert (shed.client.status, shed.client.json["error"]["code"]) == (429, "queue_full")
        assert int(shed.client.headers["retry-after"]) >= 1
        assert limiter.settled == [Usage(has_run=False)]

    def test_who_failed_everywhere_and_waited_in_vain_for_another_pays_nothing(self) -> None:
        gateway, limiter = watched(config(tenants("tokensPerMinute: 1000"), models()))
        gateway.brings_endpoints = True
        call = Call(gateway, max_tokens=10).send()
        fail(gateway.endpoints.pools["chat"].endpoints[0], gateway)
        call.lose("reset the connection")
        assert call.exchange.phase == "queued"
        call.pump(3600.0)
        assert call.client.status == 503
        assert limiter.settled == [Usage(has_run=False)]


class TestLateVerdicts:
    def test_the_request_goes_on_when_the_verdict_comes(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 5")), is_late=True)
        call = Call(gateway).send()
        assert (call.exchange.phase, call.tried) == ("queued", [])
        limiter.tell(call.tick())
        call.engine(answer()).settled()
        assert (call.client.status, call.client.headers["x-ratelimit-remaining-requests"]) == (200, "4")
        assert limiter.lent == []

    def test_a_refusal_may_come_late_too(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 0")), is_late=True)
        call = Call(gateway).send()
        limiter.tell(call.tick())
        assert call.settled().client.status == 429

    def test_a_verdict_for_a_client_that_has_left_is_given_back(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 5")), is_late=True)
        call = Call(gateway).send()
        call.exchange.client_lost(call.tick())
        assert limiter.settled == []
        limiter.tell(call.tick())
        assert (limiter.settled, limiter.lent, call.tried) == ([Usage(has_run=False)], [], [])

    def test_a_refusal_for_a_client_that_has_left_is_nothing(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 0")), is_late=True)
        call = Call(gateway).send()
        call.exchange.client_lost(call.tick())
        limiter.tell(call.tick())
        assert limiter.settled == []


@pytest.mark.parametrize("end", ["ok", "lost", "left", "late", "shut", "400", "cut", "bad"])
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fallback", ["", TO_SMALL])
def test_what_was_reserved_is_settled_once_however_it_ends(end: str, is_stream: bool, fallback: str) -> None:
    settings = config(tenants("tokensPerMinute: 100000, concurrentRequests: 1"), models(fallback))
    gateway, limiter = watched(settings)
    call = Call(gateway, stream=is_stream).send()
    whole = [SSE_HEAD, chunk(TOKEN), chunk(USAGE_EVENT + DONE), END] if is_stream else [answer()]
    match end:
        case "ok":
            call.engine(*whole)
        case "lost":
            call.lose()
        case "left":
            call.exchange.client_lost(call.tick())
        case "late":
            call.late(100_000.0)
        case "shut":
            call.take(call.exchange.shut_down(call.tick()))
        case "400":
            call.engine(answer(b"{}", status="400 Bad Request"))
        case "cut":
            call.engine(*whole[:-1], b"").lose()
        case "bad":
            call.engine(b"what?\r\n\r\n")
    if not call.is_over:  # a fallback answers
        assert call.dispatches[-1].endpoint.id == "small-0"
        call.engine(*whole)
    call.settled()
    assert (len(limiter.settled), limiter.lent) == (1, [])
    call.exchange.client_lost(call.tick())
    assert len(limiter.settled) == 1
    assert Call(gateway).send().engine(answer()).client.status == 200  # its place at once is free again


class TestRules:
    def ruled(self, match: str, to: str = "to: [{model: small}]", more: str = "") -> Core:
        rules = f"    rules:\n      - {{name: r1, match: {match}, {to}}}\n"
        gateway, _ = watched(config(tenants(more=rules + more), models()))
        return gateway

    def went(self, gateway: Core, head: Any = None, **body: Any) -> str:
        first: str = Call(gateway, head, **body).send().tried[0]
        return first

    def test_a_rule_by_header(self) -> None:
        gateway = self.ruled("{headers: {X-Team: red}}")
        assert self.went(gateway, request(fields={b"x-team": b"red"})) == "small-0"
        assert self.went(gateway, request(fields={b"x-team": b"blue"})) == "chat-0"
        assert self.went(gateway) == "chat-0"

    def test_a_rule_by_the_prompts_length(self) -> None:
        gateway = self.ruled("{promptTokensMin: 1000}")
        assert self.went(gateway) == "chat-0"
        assert self.went(gateway, messages=[{"role": "user", "content": "word " * 5000}]) == "small-0"

    def test_a_rule_by_class_and_one_that_lowers_the_class(self) -> None:
        gateway = self.ruled("{classes: [batch]}")
        assert self.went(gateway) == "chat-0"
        lowered = self.ruled("{}", "setClass: batch")
        call = Call(lowered).send()
        assert (call.tried, call.record.traffic_class, call.record.rule) == (["chat-0"], "batch", "r1")

    def test_the_answer_says_which_model_it_was_and_the_engine_is_told_its_own_name(self) -> None:
        call = Call(self.ruled("{models: [chat]}")).send()
        assert sent(call.dispatches[0])[1]["model"] == "small"
        call.engine(answer())
        assert call.client.headers["x-penstock-model"] == "small"
        assert (call.record.model, call.record.requested_model) == ("small", "chat")

    def test_a_rule_leads_nobody_to_a_model_that_its_key_may_not_use(self) -> None:
        rules = "    rules:\n      - {name: r1, to: [{model: small}]}\n"
        text = tenants(more=rules).replace("- name: acme\n", "- name: acme\n        models: [chat]\n")
        gateway, _ = watched(config(text, models()))
        assert self.went(gateway) == "chat-0"

    def test_the_models_header_names_the_model_in_place_of_the_body(self) -> None:
        gateway, _ = watched(config(tenants(), models()))
        call = Call(gateway, request(fields={b"x-model-id": b"nobody"})).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (404, "model_not_found")


class TestFallbacks:
    def test_on_an_error_another_model_answers_and_says_so(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 9"), models(TO_SMALL)))
        call = Call(gateway).send().lose("refused the connection")
        assert call.tried == ["chat-0", "small-0"]
        assert sent(call.dispatches[1])[1]["model"] == "small"
        call.engine(answer()).settled()
        assert (call.client.status, call.client.headers["x-penstock-model"]) == (200, "small")
        assert (call.record.model, call.record.fallbacks, call.outcome) == ("small", 1, ("ok", ""))
        assert len(limiter.settled) == 1

    def test_on_saturation_too_where_the_file_says_so(self) -> None:
        for when, status in (("saturation", 0), ("error", 429)):
            chat = f"{ONE_AT_ONCE}      fallbacks: [{{model: small, when: [{when}]}}]\n"
            gateway, _ = watched(config(tenants(more="    queue: {requestsMax: 0}\n"), models(chat)))
            Call(gateway).send()
            call = Call(gateway).send()
            assert (call.client.status, call.tried) == (status, [] if status else ["small-0"])

    def test_where_waiting_would_miss_the_objective_another_model_answers(self) -> None:
        chat = (
            f"{ONE_AT_ONCE}      objectives: {{ttftMs: 500}}\n      fallbacks: [{{model: small, when: [objective]}}]\n"
        )
        gateway, _ = watched(config(tenants(), models(chat)))
        calls = [Call(gateway).send() for _ in range(3)]
        assert [c.tried for c in calls] == [["chat-0"], [], ["small-0"]]  # the second is the next one there
        calls[2].engine(answer())
        assert calls[2].client.headers["x-penstock-model"] == "small"

    def test_without_an_objective_who_comes_waits(self) -> None:
        chat = f"{ONE_AT_ONCE}      fallbacks: [{{model: small, when: [objective]}}]\n"
        gateway, _ = watched(config(tenants(), models(chat)))
        assert [Call(gateway).send().tried for _ in range(3)] == [["chat-0"], [], []]

    def test_never_to_a_model_that_the_key_may_not_use(self) -> None:
        text = tenants().replace("- name: acme\n", "- name: acme\n        models: [chat]\n")
        gateway, _ = watched(config(text, models(TO_SMALL)))
        call = Call(gateway).send().lose("refused the connection").settled()
        assert (call.client.status, call.tried) == (502, ["chat-0"])
        assert "small" not in call.client.raw.decode()

    @pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable"])
    def test_an_engine_that_answers_that_it_can_not_is_an_error_too(self, status: str) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 9"), models(TO_SMALL)))
        call = Call(gateway).send().engine(answer(b"{}", status=status))
        assert call.tried == ["chat-0", "small-0"]
        call.engine(answer()).settled()
        assert (call.client.status, call.client.headers["x-penstock-model"]) == (200, "small")
        assert len(limiter.settled) == 1

    def test_a_request_that_is_wrong_is_wrong_everywhere(self) -> None:
        gateway, _ = watched(config(tenants(), models(TO_SMALL)))
        call = Call(gateway).send().engine(answer(b"{}", status="400 Bad Request")).settled()
        assert (call.client.status, call.tried) == (400, ["chat-0"])

    def test_when_all_have_failed_it_is_an_honest_error(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 9"), models(TO_SMALL)))
        call = Call(gateway).send().lose("refused the connection").lose("refused the connection").settled()
        assert (call.client.status, call.tried) == (502, ["chat-0", "small-0"])
        assert limiter.settled == [Usage(has_run=False)]

    def test_whose_time_is_over_in_the_queue_gets_no_second_model(self) -> None:
        chat = ONE_AT_ONCE + TO_SMALL
        gateway, _ = watched(config(tenants(), models(chat)))
        Call(gateway).send()
        call = Call(gateway, request(fields={b"x-request-timeout-ms": b"2000"})).send()
        call.pump(3.0)
        assert (call.client.status, call.tried) == (504, [])


class TestProviders:
    def outside(self, **body: Any) -> Call:
        settings = config(tenants(more=PROVIDERS), models(TO_PROVIDER), env={"ELSEWHERE_KEY": "sk-theirs"})
        gateway, _ = watched(settings)
        add(gateway, ELSEWHERE)
        head = request(
            request_id=b"r-1", forwarded=b"traceparent: 00-1\r\n", fields={b"x-request-timeout-ms": b"60000"}
        )
        return Call(gateway, head, **body).send().lose("refused the connection")

    def test_it_gets_its_own_path_key_and_model_and_nothing_of_the_clients_but_the_body(self) -> None:
        call = self.outside(max_tokens=9, top_k=3)
        headers, body = sent(call.dispatches[-1])
        assert headers.pop(":line") == "POST /openai/v1/chat/completions HTTP/1.1"
        assert headers.pop("authorization") == "Bearer sk-theirs"
        assert headers.pop("content-length")
        assert headers.pop("host") == call.dispatches[-1].endpoint.authority
        assert headers == {
            "content-type": "application/json",
            "x-request-id": "r-1",
            "accept-encoding": "identity",
        }
        assert (body["model"], body["max_tokens"], body["messages"]) == (
            "big-1",
            9,
            [{"role": "user", "content": "hi"}],
        )
        assert "top_k" not in body  # OpenAI's API has none
        assert KEY not in b"".join(call.dispatches[-1].data).decode()

    def test_its_certificate_must_have_its_name(self) -> None:
        call = self.outside()
        assert [d.tls_host for d in call.dispatches] == [None, TlsHost("api.example.com")]

    @pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found"])
    def test_its_no_to_our_key_is_no_word_about_the_clients(self, status: str) -> None:
        call = self.outside().engine(answer(b'{"error": {"message": "your key is bad"}}', status=status)).settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (502, "upstream_error")
        assert "your key" not in call.client.json["error"]["message"]
        assert call.client.headers["x-penstock-model"] == ELSEWHERE

    def test_its_no_to_the_request_is_told_and_whose_it_is(self) -> None:
        call = self.outside().engine(answer(b'{"error": {"message": "bad n"}}', status="400 Bad Request")).settled()
        assert (call.client.status, call.client.json["error"]["message"]) == (400, "bad n")
        assert call.client.headers["x-penstock-model"] == ELSEWHERE

    def test_the_answer_says_where_it_came_from_and_never_shows_the_key(self) -> None:
        call = self.outside().engine(answer()).settled()
        assert call.client.headers["x-penstock-model"] == ELSEWHERE
        assert "sk-theirs" not in call.client.raw.decode() + repr(call.record)


class TestDeadlines:
    def test_whose_time_is_over_is_told_so_and_its_endpoint_is_not_blamed(self) -> None:
        gateway, _ = watched(config(tenants(), models()))
        call = Call(gateway, request(fields={b"x-request-timeout-ms": b"2000"})).send()
        call.late(1.0)
        assert not call.is_over
        call.late(1.5).settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (504, "deadline_exceeded")
        assert gateway.endpoints.pools["chat"].endpoints[0].health == "ready"

    def test_a_classs_own_bound_holds_for_who_says_nothing(self) -> None:
        settings = config(tenants(more="    classes: {interactive: {timeoutS: 3}}\n"), models())
        gateway, _ = watched(settings)
        assert Call(gateway).send().late(3.5).settled().client.status == 504

    def test_a_clients_silence_bound_is_not_one_of_its_whole_stream(self) -> None:
        gateway, _ = watched(config(tenants(), models()))
        head = request(fields={b"x-stainless-read-timeout": b"2"})
        call = Call(gateway, head, stream=True).send().engine(SSE_HEAD, chunk(TOKEN))
        call.late(2.5)
        assert not call.is_over
