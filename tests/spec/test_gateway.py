"""The gateway of the fleet: listeners, and keys that come from exactly one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec import GatewaySpec, parse_listen
from penstock.spec.gateway import parse_redis_url
from spec.fleets import fleet_text, the_problem


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[::1]:65535", "::1", 65535),
        ("localhost:1", "localhost", 1),
    ],
)
def test_a_listener_is_a_host_and_a_port(written: str, host: str, port: int) -> None:
    assert parse_listen(written) == (host, port)


@pytest.mark.parametrize(
    "written", ["8080", ":8080", "a:", "a:-1", "a:65536", "a:٣", "::1:80", "a:8080/", "", "[]:1", "a:" + "9" * 5000]
)
def test_what_is_not_a_listener_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        parse_listen(written)


@given(st.text("abc.-019", min_size=1) | st.ip_addresses().map(str), st.integers(0, 70_000))
def test_every_host_with_every_port_is_a_listener_and_no_other(host: str, port: int) -> None:
    written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    if port <= 65535:
        assert parse_listen(written) == (host, port)
    else:
        with pytest.raises(ValueError, match="must be HOST:PORT"):
            parse_listen(written)


def test_the_gateway_listens_on_loopback_unless_told_otherwise() -> None:
    gateway = GatewaySpec()

    assert (gateway.listen, gateway.admin) == ("127.0.0.1:8080", "127.0.0.1:8081")


def test_a_key_is_not_shown_when_its_object_is() -> None:
    gateway = GatewaySpec.model_validate({"tenants": [{"name": "a", "keys": [{"value": "very-secret"}]}]})

    assert "very-secret" not in repr(gateway)
    assert "very-secret" not in gateway.model_dump_json()


@pytest.mark.parametrize(
    ("key", "field", "words", "hint"),
    [
        ("{}", "", "a key without a value", "valueFrom: {env: NAME}"),
        ("{value: long-enough, valueFrom: {env: A}}", ".valueFrom", "keep one", "out of the file"),
        ("{valueFrom: {}}", ".valueFrom", "says nothing", "secretKeyRef: {name: SECRET, key: KEY}"),
        ("{valueFrom: {env: A, secretKeyRef: {name: a, key: b}}}", ".valueFrom.secretKeyRef", "keep one", "env: NAME"),
        (
            "{valueFrom: {configMapKeyRef: {name: a}}}",
            ".valueFrom.configMapKeyRef",
            "not a field",
            "secretKeyRef: {name",
        ),
        ("{valueFrom: MY_KEY}", ".valueFrom", "must be a mapping", "{env: NAME}"),
        ("{valueFrom: {env: ''}}", ".valueFrom.env", "not empty", "None"),
    ],
)
def test_a_key_comes_from_exactly_one_place(key: str, field: str, words: str, hint: str) -> None:
    problem = the_problem(fleet_text(gateway=f"tenants: [{{name: a, keys: [{key}]}}]"))

    assert problem.field == f"spec.gateway.tenants[0].keys[0]{field}"
    assert words in problem.message
    assert hint in str(problem.hint)


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis.example",
        "redis://redis.example:6379/0",
        "rediss://penstock@redis.example:6380",
        "redis://[::1]:6379/15",
        "unix:///run/redis.sock",
    ],
)
def test_a_redis_is_named_by_its_url(url: str) -> None:
    assert parse_redis_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "redis.example:6379", "http://redis.example", "redis://", "redis:///0", "redis://h:0", "redis://h:x"),
        *("redis://h/a", "redis://h/0/1", "redis://h?db=1", "redis://h#a", "redis://[::1", "unix://h/a", "unix:a"),
        *("redis://h h", "redis://h:70000", "redis://h/٣"),
    ],
)
def test_what_is_no_redis_is_refused_with_its_line(url: str) -> None:
    problem = the_problem(fleet_text(gateway=f"limits: {{url: '{url}'}}"))

    assert (problem.line, problem.field) == (7, "spec.gateway.limits.url")
    assert "is no Redis URL: write one as in `redis://redis.example:6379/0`" in problem.message


@pytest.mark.parametrize(
    "url",
    [
        "redis://:a-secret@h:6379/0",
        "redis://user:a-secret@h",
        "redis://:a/se-a-secret@h",
        "redis://h?password=a-secret",
        "rediss://u:a-secret@[::1",
    ],
)
def test_a_password_in_the_url_of_redis_is_refused_and_never_repeated(url: str) -> None:
    problem = the_problem(fleet_text(gateway=f"limits: {{url: '{url}'}}"))

    assert "holds a password" in problem.message
    assert "passwordFrom: {env: NAME}" in problem.message
    assert "a-secret" not in str(problem)


@given(st.text("redis:/@ah.:?#[]0-", max_size=30) | st.text(max_size=30))
def test_no_text_is_repeated_and_none_breaks_the_check(text: str) -> None:
    try:
        kept = parse_redis_url(text)
    except ValueError as error:
        said = str(error)
        assert len(text) < 8 or text not in said
    else:
        assert kept == text


def test_a_password_without_redis_is_refused() -> None:
    problem = the_problem(fleet_text(gateway="limits: {passwordFrom: {env: P}}"))

    assert problem.field == "spec.gateway.limits.passwordFrom"
    assert "stands without `url`" in problem.message


def test_two_providers_cannot_have_one_name() -> None:
    two = "providers: [{name: p, url: 'https://h/v1'}, {name: p, url: 'https://i/v1'}]"

    assert the_problem(fleet_text(gateway=two)).field == "spec.gateway.providers[1].name"


@pytest.mark.parametrize("origin", ["https://app.example/", "app.example", "https://a b", "https://a\\r\\nx: y", "**"])
def test_an_origin_is_a_scheme_and_a_host(origin: str) -> None:
    problem = the_problem(fleet_text(gateway=f'cors: {{origins: ["{origin}"]}}'))

    assert problem.field == "spec.gateway.cors.origins[0]"
